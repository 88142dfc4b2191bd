import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isPlainHost } from '../src/host.ts'
import {
  bodylessStatus,
  canonicalReason,
  httpDate,
  isFieldValue,
  isForbiddenTrailer,
  isHostPort,
  isIdempotent,
  isToken,
  parseHostPort,
  parseHttpDate,
} from '../src/index.ts'

const SAMPLE = Date.UTC(1994, 10, 6, 8, 49, 37)

describe('dates, RFC 9110 §5.6.7', () => {
  test('writes IMF-fixdate', () => {
    expect(httpDate(SAMPLE)).toBe('Sun, 06 Nov 1994 08:49:37 GMT')
    expect(httpDate(SAMPLE + 999)).toBe('Sun, 06 Nov 1994 08:49:37 GMT')
    expect(httpDate(SAMPLE + 1000)).toBe('Sun, 06 Nov 1994 08:49:38 GMT')
    expect(httpDate(-1)).toBe('Wed, 31 Dec 1969 23:59:59 GMT')
    expect(parseHttpDate(httpDate())).toBeGreaterThan(SAMPLE)
    expect(() => httpDate(Number.NaN)).toThrow(RangeError)
    expect(() => httpDate(Number.POSITIVE_INFINITY)).toThrow(RangeError)
  })

  test('reads all three forms', () => {
    const now = Date.UTC(2026, 0, 1)
    expect(parseHttpDate('Sun, 06 Nov 1994 08:49:37 GMT')).toBe(SAMPLE)
    expect(parseHttpDate('Sunday, 06-Nov-94 08:49:37 GMT', now)).toBe(SAMPLE)
    expect(parseHttpDate('Sun Nov  6 08:49:37 1994')).toBe(SAMPLE)
    expect(parseHttpDate('Sunday, 06-Nov-76 08:49:37 GMT', now)).toBe(Date.UTC(2076, 10, 6, 8, 49, 37))
    expect(parseHttpDate('Sunday, 06-Nov-77 08:49:37 GMT', now)).toBe(Date.UTC(1977, 10, 6, 8, 49, 37))
    expect(parseHttpDate('Sunday, 06-Nov-05 08:49:37 GMT', Date.UTC(2090, 0, 1))).toBe(
      Date.UTC(2105, 10, 6, 8, 49, 37),
    )
    expect(parseHttpDate('Thu, 29 Feb 2024 00:00:00 GMT')).toBe(Date.UTC(2024, 1, 29))
    expect(parseHttpDate('Sat, 31 Dec 2016 23:59:60 GMT')).toBe(Date.UTC(2017, 0, 1))
  })

  test.each([
    '',
    '0',
    'now',
    '1994-11-06T08:49:37Z',
    'Sun, 6 Nov 1994 08:49:37 GMT',
    'Sun, 06 Nov 1994 08:49:37 UTC',
    'Sun, 06 Nov 1994 08:49:37',
    'Sun, 31 Feb 1994 08:49:37 GMT',
    'Wed, 29 Feb 2023 00:00:00 GMT',
    'Sun, 00 Nov 1994 08:49:37 GMT',
    'Sun, 06 Nov 1994 24:00:00 GMT',
    'Sun, 06 Nov 1994 08:60:37 GMT',
    'Sun, 06 Nov 1994 08:49:61 GMT',
    ' Sun, 06 Nov 1994 08:49:37 GMT',
    'Sun, 06 nov 1994 08:49:37 GMT',
    'Xyz, 06 Nov 1994 08:49:37 GMT',
  ])('%j is no date', (text) => expect(parseHttpDate(text)).toBeUndefined())

  test('what is written is read back', () => {
    fc.assert(
      fc.property(fc.integer({ min: -62_167_219_200, max: 253_402_300_799 }), (second) => {
        expect(parseHttpDate(httpDate(second * 1000))).toBe(second * 1000)
      }),
      { seed: 1, numRuns: 300 },
    )
  })
})

describe('hosts, RFC 9110 §7.2', () => {
  test.each([
    ['a', { host: 'a', port: -1 }],
    ['a:', { host: 'a', port: -1 }],
    ['a:0', { host: 'a', port: 0 }],
    ['A.b:65535', { host: 'A.b', port: 65_535 }],
    ['[::1]:8', { host: '::1', port: 8 }],
    ['[::ffff:1.2.3.4]', { host: '::ffff:1.2.3.4', port: -1 }],
    ['%41', { host: '%41', port: -1 }],
  ])('%s', (text, expected) => {
    expect(parseHostPort(text)).toEqual(expected)
    expect(isHostPort(text)).toBe(true)
  })

  test.each([
    '',
    ':',
    ':1',
    'a:65536',
    'a:000001',
    'a:1x',
    'a b',
    'a@b',
    '[',
    '[]',
    '[a]',
    '[::1',
    '::1',
    'a/b',
    '%4',
    '\u00e4',
    '\u0141',
    'a:1:2',
  ])('%j is none', (text) => {
    expect(parseHostPort(text)).toBeUndefined()
    expect(isHostPort(text)).toBe(false)
  })
})

test('the host check on bytes takes nothing that the one on strings refuses', () => {
  const unit = fc.constantFrom(...'aZ0-._~:[]%@/,;\\ 9\u00e4')
  fc.assert(
    fc.property(fc.string({ unit, maxLength: 12 }), (text) => {
      const bytes = Buffer.from(`x${text}x`, 'latin1')
      if (isPlainHost(bytes, 1, bytes.length - 1)) expect(isHostPort(text), text).toBe(true)
    }),
    { seed: 2, numRuns: 3000 },
  )
  expect(isPlainHost(Buffer.from('a.example:8080'), 0, 14)).toBe(true)
  expect(isPlainHost(Buffer.from('a:65536'), 0, 7)).toBe(false)
})

test('tokens and values', () => {
  expect(isToken("azAZ09!#$%&'*+-.^_`|~")).toBe(true)
  for (const text of ['', ' ', 'a b', 'a:', 'a\n', '\u00e4', 'a\u0100', '"'])
    expect(isToken(text)).toBe(false)
  expect(isFieldValue('')).toBe(true)
  for (let code = 0; code < 300; code++) {
    const expected = code === 9 || (code >= 0x20 && code !== 0x7f && code <= 0xff)
    expect(isFieldValue(`a${String.fromCharCode(code)}`), String(code)).toBe(expected)
  }
})

test('methods and statuses', () => {
  expect(['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS', 'TRACE'].every(isIdempotent)).toBe(true)
  expect(['POST', 'PATCH', 'CONNECT', 'get', '', 'QUERY'].some(isIdempotent)).toBe(false)
  expect([100, 101, 103, 199, 204, 304].every(bodylessStatus)).toBe(true)
  expect([200, 205, 206, 301, 400, 500].some(bodylessStatus)).toBe(false)
  expect(canonicalReason(200)).toBe('OK')
  expect(canonicalReason(431)).toBe('Request Header Fields Too Large')
  expect(canonicalReason(299)).toBe('')
})

test('trailers', () => {
  expect(['Host', 'content-LENGTH', 'X-Forwarded-Anything', 'Trailer'].every(isForbiddenTrailer)).toBe(true)
  expect(['ETag', 'Server-Timing', 'grpc-status', 'Digest'].some(isForbiddenTrailer)).toBe(false)
})
