import { CacheLoadError, type Loaded, ReadThroughCache, type ReadThroughOptions } from '@cirque/memory-cache'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'

type Answered = Loaded<string> | undefined

/** A loader whose every call is answered by hand, in any order. */
class ManualLoader {
  readonly calls: {
    readonly key: string
    readonly signal: AbortSignal
    readonly extra: unknown
    readonly resolve: (answer: Answered) => void
    readonly reject: (reason: unknown) => void
  }[] = []

  readonly load: ReadThroughOptions<string, string, string>['load'] = (key, { signal, extra }) => {
    const { promise, resolve, reject } = Promise.withResolvers<Answered>()
    this.calls.push({ key, signal, extra, resolve, reject })
    return promise
  }

  call(index: number): ManualLoader['calls'][number] {
    const call = this.calls[index]
    if (call === undefined) throw new Error(`The loader was called ${this.calls.length} times`)
    return call
  }
}

type Options = Partial<ReadThroughOptions<string, string, string>>

function create(options: Options = {}): {
  cache: ReadThroughCache<string, string, string>
  loader: ManualLoader
} {
  const loader = new ManualLoader()
  return { loader, cache: new ReadThroughCache<string, string, string>({ load: loader.load, ...options }) }
}

/** Loads one value into the cache. */
async function prime(
  cache: ReadThroughCache<string, string, string>,
  loader: ManualLoader,
  answer: Answered,
): Promise<void> {
  const reply = cache.get('a')
  loader.calls.at(-1)?.resolve(answer)
  await reply
}

const tick = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms)
const unhandled: unknown[] = []
const onUnhandled = (reason: unknown): void => void unhandled.push(reason)

beforeEach(() => {
  vi.useFakeTimers()
  process.on('unhandledRejection', onUnhandled)
})
afterEach(async () => {
  expect(vi.getTimerCount()).toBe(0)
  vi.useRealTimers()
  await new Promise((resolve) => setImmediate(resolve))
  process.off('unhandledRejection', onUnhandled)
  expect(unhandled).toEqual([])
})

describe.each(['lru', 'tinyufo'] as const)('reading through, policy %s', (policy) => {
  test('loads a missing key once, then answers from memory without a promise', async () => {
    const { cache, loader } = create({ policy })
    const reply = cache.get('a', { extra: 'tenant 1' })
    expect([loader.call(0).key, loader.call(0).extra]).toEqual(['a', 'tenant 1'])
    loader.call(0).resolve({ value: 'A' })
    expect(await reply).toEqual({ value: 'A', status: 'miss', staleMs: 0 })
    expect(cache.get('a')).toEqual({ value: 'A', status: 'hit', staleMs: 0 })
    expect(loader.calls).toHaveLength(1)
  })

  test('a loaded value is kept although others were put more often', async () => {
    const { cache, loader } = create({ policy, entriesMax: 2 })
    for (let round = 0; round < 5; round++) for (const key of ['x', 'y']) cache.put(key, key)
    await prime(cache, loader, { value: 'A' })
    expect(cache.peek('a').status).toBe('hit')
    expect(cache.size).toBe(2)
  })
})

test('the time to live comes from the loader, else from the options; at its end the key is loaded anew', async () => {
  const { cache, loader } = create({ ttlMs: 50 })
  await prime(cache, loader, { value: 'A', ttlMs: 10 })
  await tick(9)
  expect(cache.peek('a').status).toBe('hit')
  await tick(1)
  expect(cache.peek('a').status).toBe('expired')
  const reply = cache.get('a')
  loader.call(1).resolve({ value: 'B' })
  expect(await reply).toEqual({ value: 'B', status: 'expired', staleMs: 0 })
  await tick(49)
  expect(cache.peek('a').status).toBe('hit')
  await tick(1)
  expect(cache.peek('a').status).toBe('expired')
})

test('ttl 0: those who wait get the value, but it is not kept', async () => {
  const { cache, loader } = create()
  const replies = [cache.get('a'), cache.get('a')]
  loader.call(0).resolve({ value: 'A', ttlMs: 0 })
  expect((await Promise.all(replies)).map(({ value }) => value)).toEqual(['A', 'A'])
  expect([cache.peek('a').status, cache.size]).toEqual(['miss', 0])
})

