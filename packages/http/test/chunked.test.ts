import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  ChunkedDecoder,
  type ChunkedDecoderOptions,
  encodeChunkHead,
  HEAD_FAILED,
  NEED_MORE,
} from '../src/index.ts'

interface Outcome {
  readonly after: number
  readonly payload: string
  readonly trailers: string[] | null
  readonly code: string | null
}

function decode(raw: string, options: ChunkedDecoderOptions = {}, cuts: readonly number[] = []): Outcome {
  const decoder = new ChunkedDecoder(options)
  const bytes = Buffer.from(raw, 'latin1')
  let payload = ''
  const sink = {
    onChunkData(chunk: Buffer, start: number, end: number): void {
      payload += chunk.toString('latin1', start, end)
    },
  }
  let start = 0
  let after = NEED_MORE
  for (const cut of [...cuts, bytes.length]) {
    after = decoder.execute(bytes, start, cut, sink)
    if (after !== NEED_MORE) break
    start = cut
  }
  expect(decoder.done).toBe(after >= 0)
  expect(decoder.bytesDecoded).toBe(payload.length)
  if (after === HEAD_FAILED) expect(decoder.execute(bytes, 0, 1, sink)).toBe(HEAD_FAILED)
  return { after, payload, trailers: decoder.trailers, code: decoder.failure?.code ?? null }
}

/** One outcome for the bytes whole, cut in two anywhere, and one by one. */
function decodeAllWays(raw: string, options: ChunkedDecoderOptions = {}): Outcome {
  const whole = decode(raw, options)
  for (let cut = 1; cut < raw.length; cut++)
    expect(decode(raw, options, [cut]), `cut at ${cut}`).toEqual(whole)
  const everywhere = Array.from({ length: Math.max(0, raw.length - 1) }, (_, index) => index + 1)
  expect(decode(raw, options, everywhere), 'byte by byte').toEqual(whole)
  return whole
}

const NEXT = 'GET / HTTP/1.1\r\n'

describe('accepted bodies', () => {
  test.each([
    ['nothing', '0\r\n\r\n', '', null],
    ['one chunk', '5\r\nhello\r\n0\r\n\r\n', 'hello', null],
    ['two chunks', '1\r\na\r\n2\r\nbc\r\n0\r\n\r\n', 'abc', null],
    [
      'sizes in both cases',
      'A\r\n0123456789\r\nb\r\n0123456789a\r\n0\r\n\r\n',
      '01234567890123456789a',
      null,
    ],
    ['leading zeros', '0005\r\nhello\r\n0000\r\n\r\n', 'hello', null],
    ['16 digits', '0000000000000005\r\nhello\r\n0000000000000000\r\n\r\n', 'hello', null],
    ['payload that looks like framing', '7\r\n0\r\n\r\nGE\r\n0\r\n\r\n', '0\r\n\r\nGE', null],
    ['extension', '5;a=b;c\r\nhello\r\n0;last\r\n\r\n', 'hello', null],
    ['extensions of every form', '5;a;b=c;d="";e="f;g"\r\nhello\r\n0;h="\\"\t"\r\n\r\n', 'hello', null],
    ['quoted extension', '5;a="b; \\"c\xe4"\r\nhello\r\n0\r\n\r\n', 'hello', null],
    ['trailers', '0\r\nX: y\r\nETag:"a"\r\n\r\n', '', ['X', 'y', 'ETag', '"a"']],
    ['trailer with blanks around', '1\r\na\r\n0\r\nX: \ty \r\n\r\n', 'a', ['X', 'y']],
  ])('%s', (_name, raw, payload, trailers) => {
    expect(decodeAllWays(raw)).toEqual({ after: raw.length, payload, trailers, code: null })
    expect(decodeAllWays(raw + NEXT)).toEqual({ after: raw.length, payload, trailers, code: null })
  })
})

