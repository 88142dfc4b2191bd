import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  ConcurrencyLimit,
  Estimator,
  FallbackLimitStore,
  Gcra,
  type GcraOptions,
  Inflight,
  MemoryLimitStore,
  Rate,
  SlidingWindow,
  TokenBucket,
} from '../src/index.ts'
import { StepClock } from './clock.ts'

describe.each([false, true])('shared: %s', (shared) => {
  function start(clock: StepClock, options: Omit<GcraOptions, 'now' | 'memory'>) {
    const memory = shared ? { memory: new SharedArrayBuffer(Gcra.byteLength(options)) } : {}
    return new Gcra({ now: clock.now, ...options, ...memory })
  }

  test('the burst comes at once, then units come back one by one', () => {
    const clock = new StepClock(5_000)
    const limit = start(clock, { limit: 10, windowMs: 1_000, burst: 3 })
    expect([1, 2, 3, 4].map(() => limit.take('a').allowed)).toEqual([true, true, true, false])
    const refused = limit.take('a')
    expect(refused).toMatchObject({ allowed: false, limit: 3, remaining: 0, retryAfterMs: 100, resetMs: 300 })
    expect(refused.retryAfter).toBe('1')
    clock.step(99)
    expect(limit.take('a').allowed).toBe(false)
    clock.step(1)
    expect(limit.take('a')).toMatchObject({ allowed: true, remaining: 0, retryAfterMs: 0, resetMs: 300 })
    clock.step(250)
    expect(limit.peek('a')).toMatchObject({ allowed: true, remaining: 2, resetMs: 50 })
    expect(limit.take('b')).toMatchObject({ allowed: true, remaining: 2 })
  })

  test('each limit holds at n − 1, n and n + 1 units', () => {
    const clock = new StepClock()
    const limit = start(clock, { limit: 5, windowMs: 1_000 })
    expect(limit.take('a', 4)).toMatchObject({ allowed: true, remaining: 1 })
    expect(limit.take('b', 5)).toMatchObject({ allowed: true, remaining: 0 })
    expect(limit.take('c', 6)).toMatchObject({
      allowed: false,
      remaining: 5,
      retryAfterMs: Number.POSITIVE_INFINITY,
    })
    expect(limit.take('c', Number.MAX_SAFE_INTEGER).allowed).toBe(false)
    expect(limit.take('c', 5).allowed).toBe(true)
    expect(limit.take('a', 2)).toMatchObject({ allowed: false, remaining: 1, retryAfterMs: 200 })
  })

  test('0 units look and take nothing', () => {
    const clock = new StepClock()
    const limit = start(clock, { limit: 1, windowMs: 1_000 })
    expect(limit.take('a', 0)).toMatchObject({ allowed: true, remaining: 1 })
    expect(limit.take('a').allowed).toBe(true)
    expect(limit.peek('a')).toMatchObject({ allowed: true, remaining: 0, resetMs: 1_000 })
  })

  test('Retry-After is exact: at that time the same request fits, a moment before it does not', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1_000 }),
        fc.integer({ min: 10, max: 100_000 }),
        fc.integer({ min: 1, max: 50 }),
        fc.array(fc.tuple(fc.integer({ min: 1, max: 60 }), fc.nat(5_000)), { maxLength: 30 }),
        (limit, windowMs, burst, takes) => {
          const clock = new StepClock()
          const gcra = start(clock, { limit, windowMs, burst })
          const emissionMs = windowMs / limit
          for (const [units, pauseMs] of takes) {
            clock.step(pauseMs)
            const decision = gcra.take('a', units)
            expect(decision.allowed || decision.retryAfterMs > 0).toBe(true)
            if (decision.allowed || units > burst) continue
            const refusedAtMs = clock.ms
            clock.ms = refusedAtMs + decision.retryAfterMs - emissionMs * 0.01
            expect(gcra.take('a', units).allowed).toBe(false)
            clock.ms = refusedAtMs + decision.retryAfterMs
            expect(gcra.take('a', units).allowed).toBe(true)
          }
        },
      ),
      { numRuns: 50 },
    )
  })

  test('no span of time holds more than the burst and what came back in it', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 20 }),
        fc.array(fc.nat(400), { maxLength: 80 }),
        (limit, burst, pauses) => {
          const clock = new StepClock()
          const gcra = start(clock, { limit, windowMs: 1_000, burst })
          const allowedAt: number[] = []
          for (const pause of pauses) {
            clock.step(pause)
            if (gcra.take('a').allowed) allowedAt.push(clock.ms)
          }
          for (const [from, start] of allowedAt.entries()) {
            for (const [to, end] of allowedAt.entries()) {
              if (to >= from)
                expect(to - from + 1).toBeLessThanOrEqual(burst + ((end - start) * limit) / 1_000 + 0.01)
            }
          }
        },
      ),
    )
  })

  test('a full table refuses too much, never too little', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(40), fc.integer({ min: 1, max: 3 }), fc.nat(30)), {
          minLength: 1,
          maxLength: 300,
        }),
        (takes) => {
          const clock = new StepClock()
          const options = { limit: 10, windowMs: 1_000, burst: 5 }
          const tight = start(clock, { ...options, keysMax: 8 })
          const allowed = new Map<number, { at: number; units: number }[]>()
          for (const [key, units, pause] of takes) {
            clock.step(pause)
            if (!tight.take(key, units).allowed) continue
            const list = allowed.get(key) ?? []
            list.push({ at: clock.ms, units })
            allowed.set(key, list)
            // Every span that ends here keeps to the quota of this key.
            let sum = 0
            for (const { at, units: taken } of list.toReversed()) {
              sum += taken
              expect(sum).toBeLessThanOrEqual(5 + (clock.ms - at) / 100 + 0.01)
            }
          }
        },
      ),
    )
  })

  test('a key that a full table turned away is not let off', () => {
    const clock = new StepClock()
    const limit = start(clock, { limit: 2, windowMs: 1_000, keysMax: 8 })
    for (let key = 0; key < 200; key++) limit.take(key)
    expect(Array.from({ length: 200 }, (_, key) => limit.take(key).allowed)).not.toContain(true)
    clock.step(1_000)
    expect(limit.take(0).allowed).toBe(true)
  })

  test('with room enough keys do not disturb each other', () => {
    const clock = new StepClock()
    const limit = start(clock, { limit: 1, windowMs: 1_000, keysMax: 65_536 })
    for (let key = 0; key < 4_096; key++) expect(limit.take(`client ${key}`).allowed).toBe(true)
    for (let key = 0; key < 4_096; key++) expect(limit.take(`client ${key}`).allowed).toBe(false)
    limit.reset()
    expect(limit.take('client 1').allowed).toBe(true)
  })

  test('years later it still counts every unit', () => {
    const clock = new StepClock()
    const limit = start(clock, { limit: 1e9, windowMs: 1_000, burst: 10_000 })
    clock.ms = 1e12
    let allowed = 0
    while (allowed < 20_000 && limit.take('a').allowed) allowed++
    expect(allowed).toBeGreaterThan(0)
    expect(allowed).toBeLessThanOrEqual(10_000)
  })
})

