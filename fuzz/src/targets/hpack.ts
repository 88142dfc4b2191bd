import { HpackDecoder, HpackEncoder } from '@cirque/hpack'
import fc from 'fast-check'
import { holds, same } from '../check.ts'
import { ReferenceHpackDecoder } from '../reference-hpack.ts'
import type { Target } from '../target.ts'

const TABLE_BYTES = 256
const LIST_BYTES_MAX = 400
const FIELDS_MAX = 12

const name = fc.constantFrom(
  ':method',
  ':path',
  'host',
  'cookie',
  'x',
  'authorization',
  'content-length',
  'a-b',
)
const text = fc.oneof(fc.constantFrom('GET', '/', '', 'y', '0'), fc.string({ maxLength: 40 }))
const list = fc.array(fc.tuple(name, text), { maxLength: 6 })

/** Blocks of one connection, each with its length in front, out of the encoder. */
const connection = fc.array(list, { minLength: 1, maxLength: 4 }).map((lists) => {
  const encoder = new HpackEncoder({ tableBytesMax: TABLE_BYTES })
  return Buffer.concat(
    lists.flatMap((fields) => {
      const into = Buffer.alloc(2_000)
      const block = into.subarray(0, encoder.encode(fields.flat(), into, 0)).subarray(0, 255)
      return [Buffer.of(block.length), block]
    }),
  )
})

function blocksOf(input: Buffer): Buffer[] {
  const blocks: Buffer[] = []
  for (let at = 0; at < input.length; ) {
    const end = at + 1 + (input[at] as number)
    blocks.push(input.subarray(at + 1, end))
    at = end
  }
  return blocks
}

function sizeOf(fields: readonly string[]): number {
  return fields.reduce((sum, part) => sum + part.length, 16 * fields.length)
}

/** Blocks of one HTTP/2 connection: as a plain decoder reads them, within the bounds, and encoded again. */
export const target: Target = {
  name: 'hpack',
  seeds: [
    Buffer.from('0482864184', 'hex'),
    Buffer.from('1482868441 8cf1e3c2e5f23a6ba0ab90f4ff05828684be58'.replaceAll(' ', ''), 'hex'),
    Buffer.from('063fe101828684', 'hex'),
    Buffer.from('0a400a637573746f6d2d6b65', 'hex'),
  ],
  words: [
    '\x40',
    '\x3f\xe1\x01',
    '\x20',
    '\x82',
    '\xbe',
    '\xbf',
    '\xff\x80\x01',
    '\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff',
    '\x10',
  ],
  bytesMax: 1_024,
  inputs: connection,
  run(input) {
    const decoder = new HpackDecoder({
      tableBytesMax: TABLE_BYTES,
      listBytesMax: LIST_BYTES_MAX,
      fieldsMax: FIELDS_MAX,
    })
    const reference = new ReferenceHpackDecoder(TABLE_BYTES)
    const encoder = new HpackEncoder({ tableBytesMax: TABLE_BYTES })
    const own = new HpackDecoder({ tableBytesMax: TABLE_BYTES, listBytesMax: 1_048_576, fieldsMax: 4_096 })
    for (const block of blocksOf(input)) {
      const fields = decoder.decode(block, 0, block.length)
      const expected = reference.decode(block)
      holds('the table keeps its bound', decoder.tableBytes <= TABLE_BYTES)
      if (expected === undefined) {
        same(
          'what breaks the rules ends the connection',
          [fields, decoder.failure],
          [null, 'COMPRESSION_ERROR'],
        )
        same('and it stays ended', decoder.decode(Buffer.of(0x82), 0, 1), null)
        return
      }
      const isTooLarge = sizeOf(expected) > LIST_BYTES_MAX || expected.length > 2 * FIELDS_MAX
      if (isTooLarge)
        same('a list that is too large is refused', [fields, decoder.failure], [null, 'LIST_TOO_LARGE'])
      else same('the fields are those of a plain decoder', fields, expected)
      const into = Buffer.alloc(encoder.boundOf(expected))
      const end = encoder.encode(expected, into, 0, decoder.neverIndexed)
      holds('the bound is enough', end >= 0)
      same('what is encoded again decodes to the same', own.decode(into, 0, end), expected)
    }
  },
}
