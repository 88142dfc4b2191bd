import { queryObjects } from 'node:v8'
import { ConnectionPool, type EvictReason, type PoolEntry, type PoolOptions } from '@cirque/pool'
import { SteppedWheel } from '@cirque/timeout'
import { describe, expect, test } from 'vitest'
import { PoolGroup } from '../src/pool-entry.ts'

type Eviction = [connection: string, reason: EvictReason]

/** A pool of strings on a clock of its own, and what it has evicted. */
function startPool(options?: PoolOptions<string>): {
  pool: ConnectionPool<string>
  wheel: SteppedWheel
  evicted: Eviction[]
} {
  const wheel = new SteppedWheel()
  const evicted: Eviction[] = []
  const onEvict = (connection: string, reason: EvictReason): number => evicted.push([connection, reason])
  return { pool: new ConnectionPool<string>({ jitter: 0, wheel, onEvict, ...options }), wheel, evicted }
}

/** Adds connections and releases them, in this order. */
function fill(pool: ConnectionPool<string>, key: string, ...connections: string[]): PoolEntry<string>[] {
  const entries = connections.map((connection) => pool.add(key, connection))
  for (const entry of entries) pool.release(entry)
  return entries
}

describe('acquire and release', () => {
  test('a connection goes round: used, idle, used again', () => {
    const { pool } = startPool()
    expect(pool.acquire('a')).toBeUndefined()
    const entry = pool.add('a', 'a1')
    expect(entry).toMatchObject({ key: 'a', connection: 'a1', state: 'used', useCount: 1 })
    expect([pool.usedCount, pool.idleCount]).toEqual([1, 0])
    expect(pool.release(entry)).toBe(true)
    expect(entry.state).toBe('idle')
    expect([pool.usedCount, pool.idleCount, pool.idleCountOf('a')]).toEqual([0, 1, 1])
    expect(pool.acquire('b')).toBeUndefined()
    expect(pool.acquire('a')).toBe(entry)
    expect(entry).toMatchObject({ state: 'used', useCount: 2 })
    expect(pool.acquire('a')).toBeUndefined()
    expect(pool.stats()).toMatchObject({ hits: 1, misses: 3 })
  })

  test('the connection released last is used first', () => {
    const { pool } = startPool()
    fill(pool, 'a', 'a1', 'a2', 'a3')
    expect([1, 2, 3].map(() => pool.acquire('a')?.connection)).toEqual(['a3', 'a2', 'a1'])
  })

  test('a connection released twice is an error, one that is gone is not kept', () => {
    const { pool, evicted } = startPool()
    const [entry] = fill(pool, 'a', 'a1') as [PoolEntry<string>]
    expect(() => pool.release(entry)).toThrow('released already')
    pool.remove(entry)
    expect(pool.release(entry)).toBe(false)
    expect(pool.idleCount).toBe(0)
    expect(evicted).toEqual([])
  })

  test('an entry of another pool is refused', () => {
    const entry = startPool().pool.add('a', 'a1')
    const { pool } = startPool()
    expect(() => pool.release(entry)).toThrow(TypeError)
    expect(() => pool.remove(entry)).toThrow(TypeError)
  })
})

describe('remove', () => {
  test('forgets a connection in any state, once, without calling onEvict', () => {
    const { pool, evicted } = startPool()
    const [bottom, middle, top] = fill(pool, 'a', 'a1', 'a2', 'a3') as [
      PoolEntry<string>,
      PoolEntry<string>,
      PoolEntry<string>,
    ]
    const used = pool.add('a', 'a4')
    for (const entry of [middle, middle, used, used]) pool.remove(entry)
    expect(middle.state).toBe('gone')
    expect([pool.usedCount, pool.idleCount]).toEqual([0, 2])
    expect(pool.acquire('a')).toBe(top)
    expect(pool.acquire('a')).toBe(bottom)
    expect(evicted).toEqual([])
  })
})