describe('the lock', () => {
  test('calls for one key wait for one load; calls for another key do not', async () => {
    const { cache, loader } = create()
    const replies = Promise.all([cache.get('a'), cache.get('a'), cache.get('b'), cache.get('a')])
    expect(loader.calls.map(({ key }) => key)).toEqual(['a', 'b'])
    expect(cache.stats()).toMatchObject({ loading: 2, waiting: 4 })
    loader.call(1).resolve({ value: 'B' })
    loader.call(0).resolve({ value: 'A' })
    const answers = await replies
    expect(answers.map(({ value, status }) => [value, status])).toEqual([
      ['A', 'miss'],
      ['A', 'lock-hit'],
      ['B', 'miss'],
      ['A', 'lock-hit'],
    ])
    expect(cache.stats()).toMatchObject({ loading: 0, waiting: 0, misses: 4, lockHits: 2, loads: 2 })
  })

  test('lockTimeoutMs: at n − 1 a call still waits, at n it loads by itself, and its result is not kept', async () => {
    const { cache, loader } = create({ lockTimeoutMs: 100 })
    const leader = cache.get('a')
    const follower = cache.get('a')
    await tick(99)
    expect(loader.calls).toHaveLength(1)
    await tick(1)
    expect(loader.calls).toHaveLength(2)
    loader.call(1).resolve({ value: 'own' })
    expect(await follower).toEqual({ value: 'own', status: 'miss', staleMs: 0 })
    expect(cache.peek('a').status).toBe('miss')
    loader.call(0).resolve({ value: 'first' })
    expect((await leader).value).toBe('first')
    expect(cache.peek('a').value).toBe('first')
    expect(cache.stats().lockTimeouts).toBe(1)
  })

  test('lockTimeoutMs 0: a call never waits for another', async () => {
    const { cache, loader } = create({ lockTimeoutMs: 0 })
    const replies = Promise.all([cache.get('a'), cache.get('a')])
    expect(loader.calls).toHaveLength(2)
    for (const call of loader.calls) call.resolve({ value: 'A' })
    expect((await replies).map(({ status }) => status)).toEqual(['miss', 'miss'])
  })

  test('lockAgeMs: a load of age n is joined, an older one is not, and the result of the newcomer is not kept', async () => {
    const { cache, loader } = create({ lockAgeMs: 50, lockTimeoutMs: Number.POSITIVE_INFINITY })
    const leader = cache.get('a')
    await tick(50)
    const joined = cache.get('a')
    expect(loader.calls).toHaveLength(1)
    await tick(1)
    const newcomer = cache.get('a')
    expect(loader.calls).toHaveLength(2)
    loader.call(1).resolve({ value: 'own' })
    expect((await newcomer).value).toBe('own')
    expect(cache.peek('a').status).toBe('miss')
    loader.call(0).resolve({ value: 'first' })
    expect([(await leader).value, (await joined).status]).toEqual(['first', 'lock-hit'])
    expect(cache.stats().lockAgeouts).toBe(1)
  })

  test.each([
    ['by timeout', { lockTimeoutMs: 100 }],
    ['by age', { lockAgeMs: 0, lockTimeoutMs: Number.POSITIVE_INFINITY }],
    ['at once', { lockTimeoutMs: 0 }],
  ])('lockBypassesMax: n calls go past a load %s, the others wait on for it', async (_name, options) => {
    const { cache, loader } = create({ ...options, lockBypassesMax: 2 })
    const leader = cache.get('a')
    await tick(1)
    const followers = [cache.get('a'), cache.get('a'), cache.get('a'), cache.get('a')]
    await tick(100)
    expect(loader.calls).toHaveLength(3)
    loader.call(0).resolve({ value: 'first' })
    for (const call of loader.calls.slice(1)) call.resolve({ value: 'own' })
    const answers = await Promise.all([leader, ...followers])
    expect(answers.map(({ value }) => value)).toEqual(['first', 'own', 'own', 'first', 'first'])
  })

  test('when all loads are taken, a call whose lock timed out waits on', async () => {
    const { cache, loader } = create({ lockTimeoutMs: 100, loadsMax: 1 })
    const replies = Promise.all([cache.get('a'), cache.get('a')])
    await tick(150)
    loader.call(0).resolve({ value: 'A' })
    expect((await replies).map(({ status }) => status)).toEqual(['miss', 'lock-hit'])
    expect(cache.stats()).toMatchObject({ lockTimeouts: 0, loadsRefused: 0 })
  })

  test('when the leader fails, the others try once more together, and what they load is kept', async () => {
    const { cache, loader } = create()
    const leader = cache.get('a')
    const followers = Promise.all([cache.get('a'), cache.get('a'), cache.get('a')])
    loader.call(0).reject(new Error('refused'))
    await expect(leader).rejects.toMatchObject({ code: 'CACHE_LOAD_FAILED' })
    expect(loader.calls).toHaveLength(2)
    loader.call(1).resolve({ value: 'A' })
    expect((await followers).map(({ status }) => status)).toEqual(['miss', 'lock-hit', 'lock-hit'])
    expect(cache.peek('a').value).toBe('A')
  })

  test('a source that is down is asked twice for any number of calls, also when the loader throws at once', async () => {
    let callCount = 0
    const load = (): never => {
      callCount += 1
      throw new Error('down')
    }
    const { cache } = create({ load })
    const replies = await Promise.allSettled(Array.from({ length: 50 }, () => cache.get('a')))
    expect(replies.every(({ status }) => status === 'rejected')).toBe(true)
    expect(callCount).toBe(2)
    expect(cache.stats()).toMatchObject({ loadErrors: 2, loading: 0, waiting: 0 })
  })

  test('the two waits of a call count as one against lockTimeoutMs', async () => {
    const { cache, loader } = create({ lockTimeoutMs: 100 })
    const replies = [cache.get('a'), cache.get('a'), cache.get('a')].map(async (reply) => (await reply).value)
    const settled = Promise.allSettled(replies)
    await tick(60)
    loader.call(0).reject(new Error('refused'))
    await tick(40)
    expect(loader.calls).toHaveLength(3)
    loader.call(1).resolve({ value: 'second' })
    loader.call(2).resolve({ value: 'own' })
    expect((await settled).map((reply) => (reply.status === 'fulfilled' ? reply.value : 'failed'))).toEqual([
      'failed',
      'second',
      'own',
    ])
  })
})

