import fc from 'fast-check'
import { expect, test } from 'vitest'
import { KeptBody } from '../src/flow/kept-body.ts'

test('pieces of any sizes stay the same bytes in the same order, in memory of their own or in what was handed over', () => {
  const sizes = fc.array(
    fc.oneof(fc.integer({ min: 1, max: 2_000 }), fc.constantFrom(8_191, 8_192, 16_385, 65_536, 65_537)),
    {
      maxLength: 60,
    },
  )
  fc.assert(
    fc.property(sizes, (given) => {
      const kept = new KeptBody()
      const expected: Buffer[] = []
      for (const [index, size] of given.entries()) {
        const source = Buffer.alloc(size + 2, index)
        // What is not kept where it lies is written over, as the next read does.
        if (!kept.add(source, 1, size + 1)) source.fill(0xff)
        expected.push(Buffer.alloc(size, index))
      }
      expect(Buffer.concat(kept.pieces).equals(Buffer.concat(expected))).toBe(true)
      for (const { buffer, length } of kept.pieces) {
        if (length >= 8_192) expect(buffer.byteLength).toBeLessThanOrEqual(length * 2)
      }
      kept.drop()
      expect(kept.pieces).toEqual([])
    }),
    { numRuns: 60 },
  )
})

test('memory of a body that nobody was handed serves the next one; what was lent never does', () => {
  const run = Buffer.alloc(40_000, 'a')
  const first = new KeptBody()
  expect(first.add(run, 0, run.length)).toBe(false)
  const [piece] = first.pieces as [Buffer]
  first.drop()
  const second = new KeptBody()
  second.add(run, 0, run.length)
  const [lent] = second.pieces as [Buffer]
  expect(lent.buffer).toBe(piece.buffer)
  second.lend()
  second.drop()
  const third = new KeptBody()
  third.add(run, 0, run.length)
  expect((third.pieces[0] as Buffer).buffer).not.toBe(lent.buffer)
  third.drop()
})
