import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { TokenBucket } from '../src/index.ts'
import { StepClock } from './clock.ts'

describe.each([false, true])('shared: %s', (shared) => {
  function start(clock: StepClock, capacity: number, tokensPerSecond: number) {
    const memory = shared ? { memory: new SharedArrayBuffer(TokenBucket.byteLength()) } : {}
    return new TokenBucket({ capacity, tokensPerSecond, now: clock.now, ...memory })
  }

  test('is full at first, empties, and fills up at its rate', () => {
    const clock = new StepClock(77)
    const bucket = start(clock, 4, 2)
    expect(bucket.peek()).toMatchObject({ allowed: true, remaining: 4, resetMs: 0 })
    expect(bucket.take(3)).toMatchObject({ allowed: true, limit: 4, remaining: 1 })
    expect(bucket.take(2)).toMatchObject({ allowed: false, remaining: 1, retryAfterMs: 500 })
    clock.step(500)
    expect(bucket.take(2)).toMatchObject({ allowed: true, remaining: 0, resetMs: 2_000 })
    clock.step(1e9)
    expect(bucket.peek()).toMatchObject({ remaining: 4 })
    expect(bucket.take(5)).toMatchObject({
      allowed: false,
      retryAfterMs: Number.POSITIVE_INFINITY,
      remaining: 4,
    })
    expect(bucket.take(4).allowed).toBe(true)
    expect(bucket.take(0)).toMatchObject({ allowed: true, remaining: 0 })
    bucket.reset()
    expect(bucket.peek().remaining).toBe(4)
  })

  test('agrees with a count of tokens', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 64 }),
        fc.array(fc.tuple(fc.nat(70), fc.nat(64)), { maxLength: 100 }),
        (capacity, takes) => {
          const clock = new StepClock()
          // A token in 2^−3 ms, and times in whole ms: exact in doubles.
          const bucket = start(clock, capacity, 8_000)
          let tokens = capacity
          for (const [wanted, pauseMs] of takes) {
            clock.step(pauseMs / 8)
            tokens = Math.min(capacity, tokens + pauseMs)
            const decision = bucket.take(wanted)
            expect(decision.allowed).toBe(wanted <= tokens)
            if (decision.allowed) tokens -= wanted
            expect(decision.remaining).toBe(tokens)
            expect(decision.resetMs).toBeCloseTo((capacity - tokens) / 8, 6)
          }
        },
      ),
    )
  })

  test('bytes per second: large takes at a high rate', () => {
    const clock = new StepClock()
    const bucket = start(clock, 1e9, 1e9)
    clock.ms = 3e10
    let taken = 0
    for (let chunk = 0; chunk < 100_000; chunk++) if (bucket.take(65_536).allowed) taken += 65_536
    expect(taken).toBeGreaterThan(0.99e9)
    expect(taken).toBeLessThanOrEqual(1e9)
  })
})

test('refuses what is out of bounds', () => {
  const good = { capacity: 1, tokensPerSecond: 1 }
  for (const capacity of [0, 1.5, -1, 1e15])
    expect(() => new TokenBucket({ ...good, capacity })).toThrow(RangeError)
  for (const tokensPerSecond of [0, -1, 1e-7, 1e13, Number.NaN]) {
    expect(() => new TokenBucket({ ...good, tokensPerSecond })).toThrow(RangeError)
  }
  expect(() => new TokenBucket({ capacity: 9, tokensPerSecond: 1e6 })).toThrow(/0.01 ms/)
  expect(() => new TokenBucket({ ...good, name: '' })).toThrow(TypeError)
  for (const tokens of [-1, 0.5, Number.NaN])
    expect(() => new TokenBucket(good).take(tokens)).toThrow(RangeError)
  expect(
    new TokenBucket({ capacity: 999_999_999_999_999, tokensPerSecond: 1e-6 }).take().rateLimitPolicy,
  ).toBe('"default";q=999999999999999;w=999999999999999')
})