describe('failures', () => {
  test('the error of the loader is the cause; the key is not in the message', async () => {
    const cause = new Error('connect ECONNREFUSED')
    const { cache } = create({ load: () => Promise.reject(cause) })
    const error = await Promise.resolve(cache.get('secret')).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(CacheLoadError)
    expect(error).toMatchObject({ name: 'CacheLoadError', code: 'CACHE_LOAD_FAILED', cause })
    expect(String(error)).toBe('CacheLoadError: Loader failed: connect ECONNREFUSED')
    expect(cache.peek('secret').status).toBe('miss')
  })

  test('loadTimeoutMs: at n − 1 it goes on, at n it fails, its signal aborts, and its late answer is dropped', async () => {
    const { cache, loader } = create({ loadTimeoutMs: 100 })
    const reply = Promise.resolve(cache.get('a'))
    const outcome = expect(reply).rejects.toMatchObject({ code: 'CACHE_LOAD_TIMEOUT' })
    await tick(99)
    expect(loader.call(0).signal.aborted).toBe(false)
    await tick(1)
    await outcome
    expect(loader.call(0).signal.aborted).toBe(true)
    loader.call(0).resolve({ value: 'late' })
    await tick(0)
    expect(cache.peek('a').status).toBe('miss')
    expect(cache.stats()).toMatchObject({ loadTimeouts: 1, loadErrors: 1, loading: 0 })
  })

  test('a late rejection is dropped too', async () => {
    const { cache, loader } = create({ loadTimeoutMs: 100 })
    const outcome = expect(cache.get('a')).rejects.toThrow('longer than 100 ms')
    await tick(100)
    await outcome
    loader.call(0).reject(new Error('late'))
  })

  test.each([['a string'], [null], [5], [{ ttlMs: 5 }]])(
    'a loader that returns %j has failed',
    async (wrong) => {
      const { cache } = create({ load: () => wrong as never })
      await expect(cache.get('a')).rejects.toMatchObject({
        code: 'CACHE_LOAD_FAILED',
        cause: expect.any(TypeError),
      })
      expect(cache.size).toBe(0)
    },
  )

  test.each([
    ['no prototype', Object.create(null)],
    [
      'a message that throws',
      Object.defineProperty(new Error(), 'message', { get: () => ({ toString: 1, valueOf: 1 }) }),
    ],
    ['undefined', undefined],
  ])('whatever is thrown ends the load: %s', async (_name, thrown) => {
    const { cache } = create({ load: () => Promise.reject(thrown) })
    await expect(cache.get('a')).rejects.toMatchObject({ code: 'CACHE_LOAD_FAILED' })
    expect(cache.stats().loading).toBe(0)
  })

  test('a result whose value cannot be read fails the load', async () => {
    const result = {
      get value(): string {
        throw new Error('no value')
      },
    }
    const { cache } = create({ load: () => result })
    await expect(cache.get('a')).rejects.toThrow('no value')
    expect(cache.stats()).toMatchObject({ loading: 0, waiting: 0, loadErrors: 1 })
  })

  test('a ttl or a weight out of range fails the load', async () => {
    const { cache } = create({ load: () => ({ value: 'A', ttlMs: -1 }) })
    await expect(cache.get('a')).rejects.toThrow('ttlMs')
    const weighed = create({ load: () => ({ value: 'A' }), weigh: () => 0.5, weightMax: 10 })
    await expect(weighed.cache.get('a')).rejects.toThrow('weigh()')
  })
})

