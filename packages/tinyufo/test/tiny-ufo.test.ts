import { type Evicted, TinyUfo } from '@cirque/tinyufo'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

/** A cache of weight `limit` that holds keys 1 to `count`, each put once, never read. */
function filled(limit: number, count: number = limit): TinyUfo<number, string> {
  const cache = new TinyUfo<number, string>({ weightLimit: limit, seed: 1 })
  for (let key = 1; key <= count; key++) expect(cache.put(key, `v${key}`)).toEqual([])
  return cache
}

const keysOf = (evicted: readonly Evicted<number, string>[]): number[] => evicted.map(({ key }) => key)

describe('reading', () => {
  test('returns what was put, and undefined for what was not', () => {
    const cache = filled(5, 2)
    expect(cache.get(1)).toBe('v1')
    expect(cache.peek(2)).toBe('v2')
    expect(cache.get(3)).toBeUndefined()
    expect(cache.peek(3)).toBeUndefined()
    expect([cache.has(1), cache.has(3)]).toEqual([true, false])
    expect([cache.size, cache.weight]).toEqual([2, 2])
  })

  test('tells keys apart as a Map does, also when their hashes are one', () => {
    const cache = new TinyUfo<unknown, string>({ weightLimit: 20, hash: () => 7 })
    const keys = [
      1,
      '1',
      1n,
      true,
      null,
      undefined,
      Symbol('1'),
      Symbol.for('1'),
      {},
      {},
      () => 1,
      Number.NaN,
    ]
    for (const [index, key] of keys.entries()) cache.put(key, `value ${index}`)
    for (const [index, key] of keys.entries()) expect(cache.get(key)).toBe(`value ${index}`)
    cache.put(0, 'zero')
    expect(cache.get(-0)).toBe('zero')
  })

  test('holds a value of undefined', () => {
    const cache = new TinyUfo<string, undefined>({ weightLimit: 2 })
    cache.put('a', undefined)
    expect([cache.has('a'), cache.get('a')]).toEqual([true, undefined])
  })
})

describe('eviction', () => {
  test('an entry read at most once leaves the small queue, the oldest first', () => {
    const cache = filled(5)
    cache.get(1)
    expect(cache.forcePut(6, 'v6')).toEqual([{ key: 1, value: 'v1', weight: 1 }])
    expect(keysOf(cache.forcePut(7, 'v7'))).toEqual([2])
    expect([cache.size, cache.weight]).toEqual([5, 5])
  })

  test('an entry read twice moves to the main queue and outlives the unread', () => {
    const cache = filled(5)
    cache.get(1)
    cache.get(1)
    expect(keysOf(cache.forcePut(6, 'v6'))).toEqual([2])
    for (let key = 7; key < 100; key++) cache.forcePut(key, 'new')
    expect(cache.has(1)).toBe(true)
  })

  test('peek and has are no uses', () => {
    const cache = filled(5)
    for (let round = 0; round < 3; round++) {
      cache.peek(1)
      cache.has(1)
    }
    expect(keysOf(cache.forcePut(6, 'v6'))).toEqual([1])
  })

  test('the main queue gives an entry one more round for each read, at most three', () => {
    const cache = filled(3)
    for (let round = 0; round < 100; round++) cache.get(1)
    for (const key of [2, 3, 2, 3]) cache.get(key)
    // All three move to the main queue, with 3, 2 and 2 uses: 2 is the first at none when 1 has one left.
    expect(keysOf(cache.forcePut(4, 'v4'))).toEqual([2])
    expect(cache.has(1)).toBe(true)
  })

  test('an evicted key can come back', () => {
    const cache = filled(5)
    expect(keysOf(cache.forcePut(6, 'v6'))).toEqual([1])
    expect(keysOf(cache.forcePut(1, 'again'))).toEqual([2])
    expect(cache.get(1)).toBe('again')
  })

  test('a heavy newcomer makes room also from a small queue within its share', () => {
    const cache = new TinyUfo<string, number>({ weightLimit: 100, seed: 1 })
    cache.put('light', 1, 5)
    cache.get('light')
    cache.get('light')
    expect(cache.put('heavy', 2, 100)).toEqual([{ key: 'light', value: 1, weight: 5 }])
    expect([cache.size, cache.weight]).toEqual([1, 100])
  })

  test('one eviction passes over at most 4,096 entries of the main queue', () => {
    const cache = filled(10_000)
    const readAll = () => {
      for (let key = 1; key <= 10_000; key++) for (let read = 0; read < 3; read++) cache.get(key)
    }
    readAll()
    // Two evictions move 4,096 read ones each and take one from the main queue; the third finds an unread one.
    expect([0, -1, -2].flatMap((key) => keysOf(cache.forcePut(key, 'new')))).toEqual([1, 4098, 0])
    readAll()
    // In line are 4099 to 8192, which are 4,094, then 2, 3, 4 and so on, each with three reads.
    expect(keysOf(cache.forcePut(-3, 'new'))).toEqual([4])
  })

  test('one eviction moves at most 4,096 entries out of the small queue: none stalls, all make room', () => {
    const cache = filled(10_000)
    for (let round = 0; round < 3; round++) for (let key = 1; key <= 10_000; key++) cache.get(key)
    // 4,096 were moved, and each lost one of its three reads; then the first of them had to go.
    expect(keysOf(cache.forcePut(0, 'new'))).toEqual([1])
    // Had all been moved, the newcomer would be alone in the small queue.
    expect(keysOf(cache.forcePut(-1, 'new'))).not.toContain(0)
    expect([cache.size, cache.weight]).toEqual([10_000, 10_000])
    let evictedCount = 0
    for (let key = -2; key > -30_000; key--) evictedCount += cache.forcePut(key, 'new').length
    expect([evictedCount, cache.size]).toEqual([29_998, 10_000])
  })

  test('entriesMax holds whatever the weights are: at n no eviction, at n + 1 one', () => {
    const cache = new TinyUfo<number, number>({ weightLimit: 1000, entriesMax: 3 })
    for (let key = 0; key < 3; key++) expect(cache.put(key, key)).toEqual([])
    expect(cache.forcePut(3, 3)).toHaveLength(1)
    expect(cache.size).toBe(3)
  })
})

