import fc from 'fast-check'
import { expect, test } from 'vitest'
import { HpackDecoder, HpackEncoder } from '../src/index.ts'

const octets = fc.string({ unit: fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)) })
const names = fc.oneof(
  fc.constantFrom(':path', ':status', ':method', 'cookie', 'authorization', 'date', 'x-a', 'x-b', 'server'),
  octets,
)
const values = fc.oneof(
  fc.constantFrom('', '/', '200', 'GET', 'a', 'gzip, deflate'),
  octets,
  fc.string({ unit: fc.constantFrom('a', '~', '\n', 'ÿ'), minLength: 100, maxLength: 3000 }),
)
const lists = fc.array(fc.tuple(names, values), { maxLength: 12 }).map((fields) => fields.flat())
const sizes = fc.oneof(
  fc.constantFrom(0, 31, 32, 33, 64, 4095, 4096, 4097),
  fc.integer({ min: 0, max: 20_000 }),
)

test('what is encoded is decoded the same, over any blocks and sizes, and the tables stay in step', () => {
  fc.assert(
    fc.property(
      fc.option(sizes, { nil: 4096 }),
      fc.array(fc.oneof({ weight: 4, arbitrary: lists }, { weight: 1, arbitrary: sizes }), { maxLength: 24 }),
      (tableBytesMax, steps) => {
        const encoder = new HpackEncoder({ tableBytesMax })
        const decoder = new HpackDecoder()
        for (const step of steps) {
          if (typeof step === 'number') {
            decoder.setTableBytesMax(step)
            encoder.setPeerTableBytes(step)
            continue
          }
          const bound = encoder.boundOf(step)
          const into = Buffer.alloc(bound + 3)
          const end = encoder.encode(step, into, 3)
          expect(end).toBeLessThanOrEqual(into.length)
          expect(decoder.decode(into, 3, end)).toEqual(step)
          expect(decoder.failure).toBeNull()
          expect(decoder.tableBytes).toBe(encoder.tableBytes)
          expect(encoder.tableBytes).toBeLessThanOrEqual(tableBytesMax)
        }
      },
    ),
    { numRuns: 400 },
  )
})
