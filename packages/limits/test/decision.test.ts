import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Decision } from '../src/index.ts'

const policy = { name: 'default', limit: 100, windowMs: 60_000 }

test('draft-ietf-httpapi-ratelimit-headers §3, §4: an allowed request tells the quota and what is left', () => {
  const decision = new Decision(policy, true, 7, 0, 2_001)
  expect(decision.rateLimitPolicy).toBe('"default";q=100;w=60')
  expect(decision.rateLimit).toBe('"default";r=7;t=3')
  expect(decision.retryAfter).toBeUndefined()
})

test('draft-ietf-httpapi-ratelimit-headers §6: Retry-After is never before the end of the effective window', () => {
  fc.assert(
    fc.property(
      fc.double({ min: 0, max: 1e9, noNaN: true }),
      fc.double({ min: 0, max: 1e9, noNaN: true }),
      (retryMs, resetMs) => {
        const decision = new Decision(policy, false, 0, retryMs, resetMs)
        const window = Number(/;t=(\d+)$/.exec(decision.rateLimit)?.[1])
        expect(Number(decision.retryAfter)).toBeGreaterThanOrEqual(window)
        expect(Number(decision.retryAfter) * 1000).toBeGreaterThanOrEqual(retryMs)
      },
    ),
  )
})

test('a refusal rounds the wait up to whole seconds, one at least', () => {
  expect(new Decision(policy, false, 0, 1_000, 60_000).retryAfter).toBe('1')
  expect(new Decision(policy, false, 0, 1_001, 60_000).retryAfter).toBe('2')
  expect(new Decision(policy, false, 0, 1, 60_000).retryAfter).toBe('1')
  expect(new Decision(policy, false, 0, 1, 60_000).rateLimit).toBe('"default";r=0;t=1')
})

test('a request above the quota has no Retry-After: waiting would not help', () => {
  const decision = new Decision(policy, false, 5, Number.POSITIVE_INFINITY, 57_000)
  expect(decision.retryAfter).toBeUndefined()
  expect(decision.rateLimit).toBe('"default";r=5;t=57')
})

test('RFC 9651 §3.3: names are quoted, integers have at most 15 digits', () => {
  const odd = new Decision({ name: 'a"b\\c', limit: 1, windowMs: 1e30 }, true, 1, 0, 1e30)
  expect(odd.rateLimitPolicy).toBe('"a\\"b\\\\c";q=1;w=999999999999999')
  expect(odd.rateLimit).toBe('"a\\"b\\\\c";r=1;t=999999999999999')
})