describe('caps', () => {
  test('idleMax: the least recently used of all makes room', () => {
    const { pool, evicted } = startPool({ idleMax: 3 })
    fill(pool, 'a', 'a1', 'a2')
    fill(pool, 'b', 'b1')
    pool.release(pool.acquire('a') as PoolEntry<string>) // a2 is now the freshest
    expect(evicted).toEqual([])
    fill(pool, 'c', 'c1', 'c2')
    expect(evicted).toEqual([
      ['a1', 'capacity'],
      ['b1', 'capacity'],
    ])
    expect(pool.idleCount).toBe(3)
  })

  test('idlePerKeyMax: the least recently used of the key makes room', () => {
    const { pool, evicted } = startPool({ idlePerKeyMax: 2 })
    fill(pool, 'b', 'b1')
    fill(pool, 'a', 'a1', 'a2')
    expect(evicted).toEqual([])
    fill(pool, 'a', 'a3')
    expect(evicted).toEqual([['a1', 'key-capacity']])
    expect(pool.idleCountOf('a')).toBe(2)
  })

  test('a cap of 0 keeps nothing', () => {
    for (const [options, reason] of [
      [{ idleMax: 0 }, 'capacity'],
      [{ idlePerKeyMax: 0 }, 'key-capacity'],
    ] as const) {
      const { pool, evicted } = startPool(options)
      expect(pool.release(pool.add('a', 'a1'))).toBe(false)
      expect(evicted).toEqual([['a1', reason]])
    }
  })

  test('usesMax: the use that reaches it is the last', () => {
    const { pool, evicted } = startPool({ usesMax: 2 })
    const entry = pool.add('a', 'a1')
    expect(pool.release(entry)).toBe(true)
    pool.acquire('a')
    expect(pool.release(entry)).toBe(false)
    expect(evicted).toEqual([['a1', 'uses']])
    expect(pool.release(pool.add('a', 'a2', { usesMax: 1 }))).toBe(false)
  })
})

describe('time', () => {
  test('an idle connection is given up after its idle time, unasked', () => {
    const { pool, wheel, evicted } = startPool({ idleTimeoutMs: 10_000 })
    fill(pool, 'a', 'a1')
    wheel.step(5_000)
    fill(pool, 'a', 'a2')
    wheel.step(4_990)
    expect(evicted).toEqual([])
    wheel.step(310)
    expect(evicted).toEqual([['a1', 'idle-timeout']])
    wheel.step(5_000)
    expect(evicted).toEqual([
      ['a1', 'idle-timeout'],
      ['a2', 'idle-timeout'],
    ])
    expect(wheel.armedCount).toBe(0)
  })

  test('an expired one is not handed out, even before it was swept', () => {
    const { pool, wheel, evicted } = startPool({ idleTimeoutMs: 100 })
    fill(pool, 'a', 'a1', 'a2')
    wheel.step(100)
    expect(pool.acquire('a')).toBeUndefined()
    expect(evicted.map(([, reason]) => reason)).toEqual(['idle-timeout', 'idle-timeout'])
  })

  test('a release may set its own idle time, and 0 gives the connection up', () => {
    const { pool, wheel, evicted } = startPool()
    const first = pool.add('a', 'a1')
    const second = pool.add('a', 'a2')
    expect(pool.release(first, 1_000)).toBe(true)
    expect(pool.release(second, 0)).toBe(false)
    wheel.step(1_300)
    expect(evicted).toEqual([
      ['a2', 'idle-timeout'],
      ['a1', 'idle-timeout'],
    ])
    expect(pool.release(pool.add('a', 'a3'), Number.NaN)).toBe(false)
    expect(pool.release(pool.add('a', 'a4', { idleTimeoutMs: 0 }))).toBe(false)
  })

  test('ageMaxMs ends a connection however busy it is, idle or at its release', () => {
    const { pool, wheel, evicted } = startPool({ ageMaxMs: 1_000 })
    const entry = pool.add('a', 'a1')
    fill(pool, 'a', 'a2')
    wheel.step(900)
    expect(pool.release(entry)).toBe(true)
    expect(pool.acquire('a')).toBe(entry)
    wheel.step(100)
    expect(pool.release(entry)).toBe(false)
    expect(pool.acquire('a')).toBeUndefined()
    expect(evicted.sort()).toEqual([
      ['a1', 'age'],
      ['a2', 'age'],
    ])
  })

  test('without an age limit none is kept', () => {
    const { pool, wheel } = startPool({ ageMaxMs: 0, idleTimeoutMs: 86_400_000 })
    fill(pool, 'a', 'a1')
    wheel.step(80_000_000)
    expect(pool.acquire('a')?.connection).toBe('a1')
  })

  test('jitter only shortens, and within its share', () => {
    const { pool, wheel, evicted } = startPool({
      idleTimeoutMs: 100_000,
      idleMax: 200,
      jitter: 0.5,
      usesMax: 100,
    })
    fill(pool, 'a', ...Array.from({ length: 200 }, (_, index) => `a${index}`))
    wheel.step(49_000)
    expect(evicted).toHaveLength(0)
    wheel.step(26_000)
    expect(evicted.length).toBeGreaterThan(20)
    expect(evicted.length).toBeLessThan(180)
    wheel.step(26_000)
    expect(evicted).toHaveLength(200)
  })

  test('a pool holds one timer at most, and none once it is empty or closed', () => {
    const { pool, wheel } = startPool()
    expect(wheel.armedCount).toBe(0)
    fill(pool, 'a', 'a1', 'a2', 'a3')
    expect(wheel.armedCount).toBe(1)
    pool.acquire('a')
    pool.close()
    expect(wheel.armedCount).toBe(0)
  })
})