describe('negative answers', () => {
  test('are remembered for negativeTtlMs', async () => {
    const { cache, loader } = create({ negativeTtlMs: 10, weigh: (value) => value.length, weightMax: 100 })
    await prime(cache, loader, undefined)
    expect([cache.get('a'), cache.weight]).toEqual([{ value: undefined, status: 'hit', staleMs: 0 }, 1])
    expect(cache.peek('a')).toEqual({ value: undefined, status: 'hit', staleMs: 0 })
    await tick(10)
    const reply = cache.get('a', { staleIfErrorMs: 1000, staleWhileRevalidateMs: 1000 })
    loader.call(1).resolve({ value: 'created' })
    expect(await reply).toEqual({ value: 'created', status: 'expired', staleMs: 0 })
    expect(cache.stats().negativeHits).toBe(1)
  })

  test('without negativeTtlMs they are not, and a value that is gone is forgotten', async () => {
    const { cache, loader } = create({ ttlMs: 10 })
    await prime(cache, loader, { value: 'A' })
    await tick(10)
    await prime(cache, loader, undefined)
    expect([cache.size, cache.peek('a').status]).toEqual([0, 'miss'])
  })
})

describe('stale while revalidate', () => {
  test('gives out the stale value at once, renews it once in the background', async () => {
    const { cache, loader } = create({ ttlMs: 10, staleWhileRevalidateMs: 20 })
    await prime(cache, loader, { value: 'old' })
    await tick(15)
    expect(cache.get('a')).toEqual({ value: 'old', status: 'stale', staleMs: 5 })
    expect(cache.get('a')).toEqual({ value: 'old', status: 'stale', staleMs: 5 })
    expect(loader.calls).toHaveLength(2)
    loader.call(1).resolve({ value: 'new' })
    await tick(0)
    expect(cache.get('a')).toEqual({ value: 'new', status: 'hit', staleMs: 0 })
    expect(cache.stats()).toMatchObject({ stale: 2, refreshes: 1 })
  })

  test('ends at its limit: at n stale, at n + 1 the call waits', async () => {
    const { cache, loader } = create({ ttlMs: 10, staleWhileRevalidateMs: 20 })
    await prime(cache, loader, { value: 'old' })
    await tick(30)
    expect(cache.get('a')).toMatchObject({ status: 'stale', staleMs: 20 })
    loader.call(1).reject(new Error('refused'))
    await tick(1)
    await prime(cache, loader, { value: 'new' })
    expect(cache.peek('a').value).toBe('new')
  })

  test('a failed renewal is reported, tried again after retryAfterErrorMs, and never an unhandled rejection', async () => {
    const failures: unknown[] = []
    const onRefreshError = (error: Error, key: string): never => {
      failures.push([error.message, key])
      throw new Error('from the listener')
    }
    const options = { ttlMs: 10, staleWhileRevalidateMs: 10_000, retryAfterErrorMs: 500, onRefreshError }
    const { cache, loader } = create(options)
    await prime(cache, loader, { value: 'old' })
    await tick(10)
    cache.get('a')
    loader.call(1).reject(new Error('refused'))
    await tick(499)
    expect(failures).toEqual([['Loader failed: refused', 'a']])
    expect(cache.get('a')).toMatchObject({ value: 'old', status: 'stale' })
    expect(loader.calls).toHaveLength(2)
    await tick(1)
    expect(cache.get('a')).toMatchObject({ value: 'old', status: 'stale' })
    loader.call(2).resolve({ value: 'new' })
    await tick(0)
    expect(cache.peek('a').value).toBe('new')
  })

  test('a listener that rejects is ignored', async () => {
    const onRefreshError = (): Promise<never> => Promise.reject(new Error('from the listener'))
    const { cache, loader } = create({ ttlMs: 10, staleWhileRevalidateMs: 10, onRefreshError })
    await prime(cache, loader, { value: 'old' })
    await tick(15)
    cache.get('a')
    loader.call(1).reject(new Error('refused'))
    await tick(0)
    expect(cache.stats()).toMatchObject({ refreshes: 1, loadErrors: 1, loading: 0 })
  })

  test('can be chosen per call', async () => {
    const { cache, loader } = create({ ttlMs: 10 })
    await prime(cache, loader, { value: 'old' })
    await tick(11)
    expect(cache.get('a', { staleWhileRevalidateMs: 5 })).toMatchObject({ status: 'stale' })
    loader.call(1).resolve({ value: 'new' })
    await tick(0)
    expect(() => cache.get('a', { staleWhileRevalidateMs: -1 })).toThrow(RangeError)
    expect(() => cache.multiGet(['a'], { staleIfErrorMs: Number.NaN })).toThrow(RangeError)
  })

  test('a call that needs a value joins the renewal; if that fails, it leads the next load', async () => {
    const { cache, loader } = create({ ttlMs: 10, staleWhileRevalidateMs: 10 })
    await prime(cache, loader, { value: 'old' })
    await tick(20)
    cache.get('a')
    await tick(1)
    const reply = cache.get('a')
    expect(loader.calls).toHaveLength(2)
    loader.call(1).reject(new Error('refused'))
    await tick(0)
    loader.call(2).resolve({ value: 'new' })
    expect(await reply).toMatchObject({ value: 'new', status: 'expired' })
  })
})

