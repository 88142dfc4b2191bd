import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Estimator } from '../src/index.ts'

test('counts up, down and back to zero', () => {
  const estimator = new Estimator({ rows: 8, columns: 8 })
  expect(estimator.incr('a')).toBe(1)
  expect(estimator.incr('a', 2)).toBe(3)
  expect(estimator.get('a')).toBe(3)
  expect(estimator.decr('a', 2)).toBe(1)
  expect(estimator.get('b')).toBeLessThanOrEqual(1)
  estimator.reset()
  expect(estimator.get('a')).toBe(0)
})

test.each([false, true])('an estimate never falls below the true count (shared: %s)', (shared) => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.string({ maxLength: 2 }), fc.integer({ min: 0, max: 100 })), { maxLength: 200 }),
      (events) => {
        const size = { rows: 3, columns: 16 }
        const estimator = new Estimator(
          shared ? { ...size, memory: new SharedArrayBuffer(Estimator.byteLength(size)) } : size,
        )
        const counts = new Map<string, number>()
        let total = 0
        for (const [key, count] of events) {
          counts.set(key, (counts.get(key) ?? 0) + count)
          total += count
          expect(estimator.incr(key, count)).toBeGreaterThanOrEqual(counts.get(key) as number)
        }
        for (const [key, count] of counts) {
          expect(estimator.get(key)).toBeGreaterThanOrEqual(count)
          expect(estimator.get(key)).toBeLessThanOrEqual(total)
          estimator.decr(key, count)
        }
        for (const key of counts.keys()) expect(estimator.get(key)).toBe(0)
      },
    ),
  )
})

test('errors keep to the documented bound', () => {
  const estimator = new Estimator()
  const keys = 20_000
  for (let key = 0; key < keys; key++) estimator.incr(key)
  let beyond = 0
  for (let key = 0; key < keys; key++) if (estimator.get(key) - 1 > (Math.E / 1024) * keys) beyond++
  expect(beyond / keys).toBeLessThan(Math.exp(-4))
})

test.each([false, true])('counts stop at 2^30 up and down, and never wrap (shared: %s)', (shared) => {
  const estimator = new Estimator(shared ? { memory: new SharedArrayBuffer(Estimator.byteLength()) } : {})
  expect(estimator.incr('a', 2 ** 30 - 1)).toBe(2 ** 30 - 1)
  expect(estimator.incr('a', 1)).toBe(2 ** 30)
  expect(estimator.incr('a', 1)).toBe(2 ** 30)
  expect(estimator.incr('a', Number.MAX_SAFE_INTEGER)).toBe(2 ** 30)
  expect(estimator.get('a')).toBe(2 ** 30)
  expect(estimator.decr('a', Number.MAX_SAFE_INTEGER)).toBe(-(2 ** 30))
  expect(estimator.decr('a')).toBe(-(2 ** 30))
})

test.each([-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53])('refuses %d events', (events) => {
  const estimator = new Estimator()
  expect(() => estimator.incr('a', events)).toThrow(
    new RangeError(`events must be an integer from 0, received ${events}`),
  )
  expect(() => estimator.decr('a', events)).toThrow(RangeError)
  expect(estimator.get('a')).toBe(0)
})

test('sizes are bounded', () => {
  expect(Estimator.byteLength()).toBe(64 + 4 * 1024 * 4)
  expect(new Estimator({ rows: 16, columns: 2 }).incr('a')).toBe(1)
  for (const rows of [0, 17, 1.5]) expect(() => new Estimator({ rows })).toThrow(RangeError)
  for (const columns of [0, 1, 3, 2 ** 25]) expect(() => new Estimator({ columns })).toThrow(RangeError)
})