describe('drainKey and close', () => {
  test('a drained key loses its idle connections now and the used ones later; new ones are kept', () => {
    const { pool, evicted } = startPool()
    const used = pool.add('a', 'a1')
    fill(pool, 'a', 'a2', 'a3')
    fill(pool, 'b', 'b1')
    pool.drainKey('a')
    pool.drainKey('no such key')
    expect(evicted).toEqual([
      ['a3', 'closed'],
      ['a2', 'closed'],
    ])
    const fresh = pool.add('a', 'a4')
    expect(pool.release(used)).toBe(false)
    expect(pool.release(fresh)).toBe(true)
    expect(pool.acquire('a')).toBe(fresh)
    expect(pool.idleCount).toBe(1)
  })

  test('a closed pool keeps nothing more, and takes what is added and removed', () => {
    const { pool, evicted } = startPool()
    const used = pool.add('a', 'a1')
    fill(pool, 'b', 'b1')
    pool.close()
    pool.close()
    expect(evicted).toEqual([['b1', 'closed']])
    expect(pool.release(used)).toBe(false)
    expect(pool.release(pool.add('a', 'a2'))).toBe(false)
    pool.remove(pool.add('a', 'a3'))
    expect([pool.usedCount, pool.idleCount]).toEqual([0, 0])
    expect(pool.acquire('a')).toBeUndefined()
    expect(pool.stats().evictions).toMatchObject({ closed: 3 })
  })
})

