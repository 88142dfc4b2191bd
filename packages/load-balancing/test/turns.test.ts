import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Turns } from '../src/selection/turns.ts'

/** The same by the book: in each round everyone gets credit for its weight, and a turn for each whole share. */
function* roundByRound(weights: readonly number[]): Generator<number, never, void> {
  const weightMax = Math.max(...weights)
  const credits = weights.map(() => 0)
  for (;;) {
    for (const [index, weight] of weights.entries()) {
      const credit = (credits[index] as number) + weight
      credits[index] = credit >= weightMax ? credit - weightMax : credit
      if (credit >= weightMax) yield index
    }
  }
}

test('turns come as round by round, whatever the weights', () => {
  const weight = fc.oneof(fc.integer({ min: 1, max: 9 }), fc.constantFrom(100, 255))
  fc.assert(
    fc.property(fc.array(weight, { minLength: 1, maxLength: 20 }), (weights) => {
      const turns = new Turns(Float64Array.from(weights))
      const expected = roundByRound(weights)
      for (let turn = 0; turn < 300; turn++) expect(turns.next()).toBe(expected.next().value)
    }),
  )
})

test('one heavy backend among thousands does not make the others’ rounds cost', () => {
  const weights = new Float64Array(20_000).fill(1)
  weights[7] = 65_535
  const turns = new Turns(weights)
  const { user } = process.cpuUsage()
  let heavy = 0
  for (let turn = 0; turn < 100_000; turn++) if (turns.next() === 7) heavy++
  // Its share of the weights is 65,535 of 85,534; the first turn of the light ones comes at round 65,535.
  expect(heavy).toBe(65_535 + (100_000 - 65_535 - 19_999))
  // Round by round these would be 65,535 × 20,000 steps, some seconds.
  expect(process.cpuUsage().user - user).toBeLessThan(1_000_000)
})
