import { describe, expect, expectTypeOf, test } from 'vitest'
import {
  type Decision,
  FallbackLimitStore,
  Gcra,
  type GcraOptions,
  type LimitStore,
  type LocalLimit,
  MemoryLimitStore,
  SlidingWindow,
  TokenBucket,
} from '../src/index.ts'
import { StepClock } from './clock.ts'

const quota = { limit: 2, windowMs: 1_000 }

const broken: LimitStore = {
  take: () => Promise.reject(new Error('gone')),
}

/** What every store must do; an adapter for a database runs this too. */
describe.each<[string, (options: GcraOptions) => LimitStore]>([
  ['MemoryLimitStore', (options) => new MemoryLimitStore(options)],
  [
    'FallbackLimitStore in front of a store',
    (options) =>
      new FallbackLimitStore({ store: new MemoryLimitStore(options), fallback: new Gcra(options) }),
  ],
  [
    'FallbackLimitStore in front of a broken store',
    (options) => new FallbackLimitStore({ store: broken, fallback: new Gcra(options) }),
  ],
])('%s', (_name, open) => {
  test('limits each key by itself and lets it go on later', async () => {
    const clock = new StepClock()
    const store = open({ ...quota, now: clock.now })
    expect(await store.take('a', 1)).toMatchObject({ allowed: true, limit: 2, remaining: 1 })
    expect((await store.take('a', 1)).allowed).toBe(true)
    expect(await store.take('a', 1)).toMatchObject({ allowed: false, remaining: 0, retryAfterMs: 500 })
    expect((await store.take('b', 2)).allowed).toBe(true)
    clock.step(500)
    expect((await store.take('a', 1)).allowed).toBe(true)
  })

  test('0 units look, and calls at once count each', async () => {
    const store = open({ ...quota, limit: 5, now: new StepClock().now })
    expect(await store.take('a', 0)).toMatchObject({ allowed: true, remaining: 5 })
    const decisions = await Promise.all(Array.from({ length: 9 }, () => store.take('a', 1)))
    expect(decisions.filter(({ allowed }) => allowed)).toHaveLength(5)
  })

  test('an aborted signal rejects with its reason', async () => {
    const store = open(quota)
    const taking = async () => store.take('a', 1, { signal: AbortSignal.abort('left') })
    await expect(taking()).rejects.toBe('left')
  })

  test('units that are no count are refused', async () => {
    const store = open(quota)
    await expect(async () => store.take('a', -1)).rejects.toThrow(RangeError)
  })
})

