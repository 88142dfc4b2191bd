import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { HpackDecoder, type HpackDecoderOptions, HpackEncoder } from '../src/index.ts'
import { lists } from './arbitraries.ts'
import { ReferenceDecoder } from './reference.ts'

function decode(hex: string, decoder: HpackDecoder = new HpackDecoder()): string[] | null {
  const block = Buffer.from(hex.replaceAll(' ', ''), 'hex')
  return decoder.decode(block, 0, block.length)
}

describe('RFC 7541: a decoding error ends the connection', () => {
  test.each([
    ['§6.1: index 0', '80'],
    ['§2.3.3: an index past the dynamic table', 'be'],
    ['§2.3.3: a name past the dynamic table', '7e 01 61'],
    ['§2.3.3: a name past the dynamic table, not indexed', '0f 2f 01 61'],
    ['§5.1: an integer without end', 'ff'],
    ['§5.1: an integer of too many bytes', 'ff 80 80 80 80 00'],
    ['§5.1: an integer above all bounds', 'ff ff ff ff ff 7f'],
    ['§5.2: a literal without its length', '40'],
    ['§5.2: a name without a value', '40 01 61'],
    ['§5.2: a name longer than the block', '40 02 61'],
    ['§5.2: a value longer than the block', '40 01 61 02 61'],
    ['§5.2: a length far beyond the block', '40 7f ff ff ff 7f 61'],
    ['§5.2: a value of the Huffman code cut off', '40 01 61 82 1c'],
    ['§5.2: padding of eight bits', '40 01 61 81 ff'],
    ['§5.2: padding of zeros', '40 01 61 81 18'],
    ['§5.2: padding that is not all ones', '40 01 61 81 1d'],
    ['§5.2: EOS', '40 01 61 84 ff ff ff ff'],
    ['§5.2: EOS after a character', '40 01 61 85 1f ff ff ff ff'],
    ['§4.2: a size update after a field', '82 20'],
    ['§4.2: three size updates', '20 20 20'],
    ['§6.3: a size above what was announced', '3f e2 1f'],
    ['§6.3: a size without end', '3f'],
  ])('%s', (_rule, hex) => {
    const decoder = new HpackDecoder()
    expect(decode(hex, decoder)).toBeNull()
    expect(decoder.failure).toBe('COMPRESSION_ERROR')
    // Out of step for good: not even what is right is decoded any more.
    expect(decode('82', decoder)).toBeNull()
    expect(decoder.failure).toBe('COMPRESSION_ERROR')
  })

  test('what is just right is decoded', () => {
    expect(decode('20 3f e1 1f 82')).toEqual([':method', 'GET'])
    expect(decode('ff 00', seeded())).toBeNull()
    expect(decode('be', seeded())).toEqual(['a', 'b'])
    expect(decode('40 01 61 81 1f')).toEqual(['a', 'a'])
    expect(decode('40 80 80')).toEqual(['', ''])
    expect(decode('')).toEqual([])
    expect(decode('3f e1 9f 80 00')).toEqual([])
  })
})

function seeded(options: HpackDecoderOptions = {}): HpackDecoder {
  const decoder = new HpackDecoder(options)
  expect(decode('40 01 61 01 62', decoder)).toEqual(['a', 'b'])
  return decoder
}

describe('RFC 9113 §4.3.1: a smaller table that the peer has acknowledged', () => {
  test('is in the next block, or the connection ends', () => {
    const silent = seeded()
    silent.setTableBytesMax(100)
    expect(decode('82', silent)).toBeNull()
    expect(silent.failure).toBe('COMPRESSION_ERROR')

    const tooLarge = seeded()
    tooLarge.setTableBytesMax(100)
    tooLarge.setTableBytesMax(4096)
    expect(decode('3f 46', tooLarge)).toBeNull()

    const right = seeded()
    right.setTableBytesMax(100)
    right.setTableBytesMax(4096)
    expect(decode('3f 45 3f e1 1f be', right)).toEqual(['a', 'b'])
    expect(decode('be', right)).toEqual(['a', 'b'])
  })

  test('evicts what does not fit', () => {
    const decoder = seeded()
    expect(decoder.tableBytes).toBe(34)
    decoder.setTableBytesMax(33)
    expect(decode('3f 02', decoder)).toEqual([])
    expect(decoder.tableBytes).toBe(0)
    expect(decode('be', decoder)).toBeNull()
  })

  test('is not needed where the peer uses no more', () => {
    const decoder = seeded({ tableBytesMax: 65_536 })
    decoder.setTableBytesMax(4096)
    expect(decode('be', decoder)).toEqual(['a', 'b'])
  })
})