describe('stale if error', () => {
  test('gives out the stale value to all who wait when the load fails, at n, and no longer at n + 1', async () => {
    const { cache, loader } = create({ ttlMs: 10, staleIfErrorMs: 20, retryAfterErrorMs: 0 })
    await prime(cache, loader, { value: 'old' })
    await tick(30)
    const replies = Promise.all([cache.get('a'), cache.get('a')])
    loader.call(1).reject(new Error('refused'))
    expect((await replies).map(({ value, staleMs }) => [value, staleMs])).toEqual([
      ['old', 20],
      ['old', 20],
    ])
    expect(loader.calls).toHaveLength(2)
    await tick(1)
    const reply = cache.get('a')
    loader.call(2).reject(new Error('refused'))
    await expect(reply).rejects.toMatchObject({ code: 'CACHE_LOAD_FAILED' })
  })

  test('for retryAfterErrorMs the next calls get the stale value without waiting', async () => {
    const { cache, loader } = create({ ttlMs: 10, staleIfErrorMs: 5000 })
    await prime(cache, loader, { value: 'old' })
    await tick(10)
    const reply = cache.get('a')
    loader.call(1).reject(new Error('refused'))
    await reply
    await tick(999)
    expect(cache.get('a')).toMatchObject({ value: 'old', status: 'stale', staleMs: 999 })
    await tick(1)
    const next = cache.get('a')
    loader.call(2).resolve({ value: 'new' })
    expect(await next).toMatchObject({ value: 'new', status: 'expired' })
  })
})