describe('FallbackLimitStore', () => {
  test('goes on with the fallback when the store is late, and tells why', async () => {
    const signals: AbortSignal[] = []
    const hanging: LimitStore = {
      take: (_key, _units, options) => {
        if (options?.signal !== undefined) signals.push(options.signal)
        return new Promise(() => {})
      },
    }
    const failures: unknown[] = []
    const store = new FallbackLimitStore({
      store: hanging,
      fallback: new Gcra(quota),
      timeoutMs: 5,
      pendingMax: 2,
      onFailure: (error) => failures.push(error),
    })
    expect((await store.take('a', 1)).allowed).toBe(true)
    expect((await store.take('a', 1)).allowed).toBe(true)
    expect(signals.map((signal) => signal.aborted)).toEqual([true, true])
    // The store still sits on both calls: it is not asked a third time.
    expect(store.pending).toBe(2)
    expect((await store.take('a', 1)).allowed).toBe(false)
    expect(signals).toHaveLength(2)
    expect(failures.map(String)).toEqual([
      'Error: Store did not answer within 5 ms',
      'Error: Store did not answer within 5 ms',
      'RangeError: Store has 2 calls open',
    ])
  })

  test('an abort while waiting rejects and cancels the call', async () => {
    const controller = new AbortController()
    let inner: AbortSignal | undefined
    const store = new FallbackLimitStore({
      store: {
        take: (_key, _units, options) => {
          inner = options?.signal
          queueMicrotask(() => controller.abort('left'))
          return new Promise((_resolve, reject) => {
            inner?.addEventListener('abort', () => reject(new Error('cancelled')))
          })
        },
      },
      fallback: new Gcra(quota),
      timeoutMs: 60_000,
    })
    await expect(store.take('a', 1, { signal: controller.signal })).rejects.toBe('left')
    expect(inner?.aborted).toBe(true)
    expect(store.pending).toBe(0)
  })

  test('a store that throws or answers at once is as good as one with promises', async () => {
    const gcra = new Gcra(quota)
    const atOnce = new FallbackLimitStore({ store: gcra as unknown as LimitStore, fallback: gcra })
    expect((await atOnce.take('a', 1)).allowed).toBe(true)
    const throwing: LimitStore = {
      take: () => {
        throw new Error('at once')
      },
    }
    const store = new FallbackLimitStore({ store: throwing, fallback: new SlidingWindow(quota) })
    expect((await store.take('a', 1)).allowed).toBe(true)
    expect(store.pending).toBe(0)
  })

  test('a store that answers with no Decision is one that fails', async () => {
    const told: unknown[] = []
    const store = new FallbackLimitStore({
      store: { take: async () => undefined as unknown as Decision },
      fallback: new Gcra(quota),
      onFailure: (error) => void told.push(String(error)),
    })
    expect((await store.take('a', 1)).allowed).toBe(true)
    expect(told).toEqual(['TypeError: Store answered with undefined, which is no Decision'])
    expect(store.pending).toBe(0)
  })

  test('a log that throws, at once or later, does not end the limiting', async () => {
    const warnings: Error[] = []
    const unhandled: unknown[] = []
    const onWarning = (warning: Error) => warnings.push(warning)
    const onUnhandled = (reason: unknown) => unhandled.push(reason)
    process.on('warning', onWarning)
    process.on('unhandledRejection', onUnhandled)
    try {
      const atOnce = () => {
        throw new Error('disk full')
      }
      for (const onFailure of [atOnce, async () => atOnce()]) {
        const store = new FallbackLimitStore({ store: broken, fallback: new Gcra(quota), onFailure })
        expect((await store.take('a', 1)).allowed).toBe(true)
      }
      await new Promise(setImmediate)
    } finally {
      process.off('warning', onWarning)
      process.off('unhandledRejection', onUnhandled)
    }
    expect(warnings.map(({ name, message }) => `${name}: ${message}`)).toEqual(
      Array(2).fill('LimitWarning: onFailure threw'),
    )
    expect(unhandled).toEqual([])
  })

  test('refuses a store, a fallback or a listener that is none when it is made', () => {
    const good = { store: broken, fallback: new Gcra(quota) }
    const made = (wrong: object) => () => new FallbackLimitStore({ ...good, ...wrong })
    expect(made({ store: undefined })).toThrow('store.take must be a function, received undefined')
    expect(made({ fallback: {} })).toThrow('fallback.take must be a function, received undefined')
    expect(made({ onFailure: 'log' })).toThrow("onFailure must be a function, received 'log'")
  })

  test('refuses what is out of bounds', () => {
    const good = { store: broken, fallback: new Gcra(quota) }
    for (const timeoutMs of [0, 2 ** 31])
      expect(() => new FallbackLimitStore({ ...good, timeoutMs })).toThrow(RangeError)
    for (const pendingMax of [0, 2 ** 20 + 1]) {
      expect(() => new FallbackLimitStore({ ...good, pendingMax })).toThrow(RangeError)
    }
    expectTypeOf(new TokenBucket({ capacity: 1, tokensPerSecond: 1 })).not.toExtend<LocalLimit>()
    expectTypeOf(new MemoryLimitStore(quota).take).returns.toEqualTypeOf<Promise<Decision>>()
  })
})
