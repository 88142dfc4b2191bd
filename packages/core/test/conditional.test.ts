import { RequestHeader, ResponseHeader } from '@cirque/http'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { listsEntityTag, notModifiedFilter, toNotModified } from '../src/index.ts'

const MODIFIED = 'Sat, 21 Nov 2026 10:00:00 GMT'

function response(fields: Record<string, string>, status = 200): ResponseHeader {
  return ResponseHeader.build(status, fields)
}

describe('If-None-Match', () => {
  test.each([
    ['"a"', '"a"', true],
    ['W/"a"', '"a"', true],
    ['"a"', 'W/"a"', true],
    ['"b", W/"a"', '"a"', true],
    ['"b"  ,,\t"a"', '"a"', true],
    ['"a,b"', '"a,b"', true],
    ['"a,b"', '"b"', false],
    ['a', '"a"', true],
    ['"a"', 'a', true],
    ['W/a, b', '"b"', true],
    ['"b"', '"a"', false],
    ['', '"a"', false],
    ['"a', '"a"', false],
    ['"b" "a"', '"a"', true],
    ['""', '""', true],
  ])('%s against %s: %s', (tags, etag, expected) => {
    const request = RequestHeader.build('GET', '/', { 'If-None-Match': tags })
    expect(notModifiedFilter(request, response({ ETag: etag }))).toBe(expected)
  })

  test('* matches whatever there is', () => {
    const request = RequestHeader.build('GET', '/', { 'If-None-Match': '*' })
    expect(notModifiedFilter(request, response({}))).toBe(true)
  })

  test('decides alone when If-Modified-Since is there as well (RFC 9110 §13.2.2)', () => {
    const request = RequestHeader.build('GET', '/', {
      'If-None-Match': '"b"',
      'If-Modified-Since': MODIFIED,
    })
    expect(notModifiedFilter(request, response({ ETag: '"a"', 'Last-Modified': MODIFIED }))).toBe(false)
  })

  test('finds a tag wherever it stands in a list', () => {
    const tag = fc
      .string({ unit: fc.constantFrom('a', 'b', ',', ' ', '/', 'W'), maxLength: 6 })
      .map((text) => `"${text.replaceAll(' ', '!')}"`)
    fc.assert(
      fc.property(fc.array(tag, { minLength: 1 }), tag, fc.boolean(), (tags, wanted, weak) => {
        const list = tags.map((each, i) => (i % 2 === 0 ? each : `W/${each}`)).join(', ')
        expect(listsEntityTag(list, weak ? `W/${wanted}` : wanted)).toBe(tags.includes(wanted))
      }),
    )
  })
})

describe('If-Modified-Since', () => {
  test.each([
    [MODIFIED, true],
    ['Sat, 21 Nov 2026 10:00:01 GMT', true],
    ['Sat, 21 Nov 2026 09:59:59 GMT', false],
    ['Saturday, 21-Nov-26 10:00:00 GMT', true],
    ['yesterday', false],
  ])('%s: %s', (since, expected) => {
    const request = RequestHeader.build('GET', '/', { 'If-Modified-Since': since })
    expect(notModifiedFilter(request, response({ 'Last-Modified': MODIFIED }))).toBe(expected)
    expect(notModifiedFilter(request, response({}))).toBe(false)
  })
})

test('only GET and HEAD with 200 are conditional here', () => {
  const header = response({ ETag: '"a"' })
  for (const method of ['GET', 'HEAD']) {
    expect(notModifiedFilter(RequestHeader.build(method, '/', { 'If-None-Match': '"a"' }), header)).toBe(true)
  }
  expect(notModifiedFilter(RequestHeader.build('POST', '/', { 'If-None-Match': '"a"' }), header)).toBe(false)
  const get = RequestHeader.build('GET', '/', { 'If-None-Match': '"a"' })
  expect(notModifiedFilter(get, response({ ETag: '"a"' }, 404))).toBe(false)
})

test('RFC 9110 §15.4.5: a 304 keeps what a cache needs and nothing of the body', () => {
  const header = response({
    ETag: '"a"',
    'Content-Type': 'text/plain',
    'Content-Length': '5',
    'Content-Encoding': 'gzip',
    'Accept-Ranges': 'bytes',
    Vary: 'Accept',
    'Cache-Control': 'max-age=60',
  })
  toNotModified(header)
  expect(header.status).toBe(304)
  expect([...header].map(([name]) => name)).toEqual(['ETag', 'Vary', 'Cache-Control'])
})