describe('limits', () => {
  test('loadsMax: n loads run, the next is refused, unless a stale value can be given out', async () => {
    const { cache, loader } = create({ loadsMax: 2, staleIfErrorMs: 1000 })
    cache.put('old', 'OLD', 10)
    await tick(10)
    const replies = [cache.get('a'), cache.get('b')]
    await expect(cache.get('c')).rejects.toMatchObject({ code: 'CACHE_LOADS_FULL' })
    expect(await cache.get('old')).toMatchObject({ value: 'OLD', status: 'stale' })
    expect(cache.get('old', { staleWhileRevalidateMs: 1000 })).toMatchObject({ status: 'stale' })
    for (const call of loader.calls) call.resolve({ value: 'A' })
    await Promise.all(replies)
    expect(cache.stats()).toMatchObject({ loads: 2, loadsRefused: 3, loading: 0, waiting: 0 })
    const next = cache.get('c')
    loader.call(2).resolve({ value: 'C' })
    expect(await next).toMatchObject({ value: 'C' })
  })

  test('waitersMax: n calls wait, the next is refused', async () => {
    const { cache, loader } = create({ waitersMax: 2 })
    const replies = Promise.all([cache.get('a'), cache.get('a')])
    await expect(cache.get('a')).rejects.toMatchObject({ code: 'CACHE_WAITERS_FULL' })
    await expect(cache.multiGet(['a', 'b'])).rejects.toMatchObject({ code: 'CACHE_WAITERS_FULL' })
    loader.call(0).resolve({ value: 'A' })
    expect(await replies).toHaveLength(2)
    expect(cache.stats()).toMatchObject({ waitersRefused: 3, waiting: 0 })
  })
})

describe('signals', () => {
  test('a caller that aborts leaves; the others get the value', async () => {
    const { cache, loader } = create()
    const controller = new AbortController()
    const leader = cache.get('a', { signal: controller.signal })
    const follower = cache.get('a')
    controller.abort(new Error('gone'))
    await expect(leader).rejects.toThrow('gone')
    expect(loader.call(0).signal.aborted).toBe(false)
    loader.call(0).resolve({ value: 'A' })
    expect(await follower).toMatchObject({ value: 'A', status: 'lock-hit' })
  })

  test('when the last caller leaves, the load is aborted and given up; the next call loads anew', async () => {
    const { cache, loader } = create()
    const controller = new AbortController()
    const replies = [cache.get('a', controller), cache.get('a', controller)]
    controller.abort()
    for (const reply of replies) await expect(reply).rejects.toMatchObject({ name: 'AbortError' })
    expect(loader.call(0).signal.aborted).toBe(true)
    expect(cache.stats()).toMatchObject({ loadsAbandoned: 1, loading: 0, waiting: 0 })
    const next = cache.get('a')
    loader.call(0).reject(new Error('late'))
    loader.call(1).resolve({ value: 'A' })
    expect(await next).toMatchObject({ value: 'A', status: 'miss' })
  })

  test('a loader that reads its signal only after the load was given up finds it aborted', async () => {
    let wasAborted: boolean | undefined
    const { promise: gate, resolve: open } = Promise.withResolvers<void>()
    const { cache } = create({
      load: async (_key, context) => {
        await gate
        wasAborted = context.signal.aborted
        return undefined
      },
    })
    const controller = new AbortController()
    const reply = cache.get('a', controller)
    controller.abort()
    await expect(reply).rejects.toMatchObject({ name: 'AbortError' })
    open()
    await tick(0)
    expect(wasAborted).toBe(true)
  })

  test('an aborted signal refuses to wait, but not what is at hand', async () => {
    const { cache, loader } = create()
    const signal = AbortSignal.abort(new Error('gone'))
    cache.put('b', 'B')
    expect(cache.get('b', { signal })).toMatchObject({ value: 'B' })
    await expect(cache.get('a', { signal })).rejects.toThrow('gone')
    expect(loader.calls).toHaveLength(0)
  })
})

