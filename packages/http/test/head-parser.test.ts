import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  HEAD_FAILED,
  type HeadParserOptions,
  NEED_MORE,
  RequestHeader,
  RequestHeadParser,
  ResponseHeader,
  ResponseHeadParser,
} from '../src/index.ts'
import { feed } from './corpus.ts'

function codeOf(raw: string, options: HeadParserOptions, cuts: readonly number[] = []): string | number {
  const outcome = feed(new RequestHeadParser(options), Buffer.from(raw, 'latin1'), cuts)
  return outcome.failure?.code ?? outcome.after
}

/** The same bytes in every way that matters: whole, in two, byte by byte. */
function codesOf(raw: string, options: HeadParserOptions): Set<string | number> {
  const everywhere = Array.from({ length: raw.length - 1 }, (_, index) => index + 1)
  const codes = new Set([codeOf(raw, options), codeOf(raw, options, everywhere)])
  for (let cut = 1; cut < raw.length; cut += 7) codes.add(codeOf(raw, options, [cut]))
  return codes
}

function headOf(size: number): string {
  const head = 'GET / HTTP/1.1\r\nHost: a\r\nX: '
  return `${head}${'x'.repeat(size - head.length - 4)}\r\n\r\n`
}

describe('limits, at n - 1, n and n + 1', () => {
  test.each(['strict', 'lenient'] as const)('headBytesMax, %s', (profile) => {
    for (const headBytesMax of [64, 100, 4096]) {
      const options = { headBytesMax, profile }
      expect(codesOf(headOf(headBytesMax - 1), options)).toEqual(new Set([headBytesMax - 1]))
      expect(codesOf(headOf(headBytesMax), options)).toEqual(new Set([headBytesMax]))
      expect(codesOf(headOf(headBytesMax + 1), options)).toEqual(new Set(['HEAD_TOO_LARGE']))
    }
  })

  test('empty lines before count', () => {
    const raw = `\r\n\r\n${headOf(96)}`
    expect(codesOf(raw, { headBytesMax: 100 })).toEqual(new Set([100]))
    expect(codesOf(raw, { headBytesMax: 99 })).toEqual(new Set(['HEAD_TOO_LARGE']))
  })

  test('fieldsMax', () => {
    const raw = (count: number): string => `GET / HTTP/1.1\r\nHost: a\r\n${'X: y\r\n'.repeat(count - 1)}\r\n`
    for (const fieldsMax of [1, 2, 20]) {
      if (fieldsMax > 1)
        expect(codesOf(raw(fieldsMax - 1), { fieldsMax })).toEqual(new Set([raw(fieldsMax - 1).length]))
      expect(codesOf(raw(fieldsMax), { fieldsMax })).toEqual(new Set([raw(fieldsMax).length]))
      expect(codesOf(raw(fieldsMax + 1), { fieldsMax })).toEqual(new Set(['TOO_MANY_FIELDS']))
    }
  })

  test('connectionOptionsMax', () => {
    const raw = (count: number): string =>
      `GET / HTTP/1.1\r\nHost: a\r\nConnection: ${Array.from({ length: count }, () => 'x').join(', ')}\r\n\r\n`
    const options = { connectionOptionsMax: 5 }
    for (const count of [4, 5]) expect(codesOf(raw(count), options)).toEqual(new Set([raw(count).length]))
    expect(codesOf(raw(6), options)).toEqual(new Set(['TOO_MANY_CONNECTION_OPTIONS']))
  })

  test('targetBytesMax', () => {
    const raw = (size: number): string => `GET /${'a'.repeat(size - 1)} HTTP/1.1\r\nHost: a\r\n\r\n`
    for (const targetBytesMax of [2, 50]) {
      const options = { targetBytesMax, headBytesMax: 200 }
      expect(codesOf(raw(targetBytesMax - 1), options)).toEqual(new Set([raw(targetBytesMax - 1).length]))
      expect(codesOf(raw(targetBytesMax), options)).toEqual(new Set([raw(targetBytesMax).length]))
      expect(codesOf(raw(targetBytesMax + 1), options)).toEqual(new Set(['TARGET_TOO_LONG']))
    }
    expect(codesOf(raw(1000), { targetBytesMax: 50, headBytesMax: 200 })).toEqual(
      new Set(['TARGET_TOO_LONG']),
    )
    expect(codesOf(raw(1000), { targetBytesMax: 500, headBytesMax: 200 })).toEqual(
      new Set(['HEAD_TOO_LARGE']),
    )
  })

  test('the defaults: 64 KiB, 256 fields, 8 KiB of target', () => {
    expect(codeOf(headOf(65_536), {})).toBe(65_536)
    expect(codeOf(headOf(65_537), {})).toBe('HEAD_TOO_LARGE')
    const target = (size: number): string => `GET /${'a'.repeat(size - 1)} HTTP/1.1\r\nHost: a\r\n\r\n`
    expect(codeOf(target(8192), {})).toBe(target(8192).length)
    expect(codeOf(target(8193), {})).toBe('TARGET_TOO_LONG')
    expect(codeOf(target(70_000), {})).toBe('TARGET_TOO_LONG')
  })

  test('a fault before the size limit wins over it, whole or split', () => {
    const raw = `GET / HTTP/1.1\r\nX: a\nY: ${'b'.repeat(500)}`
    expect(codesOf(raw, { headBytesMax: 100 })).toEqual(new Set(['BARE_LF']))
    expect(codesOf(`GET / HTTP/1.1\r\nX: ${'b'.repeat(500)}\n`, { headBytesMax: 100 })).toEqual(
      new Set(['HEAD_TOO_LARGE']),
    )
  })

  test.each([
    { headBytesMax: 31 },
    { headBytesMax: 1_048_577 },
    { fieldsMax: 0 },
    { fieldsMax: 4097 },
    { targetBytesMax: 0 },
    { connectionOptionsMax: 0 },
    { connectionOptionsMax: 257 },
    { targetBytesMax: 1.5 },
    { headBytesMax: Number.NaN },
  ])('refuses %o at construction', (options) => {
    expect(() => new RequestHeadParser(options)).toThrow(RangeError)
  })

  test('refuses an unknown profile at construction', () => {
    expect(() => new RequestHeadParser({ profile: 'loose' as 'lenient' })).toThrow(TypeError)
    expect(() => new ResponseHeadParser({ profile: 'loose' as 'lenient' })).toThrow(/"loose"/)
  })
})

