import { HpackDecoder } from '@cirque/hpack'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { block, END_STREAM, HEADERS, neverIndexed } from '../../../scripts/test-support/http2-frames.ts'
import { isFieldName, isFieldValue } from '../src/field-rules.ts'
import { ErrorCode } from '../src/index.ts'
import { checkTrailers, readRequest, readResponse } from '../src/message-fields.ts'
import { POST, REQUEST, request } from './support/frames.ts'
import { resetOf, startServer } from './support/server.ts'

const R: readonly string[] = REQUEST

/** The fields as they come off the wire, and what the decoder says of them. */
function decoded(bytes: Buffer): [string[], HpackDecoder] {
  const decoder = new HpackDecoder()
  return [decoder.decode(bytes, 0, bytes.length) ?? [], decoder]
}
function requestOf(fields: readonly string[], connectProtocol = false) {
  const [raw, decoder] = decoded(block(fields))
  return readRequest(raw, connectProtocol, decoder)
}
const responseOf = (fields: readonly string[]) => readResponse(...decoded(block(fields)))
const trailersOf = (fields: readonly string[]) => checkTrailers(...decoded(block(fields)))

test.each<[string, string, readonly string[]]>([
  ['§8.2.1: upper case in a name', 'HTTP2_FIELD', [...R, 'X-Upper', 'b']],
  ['§8.2.1: CR in a value', 'HTTP2_FIELD', [...R, 'x', 'a\rb']],
  ['§8.2.1: LF in a value', 'HTTP2_FIELD', [...R, 'x', 'a\nTransfer-Encoding: chunked']],
  ['§8.2.1: NUL in a value', 'HTTP2_FIELD', [...R, 'x', 'a\0b']],
  ['§8.2.1: CR LF in a name', 'HTTP2_FIELD', [...R, 'x\r\ny', 'b']],
  ['§8.2.1: a space in a name', 'HTTP2_FIELD', [...R, 'x y', 'b']],
  ['§8.2.1: a colon in a name', 'HTTP2_FIELD', [...R, 'transfer-encoding: chunked\r\nx', 'b']],
  ['§8.2.1: an empty name', 'HTTP2_FIELD', [...R, '', 'b']],
  ['§8.2.1: a space before a value', 'HTTP2_FIELD', [...R, 'x', ' b']],
  ['§8.2.1: a tab after a value', 'HTTP2_FIELD', [...R, 'x', 'b\t']],
  ['§8.2.2: connection', 'HTTP2_CONNECTION_FIELD', [...R, 'connection', 'close']],
  ['§8.2.2: keep-alive', 'HTTP2_CONNECTION_FIELD', [...R, 'keep-alive', 'timeout=5']],
  ['§8.2.2: proxy-connection', 'HTTP2_CONNECTION_FIELD', [...R, 'proxy-connection', 'close']],
  ['§8.2.2: transfer-encoding', 'HTTP2_CONNECTION_FIELD', [...R, 'transfer-encoding', 'chunked']],
  ['§8.2.2: upgrade', 'HTTP2_CONNECTION_FIELD', [...R, 'upgrade', 'h2c']],
  ['§8.2.2: http2-settings', 'HTTP2_CONNECTION_FIELD', [...R, 'http2-settings', 'AAMA']],
  ['§8.2.2: te other than trailers', 'HTTP2_CONNECTION_FIELD', [...R, 'te', 'gzip']],
  ['§8.3: a pseudo-field after a field', 'HTTP2_PSEUDO_FIELD', ['x', 'y', ...R]],
  ['§8.3: a pseudo-field twice', 'HTTP2_PSEUDO_FIELD', [...R, ':path', '/b']],
  ['§8.3: an unknown pseudo-field', 'HTTP2_PSEUDO_FIELD', [':x', 'y', ...R]],
  ['§8.3: a response’s pseudo-field', 'HTTP2_PSEUDO_FIELD', [':status', '200', ...R]],
  ['§8.3.1: no :method', 'HTTP2_PSEUDO_FIELD', R.slice(2)],
  ['§8.3.1: no :scheme', 'HTTP2_PSEUDO_FIELD', [...R.slice(0, 2), ...R.slice(4)]],
  ['§8.3.1: no :path', 'HTTP2_PSEUDO_FIELD', [...R.slice(0, 4), ...R.slice(6)]],
  ['§8.3.1: an empty :path', 'HTTP2_PSEUDO_FIELD', [':method', 'GET', ':scheme', 'http', ':path', '']],
  ['§8.3.1: a space in :method', 'HTTP2_PSEUDO_FIELD', [':method', 'GET /', ...R.slice(2)]],
  ['§8.3.1: two hosts', 'HTTP2_HOST', [...R, 'host', 'a', 'host', 'a']],
  ['§8.5: CONNECT with a :path', 'HTTP2_PSEUDO_FIELD', [':method', 'CONNECT', ...R.slice(2)]],
  ['§8.5: CONNECT without an :authority', 'HTTP2_PSEUDO_FIELD', [':method', 'CONNECT']],
  [
    'RFC 8441 §4: :protocol where it was not offered',
    'HTTP2_PSEUDO_FIELD',
    [':method', 'CONNECT', ...R.slice(2), ':protocol', 'websocket'],
  ],
  ['§8.1.1: two lengths', 'HTTP2_CONTENT_LENGTH', [...R, 'content-length', '1', 'content-length', '1']],
  ['§8.1.1: a signed length', 'HTTP2_CONTENT_LENGTH', [...R, 'content-length', '+1']],
  ['§8.1.1: a listed length', 'HTTP2_CONTENT_LENGTH', [...R, 'content-length', '1, 1']],
  ['§8.1.1: a length above 10^15', 'HTTP2_CONTENT_LENGTH', [...R, 'content-length', '1000000000000000']],
  ['§8.1.1: a length and no body', 'HTTP2_CONTENT_LENGTH', [...R, 'content-length', '5']],
])('RFC 9113 %s is answered and reset, and the connection goes on', (_name, problem, fields) => {
  const server = startServer()
  server.receive(request(1, END_STREAM, fields), request(3))
  expect(server.refused).toEqual([problem])
  expect(server.streams.map(({ stream }) => stream.id)).toEqual([3])
  const sent = server.frames()
  expect(sent.some(({ type, stream }) => type === HEADERS && stream === 1)).toBe(true)
  expect(resetOf(sent, 1)).toBe(ErrorCode.PROTOCOL_ERROR)
})