describe('put, remove and clear while a load is under way', () => {
  test.each([
    ['remove', (cache: ReadThroughCache<string, string, string>) => void cache.remove('a')],
    ['clear', (cache: ReadThroughCache<string, string, string>) => cache.clear()],
  ])('%s: the dated result is not kept, and new calls load anew', async (_name, act) => {
    const { cache, loader } = create()
    const early = cache.get('a')
    act(cache)
    const late = cache.get('a')
    loader.call(1).resolve({ value: 'new' })
    expect(await late).toMatchObject({ value: 'new', status: 'miss' })
    loader.call(0).resolve({ value: 'dated' })
    expect(await early).toMatchObject({ value: 'dated' })
    expect(cache.peek('a').value).toBe('new')
  })

  test('put: the put value stays, also for calls whose load then fails', async () => {
    const { cache, loader } = create()
    const replies = Promise.all([cache.get('a'), cache.get('a')])
    expect(cache.put('a', 'put')).toBe(true)
    loader.call(0).reject(new Error('refused'))
    expect((await replies).map(({ value }) => value)).toEqual(['put', 'put'])
    expect(cache.get('a')).toMatchObject({ value: 'put', status: 'hit' })
  })
})

describe('multiGet', () => {
  type Many = { readonly keys: readonly string[]; readonly resolve: (answers: Answered[]) => void }

  function createMany(options: Options = {}): ReturnType<typeof create> & { many: Many[] } {
    const many: Many[] = []
    const loadMany = (keys: readonly string[]): Promise<Answered[]> => {
      const { promise, resolve } = Promise.withResolvers<Answered[]>()
      many.push({ keys, resolve })
      return promise
    }
    return { ...create({ loadMany, ...options }), many }
  }

  test('loads what is missing in one call, answers in order, and keeps it', async () => {
    const { cache, many } = createMany({ negativeTtlMs: 10 })
    cache.put('b', 'B')
    const reply = cache.multiGet(['c', 'b', 'a', 'c'])
    expect(many.map(({ keys }) => keys)).toEqual([['c', 'a']])
    many[0]?.resolve([{ value: 'C' }, undefined])
    expect((await reply).map(({ value, status }) => [value, status])).toEqual([
      ['C', 'miss'],
      ['B', 'hit'],
      [undefined, 'miss'],
      ['C', 'lock-hit'],
    ])
    expect([cache.peek('c').value, cache.peek('a').status]).toEqual(['C', 'hit'])
    await tick(10)
  })

  test('joins loads under way, and others join its own', async () => {
    const { cache, loader, many } = createMany()
    const single = cache.get('a')
    const batch = cache.multiGet(['a', 'b'])
    const joined = cache.get('b')
    expect([loader.calls.length, many[0]?.keys]).toEqual([1, ['b']])
    many[0]?.resolve([{ value: 'B' }])
    loader.call(0).resolve({ value: 'A' })
    expect((await batch).map(({ status }) => status)).toEqual(['lock-hit', 'miss'])
    expect([(await single).value, (await joined).value]).toEqual(['A', 'B'])
  })

  test.each([0, 1, 3])('%i results for two keys fail the load', async (count) => {
    const { cache, many } = createMany()
    const reply = cache.multiGet(['a', 'b'])
    many[0]?.resolve(Array.from({ length: count }, () => ({ value: 'x' })))
    await expect(reply).rejects.toThrow('loadMany must return 2 results, one per key')
    expect(cache.size).toBe(0)
  })

  test('one wrong result fails its own key; the other is kept', async () => {
    const { cache, many } = createMany()
    const reply = cache.multiGet(['a', 'b'])
    many[0]?.resolve(['wrong' as never, { value: 'B' }])
    await expect(reply).rejects.toMatchObject({ code: 'CACHE_LOAD_FAILED' })
    expect([cache.peek('a').status, cache.peek('b').value]).toEqual(['miss', 'B'])
  })

  test('one signal for many keys; all gone, the load is given up', async () => {
    const { cache } = createMany()
    const controller = new AbortController()
    const reply = cache.multiGet(
      Array.from({ length: 50 }, (_, index) => `key ${index}`),
      controller,
    )
    controller.abort()
    await expect(reply).rejects.toMatchObject({ name: 'AbortError' })
    expect(cache.stats()).toMatchObject({ loadsAbandoned: 1, loading: 0, waiting: 0 })
  })

  test('stale values are renewed by one call in the background', async () => {
    const { cache, many } = createMany({ ttlMs: 10, staleWhileRevalidateMs: 100 })
    for (const key of ['a', 'b']) cache.put(key, 'old')
    await tick(11)
    const answers = await cache.multiGet(['a', 'b', 'a'])
    expect(answers.map(({ status }) => status)).toEqual(['stale', 'stale', 'stale'])
    expect(many.map(({ keys }) => keys)).toEqual([['a', 'b']])
    many[0]?.resolve([{ value: 'A' }, { value: 'B' }])
    await tick(0)
    expect([cache.peek('a').value, cache.peek('b').value]).toEqual(['A', 'B'])
  })

  test('a full house refuses the whole batch without leaving anyone waiting', async () => {
    const { cache, loader } = createMany({ loadsMax: 1 })
    const single = cache.get('x')
    await expect(cache.multiGet(['a', 'b'])).rejects.toMatchObject({ code: 'CACHE_LOADS_FULL' })
    loader.call(0).resolve({ value: 'X' })
    await single
    expect(cache.stats()).toMatchObject({ loading: 0, waiting: 0 })
  })

  test('without loadMany each key is loaded by itself', async () => {
    const { cache, loader } = create()
    const reply = cache.multiGet(['a', 'b'])
    for (const call of loader.calls) call.resolve({ value: call.key.toUpperCase() })
    expect((await reply).map(({ value }) => value)).toEqual(['A', 'B'])
  })
})

