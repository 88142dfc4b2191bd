import { describe, expect, test } from 'vitest'
import { HpackDecoder, HpackEncoder } from '../src/index.ts'

function encode(encoder: HpackEncoder, fields: readonly string[], neverIndex?: ReadonlySet<string>): string {
  const into = Buffer.alloc(encoder.boundOf(fields))
  return into.subarray(0, encoder.encode(fields, into, 0, neverIndex)).toString('hex')
}

describe('what is indexed', () => {
  test('a field that comes again takes a byte', () => {
    const encoder = new HpackEncoder()
    const fields = [':status', '200', 'server', 'cirque', 'x-region', 'eu-1', 'content-type', 'text/html']
    expect(encode(encoder, fields).length).toBeGreaterThan(40)
    for (let round = 0; round < 3; round++) expect(encode(encoder, fields)).toBe('88c0bfbe')
  })

  test('a table that changes between does not mislead what is remembered by place', () => {
    const encoder = new HpackEncoder({ tableBytesMax: 120 })
    const decoder = new HpackDecoder()
    for (let round = 0; round < 50; round++) {
      const fields = [
        'x-a',
        `${round % 3}`,
        'x-b',
        `${round % 2}`,
        'x-c',
        'c',
        ':method',
        round % 5 === 0 ? 'GET' : 'PUT',
      ]
      const block = Buffer.from(encode(encoder, fields), 'hex')
      expect(decoder.decode(block, 0, block.length)).toEqual(fields)
    }
  })

  test.each([':path', 'content-length', 'etag', 'location', 'last-modified', 'cookie', 'set-cookie'])(
    '%s is not, as its values change or are secret',
    (name) => {
      const encoder = new HpackEncoder()
      encode(encoder, [name, 'a value of more than twenty octets'])
      expect(encoder.tableBytes).toBe(0)
    },
  )

  test('a value that changes with each message stops to push others out', () => {
    const encoder = new HpackEncoder()
    for (let serial = 0; serial < 200; serial++) encode(encoder, ['x-request-id', `${serial}`])
    // Four in a row, and every sixteenth after that.
    expect(encoder.tableBytes).toBeLessThanOrEqual(17 * ('x-request-id'.length + 3 + 32))
    expect(encoder.tableBytes).toBeGreaterThan(0)
  })

  test('a value that changes now and then is', () => {
    const encoder = new HpackEncoder()
    for (let second = 0; second < 100; second++) {
      const first = encode(encoder, ['date', `at ${second}`])
      expect(first.slice(0, 2)).toBe('61')
      for (let request = 0; request < 3; request++)
        expect(encode(encoder, ['date', `at ${second}`])).toBe('be')
    }
  })

  test('a field that would take most of the table is not', () => {
    const encoder = new HpackEncoder()
    encode(encoder, ['x-policy', 'p'.repeat(3100)])
    expect(encoder.tableBytes).toBe(0)
  })
})

describe('RFC 7541 §7.1.3: never indexed', () => {
  test.each([
    ['authorization', 'Bearer of a token that is long enough', '1f08'],
    ['proxy-authorization', 'Basic YTpi', '1f22'],
    ['cookie', 'short=1', '1f11'],
    ['set-cookie', 'short=1', '1f28'],
  ])('%s: %s', (name, value, start) => {
    const encoder = new HpackEncoder()
    for (let round = 0; round < 2; round++)
      expect(encode(encoder, [name, value])).toMatch(new RegExp(`^${start}`))
    expect(encoder.tableBytes).toBe(0)
  })

  test('what the caller names, even if it is in a table', () => {
    const encoder = new HpackEncoder()
    expect(encode(encoder, ['x-key', 'a', ':method', 'GET'])).toMatch(/^40.*82$/)
    expect(encode(encoder, ['x-key', 'a', ':method', 'GET'])).toBe('be82')
    expect(encode(encoder, ['x-key', 'a', ':method', 'GET'], new Set(['x-key', ':method']))).toBe(
      '1005782d6b657901611203474554',
    )
    expect(encode(encoder, ['x-key', 'a', ':method', 'GET'])).toBe('be82')
  })

  test('a decoder hands on which', () => {
    const decoder = new HpackDecoder()
    const block = Buffer.from(encode(new HpackEncoder(), ['x-key', 'a'], new Set(['x-key'])), 'hex')
    const fields = decoder.decode(block, 0, block.length) as string[]
    expect(encode(new HpackEncoder(), fields, decoder.neverIndexed as ReadonlySet<string>)).toBe(
      block.toString('hex'),
    )
  })
})