describe('admission', () => {
  test('a newcomer that was put less often than the one victim is turned away', () => {
    const cache = filled(5)
    for (let key = 1; key <= 5; key++) cache.put(key, `v${key}`)
    expect(cache.put(6, 'v6')).toEqual([{ key: 6, value: 'v6', weight: 1 }])
    expect([cache.has(1), cache.has(6), cache.weight]).toEqual([true, false, 5])
    // The spared victim went to the end of the queue; by its second put the newcomer is as frequent as the next.
    expect(keysOf(cache.put(6, 'v6'))).toEqual([2])
    expect(cache.has(6)).toBe(true)
  })

  test('a newcomer that needs the room of several is let in', () => {
    const cache = filled(5)
    for (let key = 1; key <= 5; key++) cache.put(key, `v${key}`)
    expect(keysOf(cache.put(6, 'v6', 2))).toEqual([1, 2])
  })

  test('forcePut never turns a newcomer away', () => {
    const cache = filled(5)
    for (let round = 0; round < 10; round++) for (let key = 1; key <= 5; key++) cache.put(key, 'popular')
    expect(cache.forcePut(6, 'v6')).toHaveLength(1)
    expect(cache.has(6)).toBe(true)
  })

  test('weightLimit: a weight of n − 1 and n fits, n + 1 comes back', () => {
    const cache = new TinyUfo<string, string>({ weightLimit: 10 })
    for (const weight of [9, 10]) {
      cache.forcePut(`weight ${weight}`, 'x', weight)
      expect([cache.has(`weight ${weight}`), cache.weight]).toEqual([true, weight])
    }
    expect(cache.forcePut('weight 11', 'x', 11)).toEqual([{ key: 'weight 11', value: 'x', weight: 11 }])
    expect(cache.has('weight 10')).toBe(true)
  })
})

describe('replacement', () => {
  test('an existing key gets the new value and weight', () => {
    const cache = new TinyUfo<string, number>({ weightLimit: 10 })
    cache.put('a', 1, 3)
    expect(cache.put('a', 2, 5)).toEqual([])
    expect([cache.get('a'), cache.weight, cache.size]).toEqual([2, 5, 1])
  })

  test('a heavier value makes room, if need be by leaving itself', () => {
    const cache = new TinyUfo<string, number>({ weightLimit: 10, seed: 1 })
    cache.put('a', 1, 5)
    cache.put('b', 1, 5)
    expect(cache.put('a', 2, 6)).toEqual([{ key: 'a', value: 2, weight: 6 }])
    expect([cache.has('a'), cache.weight]).toEqual([false, 5])
  })

  test('a value too heavy for the cache takes the old one of its key with it', () => {
    const cache = new TinyUfo<string, number>({ weightLimit: 10 })
    cache.put('a', 1)
    expect(cache.put('a', 2, 11)).toEqual([{ key: 'a', value: 2, weight: 11 }])
    expect([cache.get('a'), cache.size, cache.weight]).toEqual([undefined, 0, 0])
  })
})

