import fc from 'fast-check'
import { describe, expect, expectTypeOf, test } from 'vitest'
import { HeaderFields, RequestHeader, ResponseHeader } from '../src/index.ts'

function sample(): RequestHeader {
  return RequestHeader.build('GET', '/', [
    ['Host', 'a'],
    ['X-One', '1'],
    ['Cookie', 'c=1'],
    ['x-one', '2'],
    ['X-ONE', '3'],
  ])
}

describe('reading fields', () => {
  test('finds a field in any case and keeps the spelling of its sender', () => {
    const header = sample()
    expect(header.get('host')).toBe('a')
    expect(header.get('HOST')).toBe('a')
    expect(header.get('x-oNe')).toBe('1')
    expect(header.get('x-two')).toBeUndefined()
    expect(header.get('')).toBeUndefined()
    expect(header.getAll('x-one')).toEqual(['1', '2', '3'])
    expect(header.getAll('none')).toEqual([])
    expect(header.getCombined('X-One')).toBe('1, 2, 3')
    expect(header.getCombined('none')).toBeUndefined()
    expect(header.has('COOKIE')).toBe(true)
    expect(header.has('cooki')).toBe(false)
    expect(header.fieldCount).toBe(5)
    expect(header.fields[6]).toBe('x-one')
  })

  test('case is that of ASCII letters only', () => {
    const header = RequestHeader.build('GET', '/', [
      ['X^', 'caret'],
      ['X~', 'tilde'],
      ['X@'.replace('@', '`'), 'backtick'],
    ])
    expect(header.get('x~')).toBe('tilde')
    expect(header.get('x^')).toBe('caret')
    expect(header.get('x`')).toBe('backtick')
    expect(header.get('x@')).toBeUndefined()
    expect(RequestHeader.build('GET', '/', { k: 'k' }).get('\u212a')).toBeUndefined()
  })

  test('walks the fields in order', () => {
    const seen: string[] = []
    sample().forEachField((name, value) => seen.push(`${name}=${value}`))
    expect(seen).toEqual(['Host=a', 'X-One=1', 'Cookie=c=1', 'x-one=2', 'X-ONE=3'])
    expect([...sample()].map(([name, value]) => `${name}=${value}`)).toEqual(seen)
  })
})

describe('editing fields', () => {
  test('insertHeader replaces all of that name at the place of the first', () => {
    const header = sample()
    header.insertHeader('X-one', 'new')
    expect(header.fields).toEqual(['Host', 'a', 'X-one', 'new', 'Cookie', 'c=1'])
    header.insertHeader('Age', 5)
    expect(header.fields.slice(-2)).toEqual(['Age', '5'])
  })

  test('appendHeader adds at the end', () => {
    const header = sample()
    header.appendHeader('X-One', 4)
    expect(header.getAll('x-one')).toEqual(['1', '2', '3', '4'])
  })

  test('removeHeader removes all of that name', () => {
    const header = sample()
    expect(header.removeHeader('x-ONE')).toBe(true)
    expect(header.fields).toEqual(['Host', 'a', 'Cookie', 'c=1'])
    expect(header.removeHeader('x-one')).toBe(false)
  })

  test('white space at the ends of a value is dropped', () => {
    const header = RequestHeader.build('GET', '/', { X: ' \ta b\t ' })
    expect(header.get('X')).toBe('a b')
    header.insertHeader('X', '   ')
    expect(header.get('X')).toBe('')
  })

  test.each(['a\r', 'a\nb', 'a\0', '\x7f', '\x0b', 'a\u0100', '\u2028', '\ud83d\ude00'])(
    'refuses the value %j and leaves the header as it was',
    (value) => {
      const header = sample()
      const before = header.fields.slice()
      expect(() => header.insertHeader('Authorization', value)).toThrow(TypeError)
      expect(() => header.appendHeader('Authorization', value)).toThrow(/"Authorization"/)
      expect(() => RequestHeader.build('GET', '/', { Authorization: `secret${value}` })).toThrow(
        expect.objectContaining({ message: expect.not.stringContaining('secret') as string }),
      )
      expect(header.fields).toEqual(before)
    },
  )

  test.each(['', 'a b', 'a:', 'a\r\n', '\u00e4', 'a\0', '(', ':path'])('refuses the name %j', (name) => {
    expect(() => sample().insertHeader(name, 'x')).toThrow(TypeError)
    expect(() => sample().appendHeader(name, 'x')).toThrow(TypeError)
    expect(() => ResponseHeader.build(200, [[name, 'x']])).toThrow(TypeError)
  })

  test('refuses what is neither string nor number', () => {
    const header = sample()
    expect(() => header.insertHeader('X', undefined as unknown as string)).toThrow(/"X".*undefined/)
    expect(() => header.insertHeader('X', Number.NaN)).toThrow(/NaN/)
    expect(() => header.appendHeader('X', ['a'] as unknown as string)).toThrow(TypeError)
    expect(() => header.insertHeader(5 as unknown as string, 'a')).toThrow(TypeError)
  })

  test('any sequence of edits does what a list of pairs would', () => {
    const name = fc.constantFrom('A', 'a', 'B', 'b', 'C')
    const edit = fc.tuple(
      fc.constantFrom('insert', 'append', 'remove'),
      name,
      fc.string({ maxLength: 3, unit: fc.constantFrom('x', 'y') }),
    )
    fc.assert(
      fc.property(fc.array(edit, { maxLength: 30 }), (edits) => {
        const header = RequestHeader.build('GET', '/')
        let model: [string, string][] = []
        for (const [kind, key, value] of edits) {
          const same = ([other]: [string, string]): boolean => other.toLowerCase() === key.toLowerCase()
          if (kind === 'append') {
            header.appendHeader(key, value)
            model.push([key, value])
          } else if (kind === 'remove') {
            expect(header.removeHeader(key)).toBe(model.some(same))
            model = model.filter((pair) => !same(pair))
          } else {
            header.insertHeader(key, value)
            const place = model.findIndex(same)
            if (place < 0) model.push([key, value])
            else {
              model[place] = [key, value]
              model = model.filter((pair, index) => index === place || !same(pair))
            }
          }
          expect(header.fields).toEqual(model.flat())
        }
      }),
      { seed: 3, numRuns: 300 },
    )
  })
})