describe('refused bodies, in both profiles', () => {
  test.each([
    ['no size', '\r\nhello\r\n'],
    ['sign', '+5\r\nhello\r\n0\r\n\r\n'],
    ['minus', '-1\r\n'],
    ['hexadecimal prefix', '0x5\r\nhello\r\n0\r\n\r\n'],
    ['space before the size', ' 5\r\nhello\r\n'],
    ['space after the size', '5 \r\nhello\r\n'],
    ['space before an extension', '5 ;a\r\nhello\r\n'],
    ['tab after the size', '5\t\r\nhello\r\n'],
    ['underscore', '1_0\r\nhello\r\n'],
    ['letter', 'g\r\n'],
    ['decimal point', '5.0\r\n'],
    ['above 2^53 - 1', '20000000000000\r\n'],
    ['17 digits', '00000000000000005\r\nhello\r\n'],
    ['64 bits and more', 'FFFFFFFFFFFFFFFF\r\n'],
    ['wraps 64 bits', '10000000000000005\r\nhello\r\n'],
    ['bare LF after the size', '5\nhello\r\n0\r\n\r\n'],
    ['bare CR after the size', '5\rhello\r\n0\r\n\r\n'],
    ['bare LF after an extension', '5;a\nhello\r\n0\r\n\r\n'],
    ['bare CR in an extension', '5;a\rb\r\nhello\r\n0\r\n\r\n'],
    ['NUL in an extension', '5;a\0\r\nhello\r\n'],
    ['bare LF after the payload', '5\r\nhello\n0\r\n\r\n'],
    ['no line end after the payload', '5\r\nhello0\r\n\r\n'],
    ['payload longer than its size', '5\r\nhello!\r\n0\r\n\r\n'],
    ['bare CR after the payload', '5\r\nhello\r0\r\n\r\n'],
    ['CR and something after the last size', '0\r\n\rX'],
  ])('%s', (_name, raw) => {
    for (const profile of ['strict', 'lenient'] as const) {
      const { after, code } = decodeAllWays(raw + NEXT, { profile })
      expect(after).toBe(HEAD_FAILED)
      expect(code).not.toBeNull()
    }
  })

  test.each([
    '5;',
    '5;;a',
    '5;a;',
    '5; a',
    '5;a ',
    '5;a=',
    '5;=b',
    '5;a=b=c',
    '5;a="b',
    '5;a="b"c',
    '5;a="b"=c',
    '5;a=b"c"',
    '5;a="b\\',
    '5;(a)',
    '5;\xe4',
  ])('RFC 9112 §7.1.1: a malformed extension, which lenient drops: %s', (line) => {
    const raw = `${line}\r\nhello\r\n0\r\n\r\n`
    expect(decodeAllWays(raw)).toMatchObject({ after: HEAD_FAILED, code: 'INVALID_CHUNK' })
    expect(decodeAllWays(raw, { profile: 'lenient' })).toMatchObject({ after: raw.length, payload: 'hello' })
  })

  test.each([
    ['0\r\n\n', 'BARE_LF'],
    ['0\r\nX: y\n\r\n', 'BARE_LF'],
    ['0\r\nX: y\rZ: w\r\n\r\n', 'BARE_CR'],
    ['0\r\n: y\r\n\r\n', 'INVALID_FIELD_NAME'],
    ['0\r\nX : y\r\n\r\n', 'SPACE_BEFORE_COLON'],
    ['0\r\nX: y\r\n z\r\n\r\n', 'OBSOLETE_FOLD'],
    ['0\r\n X: y\r\n\r\n', 'LEADING_SPACE'],
    ['0\r\nX: \0\r\n\r\n', 'INVALID_FIELD_VALUE'],
    ['0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n', 'INVALID_FIELD_NAME'],
  ])('trailer section %j: %s', (raw, code) => {
    expect(decodeAllWays(raw)).toMatchObject({ after: HEAD_FAILED, code })
  })
})

describe('trailers that may not be', () => {
  test.each([
    'Content-Length: 5',
    'transfer-encoding: chunked',
    'Host: b',
    'Connection: close',
    'Trailer: X',
    'TE: trailers',
    'Upgrade: h2c',
    'Authorization: Basic eA==',
    'Content-Encoding: gzip',
    'Content-Type: text/html',
    'Content-Range: bytes 0-1/2',
    'Cache-Control: no-store',
    'Set-Cookie: a=b',
    'Cookie: a=b',
    'X-Forwarded-For: 192.0.2.1',
    'Expect: 100-continue',
  ])('RFC 9110 §6.5.1: %s is refused in strict and dropped in lenient', (line) => {
    const raw = `3\r\nabc\r\n0\r\nX: y\r\n${line}\r\n\r\n`
    expect(decodeAllWays(raw)).toMatchObject({
      after: HEAD_FAILED,
      code: 'FORBIDDEN_TRAILER',
      trailers: null,
    })
    expect(decodeAllWays(raw, { profile: 'lenient' })).toMatchObject({
      after: raw.length,
      trailers: ['X', 'y'],
    })
  })
})