test('what is no signal is refused before the call counts as waiting', async () => {
  const { cache } = create({ load: () => ({ value: 'loaded' }), waitersMax: 1 })
  const wrong = { signal: new AbortController() as unknown as AbortSignal }
  expect(() => cache.get('a', wrong)).toThrow(
    'signal must be an AbortSignal, received [object AbortController]',
  )
  expect(() => cache.multiGet(['a', 'b'], wrong)).toThrow(TypeError)
  expect(cache.stats()).toMatchObject({ waiting: 0, loading: 0, misses: 0 })
  expect((await cache.get('a')).value).toBe('loaded')
})

test('a load fails as it should where the intrinsics are frozen', async () => {
  const descriptor = Object.getOwnPropertyDescriptor(Error, 'stackTraceLimit') as PropertyDescriptor
  const { cache } = create({ load: () => Promise.reject(new Error('down')) })
  Object.defineProperty(Error, 'stackTraceLimit', { ...descriptor, writable: false })
  try {
    await expect(cache.get('a')).rejects.toMatchObject({ code: 'CACHE_LOAD_FAILED' })
  } finally {
    Object.defineProperty(Error, 'stackTraceLimit', descriptor)
  }
})

test('wrong arguments are refused with the value received', () => {
  const make = (options: object) => () => create(options)
  expect(make({ load: undefined })).toThrow('load must be a function, received undefined')
  expect(make({ ttl: 1_000 })).toThrow(/^Unknown option "ttl"; known are entriesMax, .*, onRefreshError$/)
  expect(make({ max: 500 })).toThrow(TypeError)
  expect(make({ loadMany: 1 })).toThrow('loadMany must be a function, received 1')
  expect(make({ onRefreshError: 1 })).toThrow(TypeError)
  for (const name of [
    'ttlMs',
    'negativeTtlMs',
    'staleWhileRevalidateMs',
    'staleIfErrorMs',
    'retryAfterErrorMs',
  ]) {
    expect(make({ [name]: -1 })).toThrow(`${name} must be a number of milliseconds from 0, received -1`)
  }
  expect(make({ lockAgeMs: Number.NaN })).toThrow('lockAgeMs')
  expect(make({ lockTimeoutMs: 2 ** 31 })).toThrow('lockTimeoutMs')
  expect(make({ lockBypassesMax: -1 })).toThrow('lockBypassesMax')
  expect(make({ loadTimeoutMs: 0 })).toThrow('loadTimeoutMs')
  expect(make({ loadTimeoutMs: Number.POSITIVE_INFINITY })).toThrow('loadTimeoutMs')
  expect(make({ loadsMax: 0 })).toThrow('loadsMax')
  expect(make({ waitersMax: 0 })).toThrow('waitersMax')
  expect(make({ entriesMax: -1 })).toThrow('entriesMax')
})