describe('request header', () => {
  test('builds from pairs, records and other headers', () => {
    expect(RequestHeader.build('GET', '/').fields).toEqual([])
    expect(RequestHeader.build('GET', '/', { A: 1, B: ['x', 'y'] }).fields).toEqual([
      'A',
      '1',
      'B',
      'x',
      'B',
      'y',
    ])
    expect(RequestHeader.build('GET', '/', new Map([['A', 'b']])).fields).toEqual(['A', 'b'])
    expect(RequestHeader.build('GET', '/', sample()).fields).toEqual(sample().fields)
    expect(RequestHeader.build('GET', '/', new Headers({ A: 'b' })).fields).toEqual(['a', 'b'])
    expect(RequestHeader.build('GET', '/', {}, 'HTTP/1.0').version).toBe('HTTP/1.0')
    expect(RequestHeader.build('GET', '/').version).toBe('HTTP/1.1')
  })

  test('refuses fields of another shape', () => {
    expect(() => RequestHeader.build('GET', '/', ['A', 'b'] as never)).toThrow(TypeError)
    expect(() => RequestHeader.build('GET', '/', 'A: b' as never)).toThrow(TypeError)
    expect(() => RequestHeader.build('GET', '/', null as never)).toThrow(TypeError)
    expect(() => RequestHeader.build('GET', '/', { A: null } as never)).toThrow(TypeError)
    expect(() => RequestHeader.build('GET', '/', { A: [1] } as never)).not.toThrow()
  })

  test.each(['', 'G T', 'GET\r\n', 'G\u00c4T', 'GET:'])('refuses the method %j', (method) => {
    expect(() => RequestHeader.build(method, '/')).toThrow(TypeError)
    expect(() => sample().setMethod(method)).toThrow(TypeError)
  })

  test.each(['', '/a b', '/a#b', '/a\r\n', '/\0', '/\x7f', '/\u0100', '/\t'])(
    'refuses the target %j',
    (target) => {
      expect(() => RequestHeader.build('GET', target)).toThrow(TypeError)
      expect(() => sample().setTarget(target)).toThrow(TypeError)
    },
  )

  test('sets method and target', () => {
    const header = sample()
    header.setMethod('POST')
    header.setTarget('/x?y')
    expect(header.toWire()).toMatch(/^POST \/x\?y HTTP\/1\.1\r\nHost: a\r\n/)
    // @ts-expect-error method is set by setMethod, which checks
    header.method = 'x'
    expectTypeOf(header.target).toEqualTypeOf<string>()
  })

  test.each([
    ['/a/b?c?d', '/a/b', 'c?d'],
    ['/', '/', undefined],
    ['/?', '/', ''],
    ['//h/x?y', '//h/x', 'y'],
    ['http://a/b?c', '/b', 'c'],
    ['http://a', '/', undefined],
    ['http://a?b/c', '/', 'b/c'],
    ['HTTPS://a:1/b', '/b', undefined],
    ['/x?u=http://b/c', '/x', 'u=http://b/c'],
    ['a?u=http://b/c', 'a', 'u=http://b/c'],
    ['*', '*', undefined],
    ['a:443', 'a:443', undefined],
    ['/%2e%2e/', '/%2e%2e/', undefined],
  ])('path and query of %s', (target, path, query) => {
    const header = RequestHeader.build('GET', target)
    expect(header.path).toBe(path)
    expect(header.query).toBe(query)
  })

  test.each([
    ['/', [], undefined],
    ['http://a.example', [], 'a.example'],
    ['HTTPS://a.example:8443/b?c=http://d', [], 'a.example:8443'],
    ['http://a?x', [], 'a'],
    ['http://a/', [['Host', 'b']], 'b'],
    ['/?u=http://a/', [], undefined],
    ['*', [], undefined],
    ['a:80', [], undefined],
  ] as const)('whom a request to %s with %j is for', (target, fields, host) => {
    expect(RequestHeader.build('GET', target, fields).host).toBe(host)
  })

  test('a clone shares nothing', () => {
    const header = sample()
    const copy = header.clone()
    copy.insertHeader('Host', 'b')
    copy.setTarget('/x')
    copy.version = 'HTTP/1.0'
    expect(header.host).toBe('a')
    expect(header.target).toBe('/')
    expect(header.version).toBe('HTTP/1.1')
    expect(copy).toBeInstanceOf(RequestHeader)
    expect(copy).toBeInstanceOf(HeaderFields)
  })

  test('wire form', () => {
    expect(RequestHeader.build('GET', '/\u00e4', { A: '\u00e4' }).toWire()).toBe(
      'GET /\u00e4 HTTP/1.1\r\nA: \u00e4\r\n\r\n',
    )
    expect(RequestHeader.build('GET', '/', {}, 'HTTP/1.0').toWire()).toBe('GET / HTTP/1.0\r\n\r\n')
    expect(RequestHeader.build('GET', '/', {}, 'HTTP/2').toWire()).toBe('GET / HTTP/1.1\r\n\r\n')
  })
})

