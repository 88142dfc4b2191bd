import { RequestHeader, RequestHeadParser, removeHopByHop } from '@cirque/http'
import fc from 'fast-check'
import { expect, test } from 'vitest'

function parsed(raw: string): RequestHeader | null {
  const parser = new RequestHeadParser()
  const bytes = Buffer.from(raw, 'latin1')
  return parser.execute(bytes, 0, bytes.length) > 0 ? parser.takeHeader() : null
}

const line: fc.Arbitrary<string> = fc.constantFrom(
  'Connection: keep-alive',
  'Connection: close',
  'Connection: X-One, keep-alive',
  'connection:  Upgrade ',
  'Keep-Alive: timeout=5',
  'TE: trailers',
  'te:gzip, trailers',
  'Upgrade: websocket',
  'Proxy-Connection: keep-alive',
  'HTTP2-Settings: AA',
  'X-One: 1',
  'X-Two:\t two \t',
  'X-Empty:',
  'X-Blank: \t ',
  'Date: Sat, 21 Nov 2026 09:54:37 GMT',
  'Expect: 100-continue',
)

test('untouched lines mean the same as the fields taken apart, before and after hop-by-hop removal', () => {
  fc.assert(
    fc.property(
      fc.array(line, { maxLength: 8 }),
      fc.record({ keepUpgrade: fc.boolean(), keepTrailersTe: fc.boolean() }),
      fc.boolean(),
      (lines, options, lookFirst) => {
        const raw = `GET / HTTP/1.1\r\n${['Host: a', ...lines].join('\r\n')}\r\n\r\n`
        const untouched = parsed(raw)
        const apart = parsed(raw)
        fc.pre(untouched !== null && apart !== null)
        if (untouched === null || apart === null) return
        expect(untouched.lines).not.toBeNull()
        expect(untouched.toWire()).toBe(raw)
        apart.editFields()
        expect(apart.lines).toBeNull()
        if (lookFirst) expect(untouched.fields).toEqual(apart.fields)
        removeHopByHop(untouched, options)
        removeHopByHop(apart, options)
        const copy = untouched.clone()
        expect(untouched.fields).toEqual(apart.fields)
        expect(copy.fields).toEqual(apart.fields)
        copy.insertHeader('X-New', 'x')
        expect(untouched.has('X-New')).toBe(false)
      },
    ),
  )
})

test('an edit ends the use of the lines as received', () => {
  for (const edit of [
    (header: RequestHeader) => header.insertHeader('Host', 'b'),
    (header: RequestHeader) => header.appendHeader('A', 'b'),
    (header: RequestHeader) => header.removeHeader('Host'),
  ]) {
    const header = parsed('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    if (header === null) throw new Error('unreachable')
    edit(header)
    expect(header.lines).toBeNull()
  }
})

test('a built header has no lines as received', () => {
  expect(RequestHeader.build('GET', '/', { Host: 'a' }).lines).toBeNull()
})

test('a parser that remembers the last head reads the next one as a fresh parser does', () => {
  const startLine = fc.constantFrom(
    'GET / HTTP/1.1',
    'POST /a?b HTTP/1.1',
    'GET / HTTP/1.0',
    'GET http://a/ HTTP/1.1',
    'GET http://b/ HTTP/1.1',
    'OPTIONS * HTTP/1.1',
    'CONNECT a:443 HTTP/1.1',
    'GET /x y HTTP/1.1',
  )
  const fields = fc.constantFrom(
    'Host: a',
    'Host: a\r\nContent-Length: 3',
    'Host: a\r\nContent-Length: 30',
    'Host: a\r\nTransfer-Encoding: chunked',
    'Host: a\r\nConnection: close',
    'Host: a\r\nExpect: 100-continue',
    'Host: a\r\nUpgrade: websocket\r\nConnection: upgrade',
    'Host: a\r\nX: 1\r\nHost: a',
    'X: 1',
  )
  const heads = fc.array(fc.tuple(startLine, fields), { minLength: 2, maxLength: 6 })
  fc.assert(
    fc.property(heads, fc.integer({ min: 32, max: 120 }), (pairs, headBytesMax) => {
      const remembering = new RequestHeadParser({ headBytesMax })
      for (const [start, lines] of pairs) {
        const bytes = Buffer.from(`${start}\r\n${lines}\r\n\r\n`, 'latin1')
        const fresh = new RequestHeadParser({ headBytesMax })
        const expected = fresh.execute(bytes, 0, bytes.length)
        expect(remembering.execute(bytes, 0, bytes.length)).toBe(expected)
        if (expected < 0) {
          expect(remembering.failure?.code).toBe(fresh.failure?.code)
          remembering.reset()
          continue
        }
        for (const fact of FACTS) expect(remembering[fact], fact).toBe(fresh[fact])
        expect(remembering.takeHeader().toWire()).toBe(fresh.takeHeader().toWire())
      }
    }),
  )
})

const FACTS = ['contentLength', 'chunked', 'keepAlive', 'upgrade', 'hopByHop', 'expectContinue'] as const