describe('onEvict', () => {
  test('may throw: the pool stays right, the failure becomes a process warning', async () => {
    const warnings: Error[] = []
    const onWarning = (warning: Error): number => warnings.push(warning)
    process.on('warning', onWarning)
    try {
      const { pool, wheel } = startPool({
        idleMax: 2,
        onEvict() {
          throw new Error('broken hook')
        },
      })
      fill(pool, 'a', 'a1', 'a2', 'a3')
      expect(pool.idleCount).toBe(2)
      wheel.step(61_000)
      expect(pool.idleCount).toBe(0)
      await new Promise(setImmediate)
    } finally {
      process.off('warning', onWarning)
    }
    expect(warnings.map(({ name }) => name)).toEqual(['PoolWarning', 'PoolWarning', 'PoolWarning'])
  })

  test('may be async: its rejection becomes a process warning, not an unhandled one', async () => {
    const warnings: Error[] = []
    const unhandled: unknown[] = []
    const onWarning = (warning: Error): number => warnings.push(warning)
    const onUnhandled = (reason: unknown): number => unhandled.push(reason)
    process.on('warning', onWarning)
    process.on('unhandledRejection', onUnhandled)
    try {
      const onEvict = async () => {
        throw new Error('broken hook')
      }
      fill(startPool({ idleMax: 0, onEvict }).pool, 'a', 'a1')
      await new Promise(setImmediate)
    } finally {
      process.off('warning', onWarning)
      process.off('unhandledRejection', onUnhandled)
    }
    expect(warnings.map(({ name }) => name)).toEqual(['PoolWarning'])
    expect(unhandled).toEqual([])
  })

  test('is refused when it is no function', () => {
    expect(() => startPool({ onEvict: 'close' as never })).toThrow('onEvict must be a function, got close')
    expect(() => startPool({ maxIdle: 1 } as never)).toThrow(
      'Unknown option "maxIdle" of the pool; known are',
    )
  })

  test('may use the pool, also to add, release, remove and close from within', () => {
    const wheel = new SteppedWheel()
    const evicted: Eviction[] = []
    let replacements = 0
    const pool: ConnectionPool<string> = new ConnectionPool<string>({
      idleMax: 4,
      idlePerKeyMax: 2,
      jitter: 0,
      wheel,
      onEvict(connection, reason) {
        evicted.push([connection, reason])
        const taken = pool.acquire('a')
        if (taken !== undefined) pool.remove(taken)
        if (reason !== 'closed' && replacements++ < 5) pool.release(pool.add('a', `r${replacements}`))
        if (evicted.length === 4) pool.close()
      },
    })
    for (let index = 0; index < 4; index++) pool.release(pool.add('a', `a${index}`))
    wheel.step(61_000)
    for (let index = 0; index < 4; index++) pool.release(pool.add('a', `b${index}`))
    expect(pool.usedCount).toBe(0)
    expect(pool.idleCountOf('a')).toBe(pool.idleCount)
    pool.close()
    expect(pool.idleCount).toBe(0)
    expect(wheel.armedCount).toBe(0)
  })
})

test('keys that have no connection any more leave nothing behind', () => {
  const { pool } = startPool({ idleMax: 10 })
  const before = queryObjects(PoolGroup, { format: 'count' })
  for (let index = 0; index < 100_000; index++) {
    const entry = pool.add(`key ${index}`, 'connection')
    if (index % 2 === 0) pool.release(entry)
    else pool.remove(entry)
    if (index % 4 === 0) pool.drainKey(`key ${index}`)
  }
  expect(pool.idleCount).toBe(10)
  // Collects garbage, then counts what is alive: the groups of the ten, and at most the last one of the loop.
  expect(queryObjects(PoolGroup, { format: 'count' }) - before).toBeLessThanOrEqual(11)
})

test.each<[keyof PoolOptions<string>, number]>([
  ['idleMax', -1],
  ['idleMax', 1.5],
  ['idlePerKeyMax', Number.NaN],
  ['usesMax', Number.POSITIVE_INFINITY],
  ['idleTimeoutMs', -1],
  ['idleTimeoutMs', Number.POSITIVE_INFINITY],
  ['ageMaxMs', Number.NaN],
  ['jitter', 1.01],
  ['jitter', -0.1],
])('%s of %d is refused with its name and value', (name, value) => {
  const make = (): ConnectionPool<string> => new ConnectionPool<string>({ [name]: value })
  expect(make).toThrow(RangeError)
  expect(make).toThrow(name)
  expect(make).toThrow(String(value))
})

test('a wrong option of a single connection leaves the pool as it was', () => {
  const { pool } = startPool()
  expect(() => pool.add('a', 'a1', { ageMaxMs: -1 })).toThrow(RangeError)
  expect(() => pool.add('a', 'a1', { usesMax: -1 })).toThrow('-1')
  expect(() => pool.add('a', 'a1', { idleTimeoutMs: Number.NaN })).toThrow('NaN')
  expect(pool.usedCount).toBe(0)
})
