import { expect, test } from 'vitest'
import { DnsCache, type DnsCacheOptions, type ResolveAnswer } from '../src/index.ts'

const V4 = (address: string): ResolveAnswer => ({ addresses: [{ address, family: 4 }] })
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** Gives each query the next answer; an Error fails it. */
function cacheOf(
  answers: (ResolveAnswer | Error)[],
  options: DnsCacheOptions = {},
): { cache: DnsCache; asked: string[] } {
  const asked: string[] = []
  const cache = new DnsCache({
    ttlMinMs: 0,
    ...options,
    resolve: async (host) => {
      asked.push(host)
      const answer = answers[Math.min(asked.length, answers.length) - 1]
      if (answer === undefined || answer instanceof Error) throw answer ?? new Error('none')
      return answer
    },
  })
  return { cache, asked }
}

test('concurrent look-ups of a name share one query, later ones its answer', async () => {
  const { cache, asked } = cacheOf([V4('10.0.0.1')])
  await Promise.all([cache.resolve('a'), cache.resolve('a'), cache.resolve('a')])
  expect(await cache.resolve('a')).toEqual([{ address: '10.0.0.1', family: 4 }])
  expect(asked).toEqual(['a'])
})

test('an address is its own answer', async () => {
  const { cache, asked } = cacheOf([])
  expect(await cache.resolve('127.0.0.1')).toEqual([{ address: '127.0.0.1', family: 4 }])
  expect(await cache.resolve('::1')).toEqual([{ address: '::1', family: 6 }])
  expect(asked).toEqual([])
  expect(cache.size).toBe(0)
})

test('an answer holds for its time to live, within the bounds', async () => {
  for (const [ttlMs, options, times] of [
    [0, {}, 2],
    [0, { ttlMinMs: 60_000 }, 1],
    [60_000, {}, 1],
    [60_000, { ttlMaxMs: 0 }, 2],
    [undefined, { ttlDefaultMs: 0 }, 2],
    [undefined, {}, 1],
  ] as const) {
    const answer = ttlMs === undefined ? V4('10.0.0.1') : { ...V4('10.0.0.1'), ttlMs }
    const { cache, asked } = cacheOf([answer], options)
    await cache.resolve('a')
    await pause(2)
    await cache.resolve('a')
    expect(asked.length).toBe(times)
  }
})

test('a failure is remembered for a while', async () => {
  const { cache, asked } = cacheOf([new Error('down'), V4('10.0.0.1')], { negativeTtlMs: 400 })
  const started = performance.now()
  await expect(cache.resolve('a')).rejects.toThrow('down')
  while (
    await cache.resolve('a').then(
      () => false,
      () => true,
    )
  ) {
    expect(asked.length).toBe(1)
    await pause(20)
  }
  expect(performance.now() - started).toBeGreaterThanOrEqual(399)
  expect(asked.length).toBe(2)
})

test('an expired answer serves while resolving fails, but not for ever', async () => {
  const { cache, asked } = cacheOf([{ ...V4('10.0.0.1'), ttlMs: 0 }, new Error('down')], {
    staleMaxMs: 600,
    negativeTtlMs: 100,
  })
  await cache.resolve('a')
  const started = performance.now()
  await pause(2)
  expect(await cache.resolve('a')).toHaveLength(1)
  let failed = false
  while (!failed) {
    failed = await cache.resolve('a').then(
      () => false,
      () => true,
    )
    await pause(5)
  }
  expect(performance.now() - started).toBeGreaterThanOrEqual(599)
  // And it was not asked for at each look-up meanwhile.
  expect(asked.length).toBeLessThan(12)
})

test('a resolver that hangs fails after resolveTimeoutMs, and is asked anew later', async () => {
  let count = 0
  const cache = new DnsCache({
    resolveTimeoutMs: 20,
    negativeTtlMs: 0,
    resolve: () => (count++ === 0 ? new Promise(() => undefined) : Promise.resolve(V4('10.0.0.1'))),
  })
  await expect(cache.resolve('a')).rejects.toThrow()
  expect(await cache.resolve('a')).toHaveLength(1)
})

test('an answer without addresses is a failure', async () => {
  const { cache } = cacheOf([{ addresses: [] }])
  await expect(cache.resolve('a')).rejects.toMatchObject({ code: 'ENOTFOUND' })
})

test('entriesMax: the least recently used name goes first', async () => {
  const { cache, asked } = cacheOf([V4('10.0.0.1')], { entriesMax: 2 })
  await cache.resolve('a')
  await cache.resolve('b')
  await cache.resolve('a')
  await cache.resolve('c')
  expect(cache.size).toBe(2)
  await cache.resolve('a')
  expect(asked).toEqual(['a', 'b', 'c'])
  await cache.resolve('b')
  expect(asked).toEqual(['a', 'b', 'c', 'b'])
})

test('entriesMax holds while more names than that are asked for, and afterwards', async () => {
  const answers: (() => void)[] = []
  const cache = new DnsCache({
    entriesMax: 2,
    resolve: () => new Promise((resolve) => answers.push(() => resolve(V4('10.0.0.1')))),
  })
  const names = ['a', 'b', 'c', 'd', 'c']
  const found = Promise.all(names.map((name) => cache.resolve(name)))
  expect(cache.size).toBe(2)
  expect(answers.length).toBe(5)
  for (const answer of answers) answer()
  expect(await found).toEqual(names.map(() => [{ address: '10.0.0.1', family: 4 }]))
  expect(cache.size).toBe(2)
})

test('lookupFunction answers in each form that net.connect asks for', async () => {
  const both: ResolveAnswer = {
    addresses: [
      { address: '10.0.0.1', family: 4 },
      { address: '::2', family: 6 },
    ],
  }
  const { cache } = cacheOf([both])
  const look = (options: object) =>
    new Promise((resolve) => cache.lookupFunction('a', options, (...answer) => resolve(answer)))
  expect(await look({})).toEqual([null, '10.0.0.1', 4])
  expect(await look({ family: 6 })).toEqual([null, '::2', 6])
  expect(await look({ all: true })).toEqual([null, both.addresses])
  const { cache: failing } = cacheOf([V4('10.0.0.1')])
  const none = await new Promise((resolve) => failing.lookupFunction('a', { family: 6 }, resolve))
  expect(none).toMatchObject({ code: 'ENOTFOUND' })
})

test('the system’s resolver knows localhost', async () => {
  expect((await new DnsCache().resolve('localhost')).length).toBeGreaterThan(0)
})

test('wrong options are refused by name', () => {
  for (const name of [
    'ttlDefaultMs',
    'ttlMinMs',
    'ttlMaxMs',
    'staleMaxMs',
    'negativeTtlMs',
    'entriesMax',
    'resolveTimeoutMs',
  ]) {
    for (const value of [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => new DnsCache({ [name]: value })).toThrow(RangeError)
      expect(() => new DnsCache({ [name]: value })).toThrow(`"${name}"`)
    }
    expect(() => new DnsCache({ [name]: undefined })).not.toThrow()
  }
  expect(() => new DnsCache({ entriesMax: 0 })).toThrow(RangeError)
  expect(() => new DnsCache({ ttl: 1 } as DnsCacheOptions)).toThrow('Unknown DNS cache option "ttl"')
})
