import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { proportionalRate, Rate } from '../src/index.ts'
import { StepClock } from './clock.ts'

describe.each([false, true])('shared: %s', (shared) => {
  function start(clock: StepClock, intervalMs = 1_000) {
    const memory = shared ? { memory: new SharedArrayBuffer(Rate.byteLength()) } : {}
    return new Rate({ intervalMs, now: clock.now, ...memory })
  }

  test("gives Pingora's rates after 0, 1, 2 and 3 seconds", () => {
    const clock = new StepClock(12_345)
    const rate = start(clock)
    expect(rate.observe('a', 3)).toBe(3)
    expect(rate.observe('a', 2)).toBe(5)
    expect(rate.rate('a')).toBe(0)
    clock.step(1_000)
    expect(rate.rate('a')).toBe(5)
    expect(rate.observe('a', 4)).toBe(4)
    expect(rate.rate('a')).toBe(5)
    clock.step(1_000)
    expect(rate.rate('a')).toBe(4)
    clock.step(1_000)
    expect(rate.rate('a')).toBe(0)
  })

  test('windows follow a grid: a late first event does not stretch them', () => {
    const clock = new StepClock()
    const rate = start(clock)
    rate.observe('a')
    clock.ms = 1_900
    rate.observe('a', 7)
    clock.ms = 2_000
    expect(rate.observe('a')).toBe(1)
    expect(rate.rate('a')).toBe(7)
  })

  test('an idle time of any length leaves nothing behind', () => {
    const clock = new StepClock()
    const rate = start(clock)
    for (const idle of [2_000, 3_000, 4_000, 5_999, 1e6, 1e12]) {
      rate.observe('a', 5)
      clock.step(1_000)
      rate.observe('a', 9)
      clock.step(idle)
      expect(rate.rate('a')).toBe(0)
      expect(rate.proportional('a')).toBe(0)
      expect(rate.observe('a', 2)).toBe(2)
      expect(rate.rate('a')).toBe(0)
      clock.step(2_000)
    }
  })

  test('a rate is per second whatever the interval', () => {
    const clock = new StepClock()
    const rate = start(clock, 100)
    rate.observe('a', 5)
    clock.step(100)
    expect(rate.rate('a')).toBe(50)
  })

  test('proportional slides from one window into the next', () => {
    const clock = new StepClock()
    const rate = start(clock)
    rate.observe('a', 10)
    clock.ms = 500
    expect(rate.proportional('a')).toBe(10)
    clock.ms = 1_000
    expect(rate.proportional('a')).toBe(10)
    clock.ms = 1_500
    rate.observe('a', 4)
    expect(rate.proportional('a')).toBe(9)
    clock.ms = 1_750
    expect(rate.proportional('a')).toBe(6.5)
    clock.ms = 2_500
    expect(rate.proportional('a')).toBe(2)
    clock.ms = 3_000
    expect(rate.proportional('a')).toBe(0)
  })

  test('rateWith hands the components to any computation', () => {
    const clock = new StepClock()
    const rate = start(clock, 2_000)
    rate.observe('a', 10)
    clock.ms = 2_500
    rate.observe('a', 4)
    expect(rate.rateWith('a', (components) => components)).toEqual({
      previousSamples: 10,
      currentSamples: 4,
      intervalMs: 2_000,
      currentIntervalFraction: 0.25,
    })
    expect(
      rate.rateWith(
        'a',
        ({ previousSamples, currentSamples }) => previousSamples * 0.9 + currentSamples * 0.1,
      ),
    ).toBe(9.4)
    expect(rate.rateWith('a', proportionalRate)).toBe(5.75)
    expect(rate.rateWith('none', () => 'anything')).toBe('anything')
  })

  test('agrees with a plain list of events, for few keys', () => {
    fc.assert(
      fc.property(
        fc.nat(),
        fc.array(fc.tuple(fc.constantFrom('a', 'b', 3), fc.nat(9), fc.nat(2_500)), { maxLength: 60 }),
        (startMs, events) => {
          const clock = new StepClock(startMs)
          const epoch = clock.ms
          const rate = start(clock)
          const seen: { key: string | number; window: number; count: number }[] = []
          for (const [key, count, pauseMs] of events) {
            clock.step(pauseMs)
            const window = Math.floor((clock.ms - epoch) / 1_000)
            seen.push({ key, window, count })
            const inWindow = (which: number) =>
              seen.reduce((sum, one) => sum + (one.key === key && one.window === which ? one.count : 0), 0)
            expect(rate.observe(key, count)).toBe(inWindow(window))
            expect(rate.rate(key)).toBe(inWindow(window - 1))
          }
        },
      ),
    )
  })

  test('the window number may pass its 30 bits', () => {
    const clock = new StepClock()
    const rate = start(clock, 1)
    clock.ms = 2 ** 29
    rate.observe('a', 1)
    clock.ms = 2 ** 30 - 1
    expect(rate.observe('a', 3)).toBe(3)
    clock.ms = 2 ** 30
    expect(rate.rate('a')).toBe(3_000)
    expect(rate.observe('a', 2)).toBe(2)
    expect(rate.rate('a')).toBe(3_000)
    clock.ms = 2 ** 30 + 1
    expect(rate.rate('a')).toBe(2_000)
  })

  test('a clock that goes back stays in the newest window', () => {
    const clock = new StepClock(10_000)
    const rate = start(clock)
    clock.ms = 12_000
    rate.observe('a', 3)
    clock.ms = 9_000
    expect(rate.observe('a', 1)).toBe(4)
    expect(rate.rateWith('a', (components) => components.currentIntervalFraction)).toBe(0)
  })

  test('reset forgets', () => {
    const clock = new StepClock()
    const rate = start(clock)
    rate.observe('a', 3)
    clock.step(1_000)
    rate.observe('a', 3)
    rate.reset()
    expect(rate.rate('a')).toBe(0)
    expect(rate.observe('a')).toBe(1)
  })
})

test('refuses what is out of bounds', () => {
  for (const intervalMs of [0, -1, 0.5, Number.NaN, 2 ** 31 + 1]) {
    expect(() => new Rate({ intervalMs })).toThrow(
      /^intervalMs must be an integer from 1 to 2147483648, received/,
    )
  }
  expect(() => new Rate({ intervalMs: 1_000 }).observe('a', -1)).toThrow(RangeError)
  // @ts-expect-error a clock is a function
  expect(() => new Rate({ intervalMs: 1_000, now: 5 })).toThrow(TypeError)
  expect(() => new Rate({ intervalMs: 1_000, now: () => Number.NaN })).toThrow(RangeError)
  expect(Rate.byteLength()).toBe(64 + 3 * 4 * 1024 * 4)
})

test('uses the machine clock by default', () => {
  expect(new Rate({ intervalMs: 60_000 }).observe('a')).toBe(1)
})