describe('room', () => {
  test('without it nothing changes', () => {
    const fields = ['x-a', 'ÿ'.repeat(100), 'x-b', '']
    const encoder = new HpackEncoder({ tableBytesMax: 1000 })
    const bound = encoder.boundOf(fields)
    expect(encoder.encode(fields, Buffer.alloc(bound - 1), 0)).toBe(-1)
    expect(encoder.encode(fields, Buffer.alloc(bound), 1)).toBe(-1)
    expect(encoder.tableBytes).toBe(0)
    const into = Buffer.alloc(bound + 1)
    const end = encoder.encode(fields, into, 1)
    expect(new HpackDecoder().decode(into, 1, end)).toEqual(fields)
  })

  test('is enough at the worst: long codes, names without an index, two size updates', () => {
    for (const octet of ['\0', '\n', 'ÿ', 'a', '~']) {
      for (const length of [0, 1, 16, 17, 126, 127, 128, 300, 20_000, octet === 'ÿ' ? 2_100_000 : 2000]) {
        const encoder = new HpackEncoder({ tableBytesMax: 2 ** 28 - 1 })
        encoder.setPeerTableBytes(0)
        encoder.setPeerTableBytes(2 ** 32 - 1)
        const fields = [octet.repeat(length), octet.repeat(length)]
        const into = Buffer.alloc(encoder.boundOf(fields) + 1, 0xee)
        const end = encoder.encode(fields, into, 0)
        expect(end).toBeLessThan(into.length)
        expect(into.at(-1)).toBe(0xee)
        const decoder = new HpackDecoder({ tableBytesMax: 2 ** 28 - 1, listBytesMax: 2 ** 28 - 1 })
        expect(decoder.decode(into, 0, end)?.every((text, index) => text === fields[index])).toBe(true)
      }
    }
  })
})

describe('mistakes of the caller', () => {
  test.each(['Ā', '\u{1f600}', `${'a'.repeat(40)}€`, '€'])('a character above U+00FF in %j', (text) => {
    for (const fields of [
      ['x-ok', 'fine', 'x-bad', text],
      ['x-ok', 'fine', ':path', text],
      ['x-ok', 'fine', text, 'a'],
      ['x-ok', 'fine', 'authorization', text],
    ]) {
      const encoder = new HpackEncoder()
      const decoder = new HpackDecoder()
      const into = Buffer.alloc(1000)
      expect(() => encoder.encode(fields, into, 0)).toThrow(TypeError)
      // What was added and never sent is forgotten on both sides.
      for (let round = 0; round < 2; round++) {
        const end = encoder.encode(['x-ok', 'fine'], into, 0)
        expect(decoder.decode(into, 0, end)).toEqual(['x-ok', 'fine'])
        expect(decoder.tableBytes).toBe(encoder.tableBytes)
      }
    }
  })

  test('such a character where a size was told with it: it is told again', () => {
    const encoder = new HpackEncoder()
    encoder.setPeerTableBytes(0)
    expect(() => encoder.encode(['x-bad', '€'], Buffer.alloc(100), 0)).toThrow(TypeError)
    expect(encode(encoder, [])).toBe('20')
  })

  test('a name without a value, what is no string, a place that is none', () => {
    const into = Buffer.alloc(100)
    expect(() => new HpackEncoder().encode(['a'], into, 0)).toThrow(TypeError)
    expect(() => new HpackEncoder().encode(['a', 7 as never], into, 0)).toThrow(TypeError)
    expect(() => new HpackEncoder().encode(['a', undefined as never], into, 0)).toThrow(TypeError)
    expect(() => new HpackEncoder().encode(['a', 'b'], into, -1)).toThrow(RangeError)
    expect(() => new HpackEncoder().encode(['a', 'b'], into, Number.NaN)).toThrow(RangeError)
  })

  test.each([-1, 0.5, 2 ** 32, Number.NaN])('a table size of %s', (bytes) => {
    expect(() => new HpackEncoder().setPeerTableBytes(bytes)).toThrow(RangeError)
  })
})

test('RFC 7541 §4.2: the least size and the last are told, and nothing where nothing changes', () => {
  const encoder = new HpackEncoder()
  expect(encode(encoder, [])).toBe('')
  encoder.setPeerTableBytes(65_536)
  expect(encode(encoder, [])).toBe('')
  encoder.setPeerTableBytes(100)
  encoder.setPeerTableBytes(10)
  encoder.setPeerTableBytes(65_536)
  expect(encode(encoder, [])).toBe('2a3fe11f')
  encoder.setPeerTableBytes(0)
  expect(encode(encoder, ['x-a', 'b'])).toBe('200003782d610162')
  expect(encode(encoder, [])).toBe('')
})
