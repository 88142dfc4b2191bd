import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { SlidingWindow } from '../src/index.ts'
import { StepClock } from './clock.ts'

describe.each([false, true])('shared: %s', (shared) => {
  function start(clock: StepClock, limit: number, windowMs = 1_000) {
    const memory = shared ? { memory: new SharedArrayBuffer(SlidingWindow.byteLength()) } : {}
    return new SlidingWindow({ limit, windowMs, now: clock.now, ...memory })
  }

  test('lets n through in a window, and refuses n + 1 without counting it', () => {
    const clock = new StepClock()
    const limit = start(clock, 3)
    expect([1, 2, 3].map(() => limit.take('a').remaining)).toEqual([2, 1, 0])
    expect(limit.take('a')).toMatchObject({ allowed: false, limit: 3, remaining: 0 })
    expect(limit.take('a')).toMatchObject({ allowed: false })
    expect(limit.take('b').allowed).toBe(true)
    // Of three units in the last window one must have slid out: after a third of this one.
    clock.ms = 1_333
    expect(limit.take('a').allowed).toBe(false)
    clock.ms = 1_334
    expect(limit.take('a')).toMatchObject({ allowed: true, remaining: 0 })
  })

  test('0 units look, more than the limit never fit', () => {
    const clock = new StepClock()
    const limit = start(clock, 3)
    limit.take('a', 2)
    expect(limit.peek('a')).toMatchObject({ allowed: true, remaining: 1, resetMs: 2_000 })
    expect(limit.take('a', 4)).toMatchObject({
      allowed: false,
      remaining: 1,
      retryAfterMs: Number.POSITIVE_INFINITY,
    })
    expect(limit.take('a', Number.MAX_SAFE_INTEGER).allowed).toBe(false)
    expect(limit.take('a', 1).allowed).toBe(true)
    limit.reset()
    expect(limit.peek('a')).toMatchObject({ remaining: 3, resetMs: 0 })
  })

  test('the largest limit counts exactly, refusals included', () => {
    const limit = start(new StepClock(), 2 ** 24)
    expect(limit.take('a', 2 ** 24 - 1).remaining).toBe(1)
    for (let round = 0; round < 100; round++) expect(limit.take('a', 2 ** 24).allowed).toBe(false)
    expect(limit.peek('a').remaining).toBe(1)
  })

  test('Retry-After is enough, and never more than two windows', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 30 }),
        fc.array(fc.tuple(fc.integer({ min: 1, max: 10 }), fc.nat(800)), { maxLength: 40 }),
        (quota, takes) => {
          const clock = new StepClock()
          const limit = start(clock, quota)
          for (const [units, pause] of takes) {
            clock.step(pause)
            const decision = limit.take('a', units)
            if (decision.allowed || units > quota) continue
            expect(decision.retryAfterMs).toBeLessThanOrEqual(2_000)
            clock.step(decision.retryAfterMs + 0.001)
            expect(limit.take('a', units).allowed).toBe(true)
          }
        },
      ),
    )
  })

  test('the estimate stays within the limit, and no window holds twice as much', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 20 }),
        fc.array(fc.nat(300), { maxLength: 120 }),
        (quota, pauses) => {
          const clock = new StepClock()
          const limit = start(clock, quota)
          const allowedAt: number[] = []
          for (const pause of pauses) {
            clock.step(pause)
            if (limit.take('a').allowed) allowedAt.push(clock.ms)
            const inLast = allowedAt.filter((at) => at > clock.ms - 1_000).length
            expect(inLast).toBeLessThan(2 * quota + 1)
            const inWindow = allowedAt.filter(
              (at) => Math.floor(at / 1_000) === Math.floor(clock.ms / 1_000),
            ).length
            expect(inWindow).toBeLessThanOrEqual(quota)
          }
        },
      ),
    )
  })
})

test('refuses what is out of bounds', () => {
  const good = { limit: 1, windowMs: 1_000 }
  for (const limit of [0, 1.5, 2 ** 24 + 1])
    expect(() => new SlidingWindow({ ...good, limit })).toThrow(RangeError)
  for (const windowMs of [0, 0.5, 2 ** 31 + 1])
    expect(() => new SlidingWindow({ ...good, windowMs })).toThrow(RangeError)
  expect(() => new SlidingWindow({ ...good, columns: 100 })).toThrow(RangeError)
  expect(() => new SlidingWindow({ ...good, name: '\n' })).toThrow(TypeError)
  expect(() => new SlidingWindow(good).take('a', -1)).toThrow(RangeError)
  expect(SlidingWindow.byteLength()).toBe(64 + 3 * 4 * 4096 * 4)
})
