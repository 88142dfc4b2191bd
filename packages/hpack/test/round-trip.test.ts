import fc from 'fast-check'
import { expect, test } from 'vitest'
import { HpackDecoder, HpackEncoder } from '../src/index.ts'
import { lists, octets, sizes } from './arbitraries.ts'

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

test('every octet in any place of a name and a value comes through', () => {
  const all = Array.from({ length: 256 }, (_, octet) => String.fromCharCode(octet))
  const fields = all.flatMap((octet, index) => [`n${octet}`, `${octet}${all[255 - index]}`.repeat(20)])
  const decoder = new HpackDecoder()
  for (const neverIndex of [null, new Set(fields)]) {
    const encoder = new HpackEncoder({ tableBytesMax: 0 })
    const into = Buffer.alloc(encoder.boundOf(fields))
    expect(decoder.decode(into, 0, encoder.encode(fields, into, 0, neverIndex))).toEqual(fields)
  }
})

test('tables grow and shrink as the peer says, and hold what they should', () => {
  const encoder = new HpackEncoder({ tableBytesMax: 65_536 })
  const decoder = new HpackDecoder({ tableBytesMax: 65_536 })
  const words = ['accept', 'trace', 'client', 'region', 'tenant', 'vary', 'edge', 'origin', 'build', 'shard']
  const fields = words.flatMap((word) => words.flatMap((other) => [`${word}-${other}`, other.repeat(3)]))
  const into = Buffer.alloc(65_536)
  const send = (): number => {
    const end = encoder.encode(fields, into, 0)
    expect(decoder.decode(into, 0, end)).toEqual(fields)
    expect(decoder.tableBytes).toBe(encoder.tableBytes)
    return end
  }
  const announce = (bytes: number): void => {
    encoder.setPeerTableBytes(bytes)
    decoder.setTableBytesMax(bytes)
  }
  announce(65_536)
  expect(send()).toBeGreaterThan(1000)
  expect(encoder.tableBytes).toBeGreaterThan(5000)
  // Every field is in the table: one or two bytes each.
  expect(send()).toBeLessThanOrEqual(200)
  announce(1000)
  expect(send()).toBeGreaterThan(1000)
  expect(encoder.tableBytes).toBeLessThanOrEqual(1000)
  announce(65_536)
  send()
  expect(send()).toBeLessThanOrEqual(200)
})

test('literals that come again and again are the same, as names and as values', () => {
  fc.assert(
    fc.property(
      fc.array(octets, { minLength: 1, maxLength: 4 }),
      fc.array(fc.nat({ max: 3 }), { maxLength: 200 }),
      (texts, picks) => {
        const encoder = new HpackEncoder({ tableBytesMax: 0 })
        const decoder = new HpackDecoder()
        const into = Buffer.alloc(65_536)
        for (let index = 1; index < picks.length; index++) {
          const fields = [
            texts[(picks[index - 1] as number) % texts.length],
            texts[(picks[index] as number) % texts.length],
          ] as string[]
          expect(decoder.decode(into, 0, encoder.encode(fields, into, 0))).toEqual(fields)
          expect(decoder.malformed).toBe(!isWellFormed(fields))
        }
      },
    ),
  )
})

/** RFC 9113 §8.2.1, said in another way than in the decoder. */
function isWellFormed(fields: readonly string[]): boolean {
  return fields.every((text, index) =>
    index % 2 === 0
      ? /^:?[a-z0-9!#$%&'*+.^_`|~-]+$/.test(text)
      : /^[\t\x20-\x7e\x80-\xff]*$/.test(text) && !/^[ \t]|[ \t]$/.test(text),
  )
}
