import fc from 'fast-check'

/** Any bytes, as a string of latin1. */
export const anyText: fc.Arbitrary<string> = fc
  .uint8Array({ maxLength: 12 })
  .map((bytes) => Buffer.from(bytes).toString('latin1'))

export function bytesOf(text: fc.Arbitrary<string>): fc.Arbitrary<Buffer> {
  return text.map((value) => Buffer.from(value, 'latin1'))
}

function mostly<T>(usual: fc.Arbitrary<T>, odd: fc.Arbitrary<T>): fc.Arbitrary<T> {
  return fc.oneof({ arbitrary: usual, weight: 12 }, { arbitrary: odd, weight: 1 })
}

const lineEnd = mostly(
  fc.constant('\r\n'),
  fc.constantFrom('\n', '\r', '\r\r\n', '\r\n ', '\0\r\n', '\r\n\t'),
)
const space = mostly(fc.constant(' '), fc.constantFrom('', '  ', '\t', ' \t'))
const version = mostly(
  fc.constantFrom('HTTP/1.1', 'HTTP/1.0'),
  fc.constantFrom('HTTP/1.2', 'HTTP/2.0', 'http/1.1', 'HTTP/11', ''),
)
const method = mostly(
  fc.constantFrom('GET', 'POST', 'HEAD', 'PUT', 'OPTIONS', 'CONNECT', 'DELETE', 'PATCH', 'PRI', 'M-SEARCH'),
  anyText,
)
const authority = mostly(fc.constantFrom('a', 'a:80', 'A', 'a:', '[::1]:8080', '127.0.0.1', 'a%41'), anyText)
const target = mostly(
  fc.oneof(
    fc.constantFrom('/', '*', '/a?b=c', '//a/b', '/%00', '/?', '/a|b', '/"<>`'),
    authority,
    authority.map((value) => `http://${value}/`),
    authority.map((value) => `HTTPS://${value}?x`),
  ),
  anyText,
)
const number = mostly(
  fc.nat(20).map(String),
  fc.constantFrom('', '+1', '-1', '00003', '9007199254740992', '1, 1', '0x1', '1 1'),
)
const option = fc.constantFrom(
  'close',
  'keep-alive',
  'Upgrade',
  'TE',
  'x',
  'Host',
  '',
  'content-length',
  'trailers',
)
const options = fc.array(option, { minLength: 1, maxLength: 3 }).map((list) => list.join(', '))

const field: fc.Arbitrary<readonly [string, string]> = fc.oneof(
  fc.tuple(fc.constantFrom('Host', 'host', 'HOST'), authority),
  fc.tuple(fc.constantFrom('Content-Length', 'content-length'), number),
  fc.tuple(
    fc.constant('Transfer-Encoding'),
    mostly(
      fc.constantFrom('chunked', 'Chunked'),
      fc.constantFrom('identity', 'gzip, chunked', 'chunked, chunked', '', 'xchunked'),
    ),
  ),
  fc.tuple(fc.constantFrom('Connection', 'Proxy-Connection'), options),
  fc.tuple(fc.constant('Upgrade'), fc.constantFrom('websocket', 'h2c')),
  fc.tuple(fc.constant('Expect'), fc.constantFrom('100-continue', '100-Continue', 'x')),
  fc.tuple(fc.constant('TE'), fc.constantFrom('trailers', 'gzip', 'trailers, deflate;q=0.5')),
  fc.tuple(
    fc.constant('Keep-Alive'),
    fc.constantFrom('timeout=5', 'timeout=5, max=100', 'max=0', 'timeout=-1'),
  ),
  fc.tuple(
    mostly(fc.constantFrom('X', 'Date', 'Via', 'HTTP2-Settings'), anyText),
    mostly(fc.constantFrom('', 'y', 'é', ' y '), anyText),
  ),
)

const fieldLine = fc
  .tuple(field, mostly(fc.constantFrom(': ', ':'), fc.constantFrom(' : ', '\t:', '')), lineEnd)
  .map(([[name, value], colon, end]) => `${name}${colon}${value}${end}`)

/** Field lines and the empty line. Half of the time a `Host` is among them, so that a request can be accepted. */
function fields(host: boolean): fc.Arbitrary<string> {
  const lines = fc.array(fieldLine, { maxLength: 5 })
  const first = host ? mostly(fc.constantFrom('Host: a\r\n', 'host:a\r\n'), fc.constant('')) : fc.constant('')
  return fc.tuple(first, lines, lineEnd).map(([start, rest, end]) => `${start}${rest.join('')}${end}`)
}

export const requestHead: fc.Arbitrary<string> = fc
  .tuple(method, space, target, space, version, lineEnd, fields(true))
  .map((parts) => parts.join(''))

const status = mostly(
  fc.constantFrom('200', '204', '304', '100', '101', '103', '404', '500'),
  fc.constantFrom('099', '600', '2 0', '20', '2000'),
)
export const responseHead: fc.Arbitrary<string> = fc
  .tuple(
    version,
    space,
    status,
    space,
    mostly(fc.constantFrom('OK', '', 'Not Found', 'é'), anyText),
    lineEnd,
    fields(false),
  )
  .map((parts) => parts.join(''))

const extension = fc.oneof(
  { arbitrary: fc.constant(''), weight: 6 },
  {
    arbitrary: fc.constantFrom(';a', ';a=b', ';a="b;c"', '; a', ';', ';a="', ';;', ' ;a', ';a=b;c=d'),
    weight: 2,
  },
)
const chunk = fc
  .tuple(fc.stringMatching(/^[a-z\r\n]{0,6}$/), extension, lineEnd, lineEnd, fc.constantFrom('', '0', '00'))
  .map(([data, ext, end, after, zeros]) => `${zeros}${data.length.toString(16)}${ext}${end}${data}${after}`)
const trailer = fc.constantFrom(
  '',
  'X: y\r\n',
  'x:\r\nZ: 1\r\n',
  'Content-Length: 1\r\n',
  'X : y\r\n',
  ' X: y\r\n',
)

/** A body in chunks, mostly right. */
export const chunkedBody: fc.Arbitrary<string> = fc
  .tuple(
    fc.array(chunk, { maxLength: 3 }),
    mostly(fc.constantFrom('0', '000'), anyText),
    extension,
    lineEnd,
    trailer,
    lineEnd,
  )
  .map(([chunks, ...end]) => chunks.join('') + end.join(''))