describe('limits, at n - 1, n and n + 1', () => {
  test('chunkLineBytesMax', () => {
    const line = (size: number): string => `3;${'a'.repeat(size - 4)}\r\nabc\r\n0\r\n\r\n`
    for (const size of [19, 20]) {
      expect(decodeAllWays(line(size), { chunkLineBytesMax: 20 }).after).toBe(line(size).length)
    }
    expect(decodeAllWays(line(21), { chunkLineBytesMax: 20 }).code).toBe('INVALID_CHUNK')
  })

  test('extensionBytesMax, beyond one byte per byte of payload', () => {
    const raw = (bytes: number): string => `4;${'a'.repeat(bytes)}\r\nabcd\r\n1;bbbb\r\nx\r\n0;c\r\n\r\n`
    for (const bytes of [9, 10]) expect(decodeAllWays(raw(bytes), { extensionBytesMax: 10 }).code).toBeNull()
    expect(decodeAllWays(raw(11), { extensionBytesMax: 10 }).code).toBe('INVALID_CHUNK')
    const many = `${'1;aaaaaaaa\r\nx\r\n'.repeat(10)}0\r\n\r\n`
    expect(decodeAllWays(many, { extensionBytesMax: 70 }).code).toBe('INVALID_CHUNK')
    expect(decodeAllWays(many, { extensionBytesMax: 71 }).code).toBeNull()
  })

  test('trailerBytesMax', () => {
    const raw = (size: number): string => `0\r\nX: ${'y'.repeat(size - 7)}\r\n\r\n`
    for (const size of [19, 20])
      expect(decodeAllWays(raw(size), { trailerBytesMax: 20 }).after).toBe(raw(size).length)
    expect(decodeAllWays(raw(21), { trailerBytesMax: 20 }).code).toBe('INVALID_CHUNK')
    expect(decodeAllWays('0\r\n\r\n', { trailerBytesMax: 2 }).after).toBe(5)
  })

  test('trailerFieldsMax', () => {
    const raw = (count: number): string => `0\r\n${'X: y\r\n'.repeat(count)}\r\n`
    for (const count of [2, 3])
      expect(decodeAllWays(raw(count), { trailerFieldsMax: 3 }).after).toBe(raw(count).length)
    expect(decodeAllWays(raw(4), { trailerFieldsMax: 3 }).code).toBe('TOO_MANY_FIELDS')
  })

  test('the largest size is taken and no more', () => {
    expect(decode('1FFFFFFFFFFFFF\r\n')).toMatchObject({ after: NEED_MORE, code: null })
    expect(decode('20000000000000\r\n')).toMatchObject({ after: HEAD_FAILED })
  })

  test.each([
    { chunkLineBytesMax: 17 },
    { extensionBytesMax: -1 },
    { trailerBytesMax: 1 },
    { trailerFieldsMax: 0.5 },
  ])('refuses %o at construction', (options) => expect(() => new ChunkedDecoder(options)).toThrow(RangeError))

  test('refuses an unknown profile at construction', () => {
    expect(() => new ChunkedDecoder({ profile: 'x' as 'strict' })).toThrow(TypeError)
  })
})

test('a decoder serves one body after the other', () => {
  const decoder = new ChunkedDecoder()
  const bytes = Buffer.from('3\r\nabc\r\n0\r\nX: y\r\n\r\n')
  const seen: number[] = []
  const sink = {
    onChunkData: (_chunk: Buffer, start: number, end: number): unknown => seen.push(end - start),
  }
  for (let count = 0; count < 3; count++) {
    expect(decoder.execute(bytes, 0, bytes.length, sink)).toBe(bytes.length)
    expect(decoder.trailers).toEqual(['X', 'y'])
    expect(decoder.execute(bytes, 4, bytes.length, sink)).toBe(4)
    decoder.reset()
    expect(decoder).toMatchObject({ done: false, trailers: null, bytesDecoded: 0, failure: null })
  }
  expect(seen).toEqual([3, 3, 3])
})

test('delivers so many runs and no more, and says where to go on', () => {
  const bytes = Buffer.from(`${'1\r\nx\r\n'.repeat(5)}0\r\n\r\nnext`)
  for (let runsMax = 1; runsMax <= 6; runsMax++) {
    const decoder = new ChunkedDecoder()
    let runs = 0
    const sink = { onChunkData: () => void runs++ }
    let at = 0
    let after = NEED_MORE
    for (let call = 1; after === NEED_MORE; call++) {
      after = decoder.execute(bytes, at, bytes.length, sink, runsMax)
      expect(runs).toBe(Math.min(5, call * runsMax))
      at = decoder.stoppedAt
    }
    expect([after, at, runs]).toEqual([bytes.length - 4, -1, 5])
  }
})

test('a body cut short is not done', () => {
  const raw = '3\r\nabc\r\n0\r\nX: y\r\n\r\n'
  for (let size = 0; size < raw.length; size++) expect(decode(raw.slice(0, size)).after).toBe(NEED_MORE)
})

test('what is encoded is decoded, in any pieces', () => {
  const payloads = fc.array(fc.string({ minLength: 1, maxLength: 300, unit: 'binary-ascii' }), {
    maxLength: 6,
  })
  const cuts = fc.array(fc.nat({ max: 1500 }), { maxLength: 6 })
  fc.assert(
    fc.property(payloads, cuts, (parts, at) => {
      const raw = `${parts.map((part) => `${encodeChunkHead(part.length)}${part}\r\n`).join('')}${encodeChunkHead(0)}\r\n`
      const places = at.filter((cut) => cut > 0 && cut < raw.length).sort((a, b) => a - b)
      expect(decode(raw + NEXT, {}, places)).toEqual({
        after: raw.length,
        payload: parts.join(''),
        trailers: null,
        code: null,
      })
    }),
    { seed: 5, numRuns: 300 },
  )
})

test('encodeChunkHead writes upper-case hexadecimal and refuses what is no size', () => {
  expect(encodeChunkHead(0)).toBe('0\r\n')
  expect(encodeChunkHead(65_535)).toBe('FFFF\r\n')
  expect(() => encodeChunkHead(-1)).toThrow(RangeError)
  expect(() => encodeChunkHead(1.5)).toThrow(RangeError)
})
