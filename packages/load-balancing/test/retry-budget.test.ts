import { RetryBudget } from '@cirque/load-balancing'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Clock } from './helpers.ts'

test('allows a percentage of the requests in the window', () => {
  const clock = new Clock()
  const budget = new RetryBudget({ percent: 20, perSecondMin: 0, windowMs: 10_000, now: clock.now })
  expect(budget.tryRetry()).toBe(false)
  for (let request = 0; request < 100; request++) budget.recordRequest()
  expect(budget.left).toBe(20)
  let allowed = 0
  while (budget.tryRetry()) allowed++
  expect(allowed).toBe(20)
  clock.ms = 9_999
  expect(budget.tryRetry()).toBe(false)
  clock.ms = 10_000
  expect(budget.left).toBe(0)
  budget.recordRequest()
  expect(budget.tryRetry()).toBe(false)
})

test('allows perSecondMin whatever the traffic', () => {
  const clock = new Clock()
  const budget = new RetryBudget({ perSecondMin: 3, windowMs: 1_000, now: clock.now })
  expect([budget.tryRetry(), budget.tryRetry(), budget.tryRetry(), budget.tryRetry()]).toEqual([
    true,
    true,
    true,
    false,
  ])
  clock.ms = 1_000
  expect(budget.left).toBe(3)
})

test('in no window are there more retries than allowed, however time goes on', () => {
  const step = fc.record({ ms: fc.nat(2_500), act: fc.constantFrom('request', 'retry') })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), fc.nat(100), (steps, percent) => {
      const clock = new Clock()
      const budget = new RetryBudget({ percent, perSecondMin: 1, windowMs: 2_000, now: clock.now })
      const requests: number[] = []
      const retries: number[] = []
      for (const { ms, act } of steps) {
        clock.ms += ms
        if (act === 'request') {
          budget.recordRequest()
          requests.push(clock.ms)
        } else if (budget.tryRetry()) {
          retries.push(clock.ms)
          // The window ends with the present tenth: it is between nine and ten tenths long.
          const start = (Math.floor(clock.ms / 200) - 9) * 200
          const count = (times: number[]) => times.filter((time) => time >= start).length
          expect(count(retries)).toBeLessThanOrEqual(Math.max(2, (count(requests) * percent) / 100))
        }
      }
    }),
  )
})

test('refuses wrong options', () => {
  for (const options of [{ percent: -1 }, { percent: 1_001 }, { perSecondMin: -1 }, { windowMs: 9 }]) {
    expect(() => new RetryBudget(options)).toThrow(RangeError)
  }
  expect(() => new RetryBudget({ ratio: 1 } as never)).toThrow(TypeError)
})
