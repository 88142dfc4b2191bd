import fc from 'fast-check'
import { expect, test } from 'vitest'
import { CircuitBreaker, circuitBreakerSettings } from '../src/resilience/circuit-breaker.ts'

const settings = circuitBreakerSettings({
  volumeMin: 10,
  failurePercent: 50,
  windowMs: 1_000,
  openMs: 500,
  probesMax: 2,
  probeSuccessCount: 3,
  probeTimeoutMs: 2_000,
})

const results = (breaker: CircuitBreaker, now: number, ...oks: (boolean | undefined)[]) => {
  for (const ok of oks) breaker.end(ok, breaker.begin(now), now)
}
const times = <T>(count: number, value: T): T[] => new Array<T>(count).fill(value)

function opened(): CircuitBreaker {
  const breaker = new CircuitBreaker(settings)
  results(breaker, 0, ...times(10, false))
  expect(breaker.state).toBe('open')
  return breaker
}

test('opens at failurePercent of at least volumeMin results, not before', () => {
  const breaker = new CircuitBreaker(settings)
  results(breaker, 0, ...times(9, false))
  expect(breaker.state).toBe('closed')
  results(breaker, 0, false)
  expect(breaker.state).toBe('open')
  expect(breaker.admits).toBe(false)

  const half = new CircuitBreaker(settings)
  results(half, 0, ...times(6, true), ...times(5, false))
  expect(half.state).toBe('closed')
  results(half, 0, false)
  expect(half.state).toBe('open')
})

test('results that leave the window, and those that say nothing, do not count', () => {
  const breaker = new CircuitBreaker(settings)
  results(breaker, 0, ...times(9, false))
  results(breaker, 1_000, ...times(9, false), ...times(100, undefined))
  expect(breaker.state).toBe('closed')
})

test('lets probesMax probes through after openMs, and closes after probeSuccessCount successes', () => {
  const breaker = opened()
  breaker.advance(499)
  expect(breaker.admits).toBe(false)
  expect(breaker.wakeAt).toBe(500)
  breaker.advance(500)
  expect(breaker.state).toBe('half-open')
  const first = breaker.begin(500)
  expect(breaker.admits).toBe(true)
  const second = breaker.begin(500)
  expect(breaker.admits).toBe(false)
  breaker.end(true, first, 510)
  breaker.end(true, second, 510)
  expect(breaker.state).toBe('half-open')
  results(breaker, 520, true)
  expect(breaker.state).toBe('closed')
})

test('one failed probe opens it again', () => {
  const breaker = opened()
  breaker.advance(500)
  results(breaker, 500, true, true, false)
  expect(breaker.state).toBe('open')
  expect(breaker.wakeAt).toBe(1_000)
})

test('a probe that ends without a verdict makes room for another', () => {
  const breaker = opened()
  breaker.advance(500)
  results(breaker, 500, ...times(50, undefined))
  expect(breaker.state).toBe('half-open')
  expect(breaker.admits).toBe(true)
})

test('probes that never end are given up, and their late results ignored', () => {
  const breaker = opened()
  breaker.advance(500)
  const lost = [breaker.begin(500), breaker.begin(600)]
  breaker.advance(2_599)
  expect(breaker.admits).toBe(false)
  breaker.advance(2_600)
  expect(breaker.admits).toBe(true)
  for (const epoch of lost) breaker.end(false, epoch, 2_700)
  expect(breaker.state).toBe('half-open')
})

test('a failure that began before the breaker opened cannot reopen it', () => {
  const breaker = new CircuitBreaker(settings)
  const slow = breaker.begin(0)
  results(breaker, 0, ...times(10, false))
  breaker.advance(500)
  results(breaker, 500, true, true, true)
  expect(breaker.state).toBe('closed')
  for (let index = 0; index < 20; index++) breaker.end(false, slow, 600)
  expect(breaker.state).toBe('closed')
})

test('whatever happened before, it closes once the backend is well', () => {
  const step = fc.record({
    ms: fc.integer({ min: 0, max: 3_000 }),
    act: fc.constantFrom('begin', 'ok', 'fail', 'gone', 'lose'),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const breaker = new CircuitBreaker(settings)
      const epochs: number[] = []
      let now = 0
      for (const { ms, act } of steps) {
        now += ms
        breaker.advance(now)
        if (act === 'begin' && breaker.admits) epochs.push(breaker.begin(now))
        else if (act === 'lose') epochs.pop()
        else if (act !== 'begin' && epochs.length > 0) {
          breaker.end(act === 'gone' ? undefined : act === 'ok', epochs.shift() as number, now)
        }
        // Something must be due by itself whenever nothing is admitted.
        if (!breaker.admits) expect(breaker.wakeAt).toBeLessThanOrEqual(now + 2_000)
      }
      for (let round = 0; round < 10 && breaker.state !== 'closed'; round++) {
        now += 2_000
        breaker.advance(now)
        expect(breaker.admits).toBe(true)
        breaker.end(true, breaker.begin(now), now)
      }
      expect(breaker.state).toBe('closed')
    }),
  )
})

test('refuses options out of range', () => {
  for (const options of [
    { volumeMin: 0 },
    { failurePercent: 0 },
    { failurePercent: 101 },
    { windowMs: 0 },
    { openMs: Number.POSITIVE_INFINITY },
    { probesMax: 1.5 },
    { probeSuccessCount: 0 },
    { probeTimeoutMs: Number.NaN },
  ]) {
    expect(() => circuitBreakerSettings(options), JSON.stringify(options)).toThrow(RangeError)
  }
  expect(() => circuitBreakerSettings({ openTime: 1 } as never)).toThrow(TypeError)
})