describe('response header', () => {
  test('wire form and reason', () => {
    expect(ResponseHeader.build(200, { A: 'b' }).toWire()).toBe('HTTP/1.1 200 OK\r\nA: b\r\n\r\n')
    expect(ResponseHeader.build(404).reason).toBe('Not Found')
    expect(ResponseHeader.build(299).toWire()).toBe('HTTP/1.1 299 \r\n\r\n')
    expect(ResponseHeader.build(200, {}, 'Fine').toWire()).toBe('HTTP/1.1 200 Fine\r\n\r\n')
    const old = ResponseHeader.build(200)
    old.version = 'HTTP/1.0'
    expect(old.toWire()).toBe('HTTP/1.0 200 OK\r\n\r\n')
  })

  test('setStatus sets both parts or none', () => {
    const header = ResponseHeader.build(200)
    header.setStatus(503)
    expect([header.status, header.reason]).toEqual([503, 'Service Unavailable'])
    header.setStatus(503, 'Later')
    expect(header.reason).toBe('Later')
    expect(() => header.setStatus(200, 'a\r\nb')).toThrow(TypeError)
    expect([header.status, header.reason]).toEqual([503, 'Later'])
  })

  test.each([99, 600, 200.5, Number.NaN, -200, '200' as unknown as number])(
    'refuses the status %s',
    (status) => {
      expect(() => ResponseHeader.build(status)).toThrow(RangeError)
      expect(() => ResponseHeader.build(200).setStatus(status)).toThrow(RangeError)
    },
  )

  test('setContentLength leaves one framing field', () => {
    const header = ResponseHeader.build(200, {
      'transfer-encoding': 'chunked',
      'content-length': '1',
      A: 'b',
    })
    header.setContentLength(42)
    expect(header.fields).toEqual(['Content-Length', '42', 'A', 'b'])
    expect(() => header.setContentLength(-1)).toThrow(RangeError)
    expect(() => header.setContentLength(2 ** 53)).toThrow(RangeError)
  })

  test('a clone shares nothing', () => {
    const header = ResponseHeader.build(200, { A: 'b' })
    const copy = header.clone()
    copy.setStatus(500)
    copy.removeHeader('A')
    expect(header.toWire()).toBe('HTTP/1.1 200 OK\r\nA: b\r\n\r\n')
  })
})
