import { type Loaded, ReadThroughCache } from '@cirque/memory-cache'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'

const LOADS_MAX = 4
const WAITERS_MAX = 12

const unhandled: unknown[] = []
const onUnhandled = (reason: unknown): void => void unhandled.push(reason)

beforeEach(() => {
  vi.useFakeTimers()
  process.on('unhandledRejection', onUnhandled)
})
afterEach(async () => {
  vi.useRealTimers()
  await new Promise((resolve) => setImmediate(resolve))
  process.off('unhandledRejection', onUnhandled)
  expect(unhandled).toEqual([])
})

const act = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant('get' as const), key: fc.nat(2), withSignal: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('multiGet' as const), keys: fc.array(fc.nat(3)) }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constantFrom('resolve', 'reject', 'abort'), pick: fc.nat(20) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('put', 'remove', 'clear'), key: fc.nat(2) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('step' as const), ms: fc.nat(60) }) },
)

// Values are versions: each put, remove or clear of a key makes all that was loaded before out of date.
test('every call is answered, no limit is passed, and nobody gets what was out of date when they called', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(act, { maxLength: 60 }),
      fc.constantFrom('lru', 'tinyufo'),
      async (acts, policy) => {
        const versions = [0, 0, 0, 0]
        const pending: { resolve: () => void; reject: () => void }[] = []
        const controllers: AbortController[] = []
        const replies: Promise<unknown>[] = []
        let answered = 0

        const later = <T>(result: T): Promise<T> =>
          new Promise((resolve, reject) => {
            pending.push({ resolve: () => resolve(result), reject: () => reject(new Error('refused')) })
          })
        const versionOf = (key: number): Loaded<number> => ({ value: versions[key] as number })
        const cache = new ReadThroughCache<number, number>({
          load: (key) => later(versionOf(key)),
          loadMany: (keys) => later(keys.map(versionOf)),
          policy: policy as 'lru' | 'tinyufo',
          ttlMs: 50,
          lockTimeoutMs: 30,
          lockAgeMs: 25,
          lockBypassesMax: 2,
          loadTimeoutMs: 80,
          loadsMax: LOADS_MAX,
          waitersMax: WAITERS_MAX,
        })
        const watch = (keys: number[], reply: unknown): void => {
          const least = keys.map((key) => versions[key] as number)
          replies.push(
            Promise.resolve(reply as { value: number } | { value: number }[]).then(
              (answer) => {
                answered += 1
                for (const [index, { value }] of [answer].flat().entries()) {
                  expect(value).toBeGreaterThanOrEqual(least[index] as number)
                }
              },
              (error: unknown) => {
                answered += 1
                expect(String(error)).toMatch(/^(CacheLoadError|AbortError)/)
              },
            ),
          )
        }

        for (const step of acts) {
          if (step.kind === 'get') {
            const controller = new AbortController()
            if (step.withSignal) controllers.push(controller)
            watch([step.key], cache.get(step.key, step.withSignal ? { signal: controller.signal } : {}))
          } else if (step.kind === 'multiGet') {
            watch(step.keys, cache.multiGet(step.keys))
          } else if (step.kind === 'step') {
            await vi.advanceTimersByTimeAsync(step.ms)
          } else if ('pick' in step) {
            if (step.kind === 'abort') controllers[step.pick % Math.max(controllers.length, 1)]?.abort()
            else pending[step.pick % Math.max(pending.length, 1)]?.[step.kind as 'resolve' | 'reject']()
            await vi.advanceTimersByTimeAsync(0)
          } else if (step.kind === 'clear') {
            for (const key of versions.keys()) versions[key] = (versions[key] as number) + 1
            cache.clear()
          } else {
            const version = (versions[step.key] as number) + 1
            versions[step.key] = version
            if (step.kind === 'put') cache.put(step.key, version)
            else cache.remove(step.key)
          }
          const { loading, waiting } = cache.stats()
          expect(loading).toBeLessThanOrEqual(LOADS_MAX)
          expect(waiting).toBeLessThanOrEqual(WAITERS_MAX)
        }
        // Time alone ends every wait: the lock's, then two loads in a row.
        await vi.advanceTimersByTimeAsync(30 + 80 + 80)
        await Promise.all(replies)
        expect(answered).toBe(replies.length)
        expect(cache.stats()).toMatchObject({ loading: 0, waiting: 0 })
        expect(vi.getTimerCount()).toBe(0)
      },
    ),
    { numRuns: 300 },
  )
})