describe('a list that is too large', () => {
  /** An entry of 4000 octets, and then as many references to it as there is room for in 16 KiB. */
  const value = 'v'.repeat(3966)
  const bomb = Buffer.concat([
    Buffer.from([0x40, 1, 0x61, 0x7f, 0xff, 0x1d]),
    Buffer.from(value),
    Buffer.alloc(16_384, 0xbe),
  ])

  test('ends the stream and not the connection', () => {
    const decoder = new HpackDecoder({ fieldsMax: 100_000 })
    expect(decoder.decode(bomb, 0, bomb.length)).toBeNull()
    expect(decoder.failure).toBe('LIST_TOO_LARGE')
    expect(decode('be', decoder)).toEqual(['a', value])
    expect(decoder.failure).toBeNull()
  })

  test('is refused at one byte more than allowed, by the count of RFC 9113 §6.5.2', () => {
    for (const hex of ['40 01 61 01 62', '00 01 61 01 62', '10 01 61 01 62', '00 81 1f 81 1f']) {
      expect(decode(hex, new HpackDecoder({ listBytesMax: 34 }))).not.toBeNull()
      const decoder = new HpackDecoder({ listBytesMax: 33 })
      expect(decode(hex, decoder)).toBeNull()
      expect(decoder.failure).toBe('LIST_TOO_LARGE')
      expect(decoder.neverIndexed).toBeNull()
    }
    expect(decode('82', new HpackDecoder({ listBytesMax: 42 }))).toEqual([':method', 'GET'])
    expect(decode('82', new HpackDecoder({ listBytesMax: 41 }))).toBeNull()
    expect(decode('82 82', new HpackDecoder({ listBytesMax: 84 }))).toHaveLength(4)
    expect(decode('82 82', new HpackDecoder({ listBytesMax: 83 }))).toBeNull()
    expect(decode('be', seeded({ listBytesMax: 34 }))).toEqual(['a', 'b'])
    expect(decode('be be', seeded({ listBytesMax: 67 }))).toBeNull()
  })

  test('is refused at one field more than allowed', () => {
    expect(decode('82 82', new HpackDecoder({ fieldsMax: 2 }))).toHaveLength(4)
    const decoder = new HpackDecoder({ fieldsMax: 2 })
    expect(decode('82 82 82', decoder)).toBeNull()
    expect(decoder.failure).toBe('LIST_TOO_LARGE')
    expect(decode('82 82', decoder)).toHaveLength(4)
    expect(decode('', new HpackDecoder({ fieldsMax: 0 }))).toEqual([])
    expect(decode('82', new HpackDecoder({ fieldsMax: 0 }))).toBeNull()
  })

  test('still goes into the table', () => {
    const decoder = new HpackDecoder({ fieldsMax: 1 })
    expect(decode('82 40 01 61 01 62 00 01 63 01 64', decoder)).toBeNull()
    expect(decode('be', decoder)).toEqual(['a', 'b'])
    const narrow = new HpackDecoder({ listBytesMax: 0 })
    expect(decode('40 01 61 01 62', narrow)).toBeNull()
    expect(narrow.tableBytes).toBe(34)
  })

  test('is still checked to its end', () => {
    for (const hex of ['82 80', '82 40 01 61 81 ff', '82 00 01 61 81 ff', '82 00 01 61 02 61', '82 20']) {
      const decoder = new HpackDecoder({ fieldsMax: 0 })
      expect(decode(hex, decoder)).toBeNull()
      expect(decoder.failure).toBe('COMPRESSION_ERROR')
    }
  })

  test('leaves an entry larger than the table out of it, and empties it (RFC 7541 §4.4)', () => {
    const huge = `40 01 61 7f 89 26 ${'62'.repeat(5000)}`
    for (const options of [{}, { listBytesMax: 0 }]) {
      const decoder = new HpackDecoder(options)
      decode('40 01 61 01 62', decoder)
      decode(huge, decoder)
      expect(decoder.failure).not.toBe('COMPRESSION_ERROR')
      expect(decoder.tableBytes).toBe(0)
    }
  })
})

test('says which names must never be indexed again (RFC 7541 §6.2.3)', () => {
  const decoder = new HpackDecoder()
  expect(decode('10 01 61 01 62 1f 08 01 62 00 01 63 01 64 82', decoder)).toHaveLength(8)
  expect([...(decoder.neverIndexed ?? [])]).toEqual(['a', 'authorization'])
  expect(decode('82', decoder)).not.toBeNull()
  expect(decoder.neverIndexed).toBeNull()
})

describe('RFC 9113 §8.2.1: malformed', () => {
  test.each([
    ['a', 'b', false],
    [':status', '200', false],
    ['a', '', false],
    ['a', 'b\tc d\xff~', false],
    ['A', 'b', true],
    ['', 'b', true],
    [':', 'b', true],
    ['::a', 'b', true],
    ['a:b', 'b', true],
    ['a b', 'b', true],
    ['a\xff', 'b', true],
    ['a', ' b', true],
    ['a', 'b ', true],
    ['a', '\tb', true],
    ['a', 'b\t', true],
    ['a', 'b\0c', true],
    ['a', 'b\r\nc: d', true],
    ['a', '\x7f', true],
    ['a', '\x1f', true],
  ])('%j: %j', (name, value, malformed) => {
    for (const neverIndex of [null, new Set([name])]) {
      const encoder = new HpackEncoder()
      const decoder = new HpackDecoder()
      const into = Buffer.alloc(200)
      // First as a literal, then from a table or a cache.
      for (let round = 0; round < 4; round++) {
        expect(decoder.decode(into, 0, encoder.encode([name, value], into, 0, neverIndex))).toEqual([
          name,
          value,
        ])
        expect(decoder.malformed).toBe(malformed)
        expect(decoder.decode(into, 0, encoder.encode([':status', '200'], into, 0))).toHaveLength(2)
        expect(decoder.malformed).toBe(false)
      }
    }
  })

  test('a name from the table brings no flaw of the value that was with it', () => {
    const decoder = new HpackDecoder()
    decode('40 01 61 01 00', decoder)
    expect(decoder.malformed).toBe(true)
    expect(decode('7e 01 62', decoder)).toEqual(['a', 'b'])
    expect(decoder.malformed).toBe(false)
    decode('40 01 41 01 62', decoder)
    expect(decode('0f 2f 01 63', decoder)).toEqual(['A', 'c'])
    expect(decoder.malformed).toBe(true)
  })
})

