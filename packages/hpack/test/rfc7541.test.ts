import { describe, expect, test } from 'vitest'
import { codes } from '../src/huffman-code.ts'
import { HpackDecoder, HpackEncoder } from '../src/index.ts'
import { huffmanCodes } from './rfc7541-codes.ts'
import { vectors } from './rfc7541-vectors.ts'

describe.each(vectors)('RFC 7541 $title', ({ tableBytesMax, blocks }) => {
  test('is decoded as it says, and the table holds what it says', () => {
    const decoder = new HpackDecoder({ tableBytesMax })
    for (const { hex, fields, table, tableBytes } of blocks) {
      const block = Buffer.from(hex, 'hex')
      expect(decoder.decode(block, 0, block.length)).toEqual(fields)
      expect(decoder.tableBytes).toBe(tableBytes)
      const indices = Buffer.from(Array.from({ length: table.length / 2 }, (_, age) => 0x80 | (62 + age)))
      expect(decoder.decode(indices, 0, indices.length)).toEqual(table)
    }
    const past = Buffer.from([0x80 | (62 + (blocks.at(-1)?.table.length ?? 0) / 2)])
    expect(decoder.decode(past, 0, 1)).toBeNull()
    expect(decoder.failure).toBe('COMPRESSION_ERROR')
  })
})

test('RFC 7541 §C.4: the encoder writes these very bytes', () => {
  const encoder = new HpackEncoder()
  for (const { hex, fields } of vectors.find(({ title }) => title.startsWith('C.4'))?.blocks ?? []) {
    const into = Buffer.alloc(encoder.boundOf(fields))
    expect(into.subarray(0, encoder.encode(fields, into, 0)).toString('hex')).toBe(hex)
  }
})

test('RFC 7541 §C.1: integers of one byte and of several', () => {
  // 10 and 1337 in a prefix of five bits, as sizes of the table; 42 in a whole byte is no prefix of HPACK.
  for (const [hex, bytes] of [
    ['2a', 10],
    ['3f9a0a', 1337],
  ] as const) {
    const encoder = new HpackEncoder({ tableBytesMax: bytes })
    const into = Buffer.alloc(encoder.boundOf([]))
    expect(into.subarray(0, encoder.encode([], into, 0)).toString('hex')).toBe(hex)
    expect(
      new HpackDecoder({ tableBytesMax: bytes }).decode(Buffer.from(hex, 'hex'), 0, hex.length / 2),
    ).toEqual([])
    const less = new HpackDecoder({ tableBytesMax: bytes - 1 })
    expect(less.decode(Buffer.from(hex, 'hex'), 0, hex.length / 2)).toBeNull()
  }
})

test('RFC 7541 §B: the Huffman code is the one it prints', () => {
  expect([...codes]).toEqual(huffmanCodes)
})