test('the header fields of a policy with a burst state its quota and the time to refill it', () => {
  const limit = new Gcra({ limit: 100, windowMs: 60_000, burst: 10, name: 'per-client' })
  const decision = limit.take('a')
  expect(decision.rateLimitPolicy).toBe('"per-client";q=10;w=6')
  expect(decision.rateLimit).toBe('"per-client";r=9;t=1')
})

test('refuses what is out of bounds', () => {
  const good = { limit: 1, windowMs: 1 }
  for (const bad of [0, -1, 1.5, 1e9 + 1, Number.NaN]) {
    expect(() => new Gcra({ ...good, limit: bad })).toThrow(RangeError)
    expect(() => new Gcra({ ...good, burst: bad })).toThrow(RangeError)
  }
  for (const windowMs of [0, 0.5, 2 ** 41 + 1, Number.NaN])
    expect(() => new Gcra({ ...good, windowMs })).toThrow(RangeError)
  for (const keysMax of [0, 7, 8.5, 2 ** 27 + 1])
    expect(() => new Gcra({ ...good, keysMax })).toThrow(RangeError)
  // 99 units come back in less than 0.01 ms, 100 do not.
  expect(() => new Gcra({ limit: 1e7, windowMs: 1_000, burst: 99 })).toThrow(/0.01 ms/)
  expect(() => new Gcra({ limit: 1e7, windowMs: 1_000, burst: 100 })).not.toThrow()
  for (const name of ['', 'ä', 'a\r\nb']) expect(() => new Gcra({ ...good, name })).toThrow(TypeError)
  for (const units of [-1, 0.5, Number.NaN, 2 ** 53])
    expect(() => new Gcra(good).take('a', units)).toThrow(RangeError)
  // @ts-expect-error a key is text, a number or bytes
  expect(() => new Gcra(good).take({})).toThrow(TypeError)
  expect(Gcra.byteLength()).toBe(64 + 12 * 16_384)
  expect(Gcra.byteLength({ keysMax: 9 })).toBe(64 + 12 * 16)
})

test('an option that no limiter reads is refused by name, in each class', () => {
  const brust = { brust: 3 }
  const message = 'Unknown option "brust"; known are '
  expect(() => new Gcra({ limit: 1, windowMs: 1, ...brust })).toThrow(`${message}limit, windowMs, burst,`)
  expect(() => new SlidingWindow({ limit: 1, windowMs: 1, ...brust })).toThrow(message)
  expect(() => new TokenBucket({ capacity: 1, tokensPerSecond: 1, ...brust })).toThrow(message)
  expect(() => new Rate({ intervalMs: 1, ...brust })).toThrow(message)
  expect(() => new Estimator({ rows: 1, ...brust })).toThrow(message)
  expect(() => new Inflight({ rows: 1, ...brust })).toThrow(message)
  expect(() => new ConcurrencyLimit({ limit: 1, ...brust })).toThrow(message)
  const store = new MemoryLimitStore({ limit: 1, windowMs: 1 })
  const fallback = new Gcra({ limit: 1, windowMs: 1 })
  expect(() => new FallbackLimitStore({ store, fallback, ...brust })).toThrow(message)
})