describe('the parser object', () => {
  const HEAD = Buffer.from('GET / HTTP/1.1\r\nHost: a\r\n\r\n', 'latin1')

  test('reads pipelined heads one after the other', () => {
    const parser = new RequestHeadParser()
    const bytes = Buffer.concat(Array.from({ length: 200 }, () => HEAD))
    let at = 0
    for (let count = 0; count < 200; count++) {
      at = parser.execute(bytes, at, bytes.length)
      expect(at).toBe((count + 1) * HEAD.length)
      expect(parser.takeHeader().host).toBe('a')
    }
    expect(parser.execute(bytes, at, bytes.length)).toBe(NEED_MORE)
  })

  test('takes a head from the middle of a buffer, and none of the bytes around it', () => {
    const parser = new RequestHeadParser()
    const bytes = Buffer.concat([Buffer.from('\n\n\0'), HEAD, Buffer.alloc(5000, 0x0a)])
    expect(parser.execute(bytes, 3, 3 + HEAD.length)).toBe(3 + HEAD.length)
    expect(parser.execute(bytes, 3, bytes.length)).toBe(3 + HEAD.length)
    expect(parser.execute(bytes, 3, 3 + HEAD.length - 1)).toBe(NEED_MORE)
  })

  test('hands over each header once', () => {
    const parser = new RequestHeadParser()
    expect(() => parser.takeHeader()).toThrow('No request head is complete')
    parser.execute(HEAD, 0, HEAD.length)
    const first = parser.takeHeader()
    expect(parser.header).toBeNull()
    expect(() => parser.takeHeader()).toThrow('No request head is complete')
    parser.execute(HEAD, 0, HEAD.length)
    expect(parser.takeHeader()).not.toBe(first)
    expect(() => new ResponseHeadParser().takeHeader()).toThrow('No response head is complete')
  })

  test('a header that nobody took is not taken for the next one', () => {
    const parser = new RequestHeadParser()
    parser.execute(HEAD, 0, HEAD.length)
    expect(parser.execute(HEAD, 0, 10)).toBe(NEED_MORE)
    expect(parser.header).toBeNull()
  })

  test('a failure stays until reset, is one frozen object and holds nothing of the peer', () => {
    const one = new RequestHeadParser()
    const two = new RequestHeadParser()
    const bad = Buffer.from('GET / HTTP/1.1\r\nHost: a\r\nX: secret\0\r\n\r\n', 'latin1')
    expect(one.execute(bad, 0, bad.length)).toBe(HEAD_FAILED)
    expect(two.execute(bad, 0, bad.length)).toBe(HEAD_FAILED)
    expect(one.execute(HEAD, 0, HEAD.length)).toBe(HEAD_FAILED)
    expect(one.header).toBeNull()
    expect(one.failure).toBe(two.failure)
    expect(Object.isFrozen(one.failure)).toBe(true)
    expect(one.failure?.message).not.toContain('secret')
    one.reset()
    expect(one.failure).toBeNull()
    expect(one.execute(HEAD, 0, HEAD.length)).toBe(HEAD.length)
  })

  test('facts of one head do not reach the next', () => {
    const parser = new RequestHeadParser()
    const loaded = Buffer.from(
      'POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade, close\r\nUpgrade: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n',
    )
    parser.execute(loaded, 0, loaded.length)
    parser.takeHeader()
    expect(parser).toMatchObject({
      contentLength: 5,
      upgrade: true,
      expectContinue: true,
      hopByHop: true,
      keepAlive: false,
    })
    parser.execute(HEAD, 0, HEAD.length)
    expect(parser).toMatchObject({
      contentLength: -1,
      upgrade: false,
      expectContinue: false,
      hopByHop: false,
      keepAlive: true,
    })
    const response = new ResponseHeadParser()
    const kept = Buffer.from('HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5, max=2\r\n\r\n')
    response.execute(kept, 0, kept.length)
    expect(response.keepAliveUses).toBe(2)
    const plain = Buffer.from('HTTP/1.1 200 OK\r\n\r\n')
    response.execute(plain, 0, plain.length)
    expect(response).toMatchObject({ keepAliveUses: -1, keepAliveTimeoutMs: -1, hopByHop: false })
  })

  test('an idle parser holds no bytes, also after a head in pieces or a failure', () => {
    const parser = new RequestHeadParser()
    const held = (): unknown => (parser as unknown as { pending: unknown }).pending
    parser.execute(HEAD, 0, 10)
    expect(held()).not.toBeNull()
    parser.execute(HEAD, 10, HEAD.length)
    expect(held()).toBeNull()
    parser.execute(HEAD, 0, 10)
    parser.execute(Buffer.from('\n'), 0, 1)
    expect(parser.failure?.code).toBe('BARE_LF')
    expect(held()).toBeNull()
  })

  test('a head in pieces does not change with the chunk it came in', () => {
    const parser = new RequestHeadParser()
    const chunk = Buffer.from(HEAD)
    parser.execute(chunk, 0, 20)
    chunk.fill(0)
    parser.execute(HEAD, 20, HEAD.length)
    expect(parser.takeHeader().host).toBe('a')
  })

  test('a header does not change with the chunk it was read from', () => {
    const parser = new RequestHeadParser()
    const chunk = Buffer.from('GET /a-long-enough-path HTTP/1.1\r\nHost: a-long-enough-host.example\r\n\r\n')
    parser.execute(chunk, 0, chunk.length)
    const header = parser.takeHeader()
    chunk.fill(0)
    expect(header.target).toBe('/a-long-enough-path')
    expect(header.host).toBe('a-long-enough-host.example')
  })
})

