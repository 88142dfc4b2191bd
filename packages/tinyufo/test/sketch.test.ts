import fc from 'fast-check'
import { expect, test } from 'vitest'
import { mix } from '../src/key-hash.ts'
import { FrequencySketch } from '../src/sketch.ts'

test('an estimate never falls below the true count before the first halving', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 40 }), { maxLength: 160 }), (keys) => {
      const sketch = new FrequencySketch(20)
      const counts = new Map<number, number>()
      for (const key of keys) {
        const count = (counts.get(key) ?? 0) + 1
        counts.set(key, count)
        expect(sketch.increment(mix(key))).toBeGreaterThanOrEqual(count)
      }
      for (const [key, count] of counts) expect(sketch.estimate(mix(key))).toBeGreaterThanOrEqual(count)
    }),
  )
})

test('with as many keys as expected, an estimate is seldom above the true count', () => {
  const sketch = new FrequencySketch(1000)
  for (let round = 0; round < 5; round++) for (let key = 0; key < 1000; key++) sketch.increment(mix(key))
  let wrong = 0
  for (let key = 0; key < 1000; key++) if (sketch.estimate(mix(key)) !== 5) wrong += 1
  expect(wrong).toBeLessThan(50)
})

test('counts stop at 255', () => {
  const sketch = new FrequencySketch(1000)
  for (let count = 1; count <= 254; count++) sketch.increment(7)
  expect(sketch.estimate(7)).toBe(254)
  expect([sketch.increment(7), sketch.increment(7), sketch.estimate(7)]).toEqual([255, 255, 255])
})

test('counts are halved once per 8 × estimatedSize additions, also where nothing was touched meanwhile', () => {
  const sketch = new FrequencySketch(64)
  for (let count = 0; count < 201; count++) sketch.increment(mix(1))
  for (let count = 201; count < 512; count++) sketch.increment(mix(2))
  expect([sketch.estimate(mix(1)), sketch.estimate(mix(2))]).toEqual([201, 255])
  sketch.increment(mix(3))
  expect([sketch.estimate(mix(1)), sketch.estimate(mix(2))]).toEqual([100, 127])
  for (let count = 0; count < 2 * 512; count++) sketch.increment(mix(4))
  expect([sketch.estimate(mix(1)), sketch.estimate(mix(2))]).toEqual([25, 31])
  for (let count = 0; count < 20 * 512; count++) sketch.increment(mix(4))
  expect([sketch.estimate(mix(1)), sketch.estimate(mix(2))]).toEqual([0, 0])
})

test('clear forgets all counts', () => {
  const sketch = new FrequencySketch(4)
  for (let key = 0; key < 100; key++) sketch.increment(mix(key))
  sketch.clear()
  for (let key = 0; key < 100; key++) expect(sketch.estimate(mix(key))).toBe(0)
})

test('it holds at most 11.6 bytes per expected item, plus one block', () => {
  for (const size of [1, 2, 100, 10_000, 1_000_000]) {
    expect(new FrequencySketch(size).byteLength).toBeLessThan(11.6 * size + 2 * 68)
  }
})
