import { isHit, MemoryCache, type MemoryCacheOptions } from '@cirque/memory-cache'
import { describe, expect, expectTypeOf, test } from 'vitest'

const policies = [{ policy: 'lru' }, { policy: 'tinyufo' }] as const

describe.each(policies)('with the policy $policy', ({ policy }) => {
  function create(options: MemoryCacheOptions<string, string> = {}): {
    cache: MemoryCache<string, string>
    step: (ms: number) => void
  } {
    let time = 1000
    const cache = new MemoryCache<string, string>({ policy, now: () => time, ...options })
    return {
      cache,
      step: (ms) => {
        time += ms
      },
    }
  }

  test('says hit or miss', () => {
    const { cache } = create()
    expect(cache.get('a')).toEqual({ value: undefined, status: 'miss', staleMs: 0 })
    expect(cache.put('a', 'A')).toBe(true)
    expect(cache.get('a')).toEqual({ value: 'A', status: 'hit', staleMs: 0 })
    expect([cache.remove('a'), cache.remove('a'), cache.get('a').status]).toEqual([true, false, 'miss'])
  })

  test('an answer costs no allocation: two hits are one object, and it does not change with the entry', () => {
    const { cache } = create()
    cache.put('a', 'old')
    const answer = cache.get('a')
    expect(cache.get('a')).toBe(answer)
    expect(cache.get('x')).toBe(cache.get('y'))
    cache.put('a', 'new')
    expect([answer.value, cache.get('a').value]).toEqual(['old', 'new'])
  })

  test('ttl 5: fresh at 4, expired at 5 and after', () => {
    const { cache, step } = create()
    cache.put('a', 'A', 5)
    step(4)
    expect(cache.get('a').status).toBe('hit')
    step(1)
    expect(cache.get('a')).toEqual({ value: undefined, status: 'expired', staleMs: 0 })
    step(1)
    expect(cache.get('a').status).toBe('expired')
    expect(cache.size).toBe(1)
  })

  test('getStale gives out an expired value with its age', () => {
    const { cache, step } = create()
    cache.put('a', 'A', 5)
    expect(cache.getStale('a').status).toBe('hit')
    step(12)
    expect(cache.getStale('a')).toEqual({ value: 'A', status: 'stale', staleMs: 7 })
    expect(cache.getStale('b').status).toBe('miss')
  })

  test('ttl 0 stores nothing, and takes the outdated value away', () => {
    const { cache } = create()
    expect(cache.put('a', 'A', 0)).toBe(false)
    cache.put('a', 'A')
    expect(cache.put('a', 'B', 0)).toBe(false)
    expect([cache.get('a').status, cache.size]).toEqual(['miss', 0])
  })

  test('without a ttl a value does not expire', () => {
    const { cache, step } = create()
    cache.put('a', 'A')
    step(1e15)
    expect(cache.get('a').status).toBe('hit')
  })

  test('weighs values; one heavier than weightMax takes the old value of its key with it', () => {
    const { cache } = create({ weigh: (value) => value.length, weightMax: 10 })
    cache.put('a', 'x'.repeat(9))
    expect([cache.put('a', 'x'.repeat(10)), cache.weight]).toEqual([true, 10])
    expect([cache.put('a', 'x'.repeat(11)), cache.weight, cache.get('a').status]).toEqual([false, 0, 'miss'])
  })

  test('a weight out of range is refused and changes nothing', () => {
    const { cache } = create({ weigh: (value) => value.length, weightMax: 10 })
    cache.put('a', 'old')
    expect(() => cache.put('a', '')).toThrow('weigh() must be an integer from 1 to 4294967295, received 0')
    expect(cache.get('a').value).toBe('old')
  })

  test('multiGet answers in the order of its keys', () => {
    const { cache, step } = create()
    cache.put('a', 'A')
    cache.put('b', 'B', 1)
    step(1)
    const answers = cache.multiGet(['b', 'c', 'a', 'a'])
    expect(answers.map(({ status }) => status)).toEqual(['expired', 'miss', 'hit', 'hit'])
    expect(answers[2]?.value).toBe('A')
  })

  test('entriesMax bounds it; the counters tell what happened', () => {
    const { cache, step } = create({ entriesMax: 2 })
    for (const key of ['a', 'b', 'c']) cache.forcePut(key, key, 5)
    expect(cache.size).toBe(2)
    cache.get('c')
    cache.get('nothing')
    step(5)
    cache.get('c')
    cache.getStale('c')
    expect(cache.stats()).toEqual({ hits: 1, misses: 1, expired: 1, stale: 1, evictions: 1, rejections: 0 })
  })

  test('clear empties it', () => {
    const { cache } = create()
    cache.put('a', 'A')
    cache.clear()
    expect([cache.size, cache.weight, cache.get('a').status]).toEqual([0, 0, 'miss'])
  })
})

test('without options it holds 10,000 entries and takes its time from the process', () => {
  const cache = new MemoryCache<number, number>()
  for (let key = 0; key < 10_001; key++) cache.forcePut(key, key, 60_000)
  expect([cache.size, cache.get(10_000).status]).toEqual([10_000, 'hit'])
})

test('isHit: an answer that needed no load of its own', () => {
  const statuses = ['hit', 'lock-hit', 'stale', 'miss', 'expired'] as const
  expect(statuses.map(isHit)).toEqual([true, true, true, false, false])
})

test('wrong arguments are refused with the value received', () => {
  const create = (options: object) => () => new MemoryCache(options)
  expect(create({ max: 500 } as object)).toThrow('Unknown option "max"; known are entriesMax, weigh')
  expect(create({ entriesMax: 0 })).toThrow('entriesMax must be an integer from 1 to 8388608, received 0')
  expect(create({ entriesMax: 2 ** 23 + 1 })).toThrow(RangeError)
  expect(create({ weigh: () => 1 })).toThrow(TypeError)
  expect(create({ weightMax: 1 })).toThrow(TypeError)
  expect(create({ weigh: 1, weightMax: 1 })).toThrow('weigh must be a function, received 1')
  expect(create({ weigh: () => 1, weightMax: 0.5 })).toThrow('weightMax')
  expect(create({ policy: 'fifo' })).toThrow('policy must be "tinyufo" or "lru", received fifo')
  expect(create({ now: 5 })).toThrow('now must be a function')
  expect(create({ seed: Number.NaN })).toThrow('seed')
  const cache = new MemoryCache<string, string>()
  for (const ttlMs of [-1, Number.NaN, '5' as never])
    expect(() => cache.put('a', 'A', ttlMs)).toThrow(RangeError)
  expect(cache.size).toBe(0)
})

test('a value is typed as possibly absent, and null is no key', () => {
  const cache = new MemoryCache<string, number>()
  expectTypeOf(cache.get('a').value).toEqualTypeOf<number | undefined>()
  // @ts-expect-error lru-cache holds no null keys
  expectTypeOf<MemoryCache<null, number>>().not.toBeAny()
})