describe('any block at all', () => {
  /** The blocks of a connection, with one octet changed, put in or taken out, or cut. */
  const mutations = fc.record({
    lists: fc.array(lists, { minLength: 1, maxLength: 6 }),
    at: fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
    octet: fc.integer({ min: 0, max: 255 }),
    kind: fc.constantFrom('change', 'insert', 'remove', 'cut', 'none'),
  })
  const bounds = fc.record({
    tableBytesMax: fc.constantFrom(0, 64, 200, 4096),
    listBytesMax: fc.constantFrom(0, 100, 1000, 65_536),
    fieldsMax: fc.constantFrom(0, 1, 4, 256),
  })

  test('is decoded as a decoder that was read off the RFC does, within the bounds, and never throws', () => {
    fc.assert(
      fc.property(mutations, bounds, ({ lists: fieldLists, at, octet, kind }, options) => {
        const encoder = new HpackEncoder({ tableBytesMax: options.tableBytesMax })
        const blocks = fieldLists.map((fields): Buffer => {
          const into = Buffer.alloc(encoder.boundOf(fields))
          return into.subarray(0, encoder.encode(fields, into, 0))
        })
        const victim = Math.floor(at * blocks.length)
        const block = blocks[victim] as Buffer
        blocks[victim] = mutate(block, Math.floor(((at * 7919) % 1) * block.length), octet, kind)
        compare(blocks, options)
      }),
      { numRuns: 1000 },
    )
  })

  test('is compared with it also if it is only noise', () => {
    const noise = fc.uint8Array({ maxLength: 40 }).map((octets) => Buffer.from(octets))
    fc.assert(
      fc.property(fc.array(noise, { maxLength: 8 }), bounds, (blocks, options) => compare(blocks, options)),
      { numRuns: 3000 },
    )
  })

  function mutate(block: Buffer, at: number, octet: number, kind: string): Buffer {
    const [before, after] = [block.subarray(0, at), block.subarray(at + (kind === 'insert' ? 0 : 1))]
    if (kind === 'none') return block
    if (kind === 'cut') return before
    return Buffer.concat(kind === 'remove' ? [before, after] : [before, Buffer.from([octet]), after])
  }

  function compare(blocks: readonly Buffer[], options: Required<HpackDecoderOptions>): void {
    const decoder = new HpackDecoder(options)
    const reference = new ReferenceDecoder(options.tableBytesMax)
    for (const block of blocks) {
      const list = decoder.decode(block, 0, block.length)
      const expected = reference.decode(block)
      if (expected === null) {
        expect(list).toBeNull()
        expect(decoder.failure).toBe('COMPRESSION_ERROR')
        return
      }
      const bytes = expected.reduce((sum, text) => sum + text.length + 16, 0)
      if (bytes > options.listBytesMax || expected.length > options.fieldsMax * 2) {
        expect(list).toBeNull()
        expect(decoder.failure).toBe('LIST_TOO_LARGE')
      } else {
        expect(list).toEqual(expected)
        expect(decoder.failure).toBeNull()
      }
      expect(decoder.tableBytes).toBe(reference.tableBytes)
      expect(decoder.tableBytes).toBeLessThanOrEqual(options.tableBytesMax)
    }
  }
})

test('refuses a block that does not lie in the buffer', () => {
  const decoder = new HpackDecoder()
  for (const [start, end] of [
    [0, 3],
    [-1, 1],
    [2, 1],
    [Number.NaN, 1],
    [0, Number.NaN],
  ] as const) {
    expect(() => decoder.decode(Buffer.from([0x82, 0x82]), start, end)).toThrow(RangeError)
  }
  expect(decoder.decode(Buffer.from([0x82, 0x82]), 1, 2)).toEqual([':method', 'GET'])
})

test.each([-1, 1.5, Number.NaN, 2 ** 28, '1' as never])('refuses %s as a bound', (value) => {
  for (const name of ['tableBytesMax', 'listBytesMax', 'fieldsMax']) {
    expect(() => new HpackDecoder({ [name]: value })).toThrow(RangeError)
  }
  expect(() => new HpackDecoder().setTableBytesMax(value)).toThrow(RangeError)
  expect(() => new HpackEncoder({ tableBytesMax: value })).toThrow(RangeError)
})