test('a request is taken apart, its cookies joined (RFC 9113 §8.2.3)', () => {
  const read = requestOf([
    ...POST,
    'cookie',
    'a=1',
    'x',
    'Y',
    'cookie',
    'b=2',
    'host',
    'h',
    'content-length',
    '7',
  ])
  expect(read).toEqual({
    method: 'POST',
    scheme: 'http',
    authority: 'a',
    path: '/',
    protocol: null,
    contentLength: 7,
    fields: ['cookie', 'a=1; b=2', 'x', 'Y', 'host', 'h', 'content-length', '7'],
    hostAt: 5,
    neverIndexed: null,
  })
  expect(requestOf([':method', 'CONNECT', ':authority', 'a:1'])).toMatchObject({
    path: '',
    authority: 'a:1',
  })
  const extended = [
    ':method',
    'CONNECT',
    ':protocol',
    'websocket',
    ':scheme',
    'https',
    ':path',
    '/c',
    ':authority',
    'a',
  ]
  expect(requestOf(extended, true)).toMatchObject({ protocol: 'websocket', path: '/c' })
  expect(requestOf([...R.slice(0, 6), 'te', 'trailers', 'x', ''])).toMatchObject({
    authority: '',
    hostAt: -1,
  })
})

test('responses: status first, three digits, no other pseudo-field', () => {
  expect(responseOf([':status', '200', 'content-length', '3', 'a', 'b'])).toEqual({
    status: 200,
    contentLength: 3,
    fields: ['content-length', '3', 'a', 'b'],
    neverIndexed: null,
  })
  for (const fields of [
    [],
    [':status', '20'],
    [':status', '600'],
    [':status', '+20'],
    ['a', 'b', ':status', '200'],
    [':status', '200', ':status', '200'],
    [':status', '200', ':path', '/'],
    [':status', '200', 'A', 'b'],
    [':status', '200', 'a b', 'c'],
    [':status', '200', 'a', 'b\r\nc: d'],
    [':status', '200', 'connection', 'close'],
    [':status', '200', 'transfer-encoding', 'chunked'],
    [':status', '200', 'content-length', '1', 'content-length', '1'],
    [':status', '200', 'content-length', '-1'],
  ]) {
    expect(typeof responseOf(fields)).toBe('string')
  }
})

test('trailers: no pseudo-fields, no malformed ones', () => {
  expect(trailersOf(['x', 'y'])).toBeNull()
  expect(trailersOf([':status', '200'])).toBe('HTTP2_PSEUDO_FIELD')
  expect(trailersOf(['X', 'y'])).toBe('HTTP2_FIELD')
  expect(trailersOf(['connection', 'close'])).toBe('HTTP2_CONNECTION_FIELD')
})

test('what the decoder says of a list is what the rules say of each field', () => {
  const text = fc.string({ unit: fc.constantFrom(...'aA-:;~ \t\r\n\0\x7f\x80\xff'), maxLength: 4 })
  fc.assert(
    fc.property(fc.array(fc.tuple(text, text), { minLength: 1, maxLength: 3 }), (fields) => {
      const [raw, { malformed }] = decoded(block(fields.flat()))
      expect(raw).toEqual(fields.flat())
      const fine = fields.every(
        ([name, value]) => isFieldName(name.replace(/^:(?=.)/, '')) && isFieldValue(value),
      )
      expect(malformed).toBe(!fine)
    }),
    { numRuns: 2_000 },
  )
})

test('RFC 7541 §6.2.3: fields that must never be indexed are named', () => {
  const bytes = Buffer.concat([block(R), neverIndexed(['x-key', 'secret', 'cookie', 'a=1'])])
  const [raw, decoder] = decoded(bytes)
  expect(readRequest(raw, false, decoder)).toMatchObject({ neverIndexed: new Set(['x-key', 'cookie']) })
})
