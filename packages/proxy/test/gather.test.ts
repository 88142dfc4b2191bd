import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Gatherer } from '../src/flow/gather.ts'

test('pieces of any sizes stay the same bytes in the same order, and small ones cost no memory of their own', () => {
  const sizes = fc.array(
    fc.oneof({ weight: 8, arbitrary: fc.integer({ min: 1, max: 40 }) }, fc.integer({ min: 1, max: 20_000 })),
    { maxLength: 400 },
  )
  fc.assert(
    fc.property(sizes, fc.array(fc.nat(399)), (given, taken) => {
      const gatherer = new Gatherer()
      const pieces: Buffer[] = []
      const out: Buffer[] = []
      const expected: Buffer[] = []
      given.forEach((size, index) => {
        const source = Buffer.alloc(size + 2, index)
        gatherer.add(pieces, source, 1, size + 1)
        expected.push(Buffer.alloc(size, index))
        // Somebody takes the first piece away now and then, and keeps it.
        if (taken.includes(index)) out.push(pieces.shift() as Buffer)
      })
      const total = given.reduce((sum, size) => sum + size, 0)
      expect(pieces.length).toBeLessThanOrEqual(2 + total / 512)
      expect(Buffer.concat([...out, ...pieces])).toEqual(Buffer.concat(expected))
    }),
    { seed: 5, numRuns: 100 },
  )
})