const tchar = fc.constantFrom(
  ..."!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
)
const token = fc.string({ unit: tchar, minLength: 1, maxLength: 20 })
const SPECIAL =
  /^(host|te|expect|upgrade|connection|keep-alive|content-length|transfer-encoding|proxy-connection|http2-settings)$/i
const name = token.filter((text) => !SPECIAL.test(text))
const octet = fc.integer({ min: 0x20, max: 0xff }).filter((code) => code !== 0x7f)
const value = fc
  .string({ unit: octet.map((code) => String.fromCharCode(code)), maxLength: 40 })
  .map((text) => text.replace(/^ +| +$/g, ''))
const visible = fc.integer({ min: 0x21, max: 0x7e }).filter((code) => code !== 0x23 && code !== 0x5c)
const target = fc
  .string({ unit: visible.map((code) => String.fromCharCode(code)), maxLength: 40 })
  .map((text) => `/${text}`)
const fields = fc.array(fc.tuple(name, value), { maxLength: 12 })
const cuts = fc.array(fc.nat({ max: 400 }), { maxLength: 8 })

describe('properties', () => {
  test('what is built and written is read back the same, in any pieces', () => {
    fc.assert(
      fc.property(token, target, fields, cuts, (method, path, list, at) => {
        fc.pre(method !== 'CONNECT')
        const header = RequestHeader.build(method, path, [['Host', 'a'], ...list])
        const wire = Buffer.from(header.toWire(), 'latin1')
        const parser = new RequestHeadParser()
        const places = at.filter((cut) => cut > 0 && cut < wire.length).sort((a, b) => a - b)
        const outcome = feed(parser, wire, places)
        expect(outcome.after).toBe(wire.length)
        expect(outcome.head).toMatchObject({
          method,
          target: path,
          version: 'HTTP/1.1',
          fields: header.fields,
        })
      }),
      { seed: 7, numRuns: 300 },
    )
  })

  test('a response is read back the same, in any pieces', () => {
    fc.assert(
      fc.property(fc.integer({ min: 100, max: 599 }), value, fields, cuts, (status, reason, list, at) => {
        const header = ResponseHeader.build(status, list, reason)
        const wire = Buffer.from(header.toWire(), 'latin1')
        const places = at.filter((cut) => cut > 0 && cut < wire.length).sort((a, b) => a - b)
        const outcome = feed(new ResponseHeadParser(), wire, places)
        expect(outcome.after).toBe(wire.length)
        expect(outcome.head).toMatchObject({ status, reason, version: 'HTTP/1.1', fields: header.fields })
      }),
      { seed: 7, numRuns: 300 },
    )
  })

  test('any damage to a head has one verdict, however it is split', () => {
    const base = 'POST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: close\r\nX: y\r\n\r\n'
    const odd = fc.constantFrom('\r', '\n', '\r\n', '\0', ' ', '\t', ':', ',', '\r\n\r\n', '\x80', 'x', '')
    const edit = fc.tuple(fc.nat({ max: base.length }), fc.nat({ max: 2 }), odd)
    fc.assert(
      fc.property(
        fc.array(edit, { minLength: 1, maxLength: 3 }),
        cuts,
        fc.constantFrom('strict', 'lenient'),
        (edits, at, profile) => {
          let raw = base
          for (const [place, removed, put] of edits)
            raw = raw.slice(0, place) + put + raw.slice(place + removed)
          const bytes = Buffer.from(raw, 'latin1')
          const whole = feed(new RequestHeadParser({ profile }), bytes, [])
          const places = at.filter((cut) => cut > 0 && cut < bytes.length).sort((a, b) => a - b)
          const everywhere = Array.from({ length: Math.max(0, bytes.length - 1) }, (_, index) => index + 1)
          expect(feed(new RequestHeadParser({ profile }), bytes, places)).toEqual(whole)
          expect(feed(new RequestHeadParser({ profile }), bytes, everywhere)).toEqual(whole)
        },
      ),
      { seed: 11, numRuns: 1500 },
    )
  })

  test('what lenient accepts it writes in a form that strict accepts', () => {
    const base = 'POST http://a/b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nX: y\r\n\r\n'
    const odd = fc.constantFrom(
      '\n',
      '\r\n ',
      '\r\n',
      ' ',
      '\t',
      ',5',
      '\r\nContent-Length: 5',
      '\xe4',
      '\\',
      'x',
      '',
    )
    const edit = fc.tuple(fc.nat({ max: base.length }), fc.nat({ max: 2 }), odd)
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 3 }), (edits) => {
        let raw = base
        for (const [place, removed, put] of edits)
          raw = raw.slice(0, place) + put + raw.slice(place + removed)
        const bytes = Buffer.from(raw, 'latin1')
        const parser = new RequestHeadParser({ profile: 'lenient' })
        fc.pre(parser.execute(bytes, 0, bytes.length) > 0)
        const header = parser.takeHeader()
        fc.pre(!/[\\\x80-\xff]/.test(header.target) && header.get('Host') !== '')
        const again = new RequestHeadParser()
        const wire = Buffer.from(header.toWire(), 'latin1')
        expect(again.execute(wire, 0, wire.length), again.failure?.code).toBe(wire.length)
        expect(again.contentLength).toBe(parser.contentLength)
        expect(again.chunked).toBe(parser.chunked)
        const taken = again.takeHeader()
        expect([taken.method, taken.target, taken.version, taken.fields]).toEqual([
          header.method,
          header.target,
          header.version,
          header.fields,
        ])
      }),
      { seed: 13, numRuns: 1500 },
    )
  })
})