describe('removal', () => {
  test('remove returns the value and frees its weight', () => {
    const cache = new TinyUfo<string, number>({ weightLimit: 10 })
    cache.put('a', 1, 4)
    expect([cache.remove('a'), cache.remove('a'), cache.size, cache.weight]).toEqual([1, undefined, 0, 0])
  })

  test('a removed key leaves no place behind in the queue: put again, it is the newest', () => {
    const cache = filled(5)
    cache.remove(1)
    cache.put(1, 'again')
    expect(keysOf(cache.forcePut(6, 'v6'))).toEqual([2])
    expect(cache.get(1)).toBe('again')
  })

  test('clear empties the cache and forgets the frequencies', () => {
    const cache = filled(5)
    for (let key = 1; key <= 5; key++) cache.put(key, `v${key}`)
    cache.clear()
    expect([cache.size, cache.weight, cache.get(1)]).toEqual([0, 0, undefined])
    for (let key = 11; key <= 15; key++) cache.put(key, 'new')
    expect(keysOf(cache.put(16, 'new'))).toEqual([11])
  })
})

test('a hash that throws leaves the cache as it was', () => {
  let isBroken = false
  const hash = (key: number): number => {
    if (isBroken) throw new Error('no hash')
    return key
  }
  const cache = new TinyUfo<number, string>({ weightLimit: 2, hash })
  cache.put(1, 'a')
  isBroken = true
  expect(() => cache.put(2, 'b')).toThrow('no hash')
  expect([cache.size, cache.weight, cache.get(1)]).toEqual([1, 1, 'a'])
})

test('wrong arguments are refused with the value received', () => {
  expect(() => new TinyUfo({ weightLimit: 0 })).toThrow(
    /weightLimit must be an integer from 1 to \d+, received 0/,
  )
  expect(() => new TinyUfo({ weightLimit: 1, max: 5 } as never)).toThrow(
    'Unknown option "max"; known are weightLimit,',
  )
  expect(() => new TinyUfo({ weightLimit: 1.5 })).toThrow(RangeError)
  expect(() => new TinyUfo({ weightLimit: Number.POSITIVE_INFINITY })).toThrow(RangeError)
  expect(() => new TinyUfo({ weightLimit: 5, estimatedSize: 2 ** 23 + 1 })).toThrow('estimatedSize')
  expect(() => new TinyUfo({ weightLimit: 5, entriesMax: 2 ** 23 + 1 })).toThrow('entriesMax')
  expect(() => new TinyUfo({ weightLimit: 5, seed: 0.5 })).toThrow('seed')
  expect(() => new TinyUfo({ weightLimit: 5, hash: 'fnv' as never })).toThrow(TypeError)
  const cache = new TinyUfo<string, number>({ weightLimit: 5 })
  for (const weight of [0, -1, 1.5, Number.NaN, 2 ** 32]) {
    expect(() => cache.put('a', 1, weight)).toThrow(RangeError)
  }
  expect(cache.size).toBe(0)
})

test('the limits can be read back', () => {
  const cache = new TinyUfo({ weightLimit: 2 ** 40 })
  expect([cache.weightLimit, cache.estimatedSize, cache.entriesMax]).toEqual([2 ** 40, 2 ** 20, 2 ** 23])
})

test('what is in the cache is always what was put, minus what came back, within the limits', () => {
  const act = fc.record({
    kind: fc.constantFrom('put', 'put', 'forcePut', 'get', 'get', 'remove'),
    key: fc.integer({ min: 0, max: 30 }),
    weight: fc.integer({ min: 1, max: 14 }),
  })
  fc.assert(
    fc.property(fc.array(act, { maxLength: 300 }), fc.integer({ min: 1, max: 8 }), (acts, entriesMax) => {
      const cache = new TinyUfo<number, number>({ weightLimit: 12, entriesMax })
      const model = new Map<number, { value: number; weight: number }>()
      for (const [value, { kind, key, weight }] of acts.entries()) {
        if (kind === 'get') expect(cache.get(key)).toBe(model.get(key)?.value)
        if (kind === 'remove') {
          expect(cache.remove(key)).toBe(model.get(key)?.value)
          model.delete(key)
        }
        if (kind === 'put' || kind === 'forcePut') {
          model.set(key, { value, weight })
          for (const evicted of cache[kind](key, value, weight)) {
            expect(model.get(evicted.key)).toEqual({ value: evicted.value, weight: evicted.weight })
            model.delete(evicted.key)
          }
        }
        const weights = [...model.values()].reduce((total, entry) => total + entry.weight, 0)
        expect([cache.size, cache.weight]).toEqual([model.size, weights])
        expect(cache.weight).toBeLessThanOrEqual(12)
        expect(cache.size).toBeLessThanOrEqual(entriesMax)
      }
      for (const [key, { value }] of model) expect(cache.peek(key)).toBe(value)
    }),
  )
})
