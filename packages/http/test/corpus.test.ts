import { describe, expect, test } from 'vitest'
import { HEAD_FAILED, HEAD_FAILURE_CODES, NEED_MORE } from '../src/index.ts'
import { type Entry, expectedOf, feed, type Kind, parserOf, readCorpus } from './corpus.ts'

const KINDS: readonly Kind[] = ['requests', 'responses']
const NEXT: Readonly<Record<Kind, string>> = {
  requests: 'GET /next HTTP/1.1\r\nHost: next\r\n\r\n',
  responses: 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n',
}

describe.each(KINDS)('corpus of %s', (kind) => {
  const corpus = readCorpus(kind)

  describe.each(['strict', 'lenient'] as const)('%s', (profile) => {
    test.each(corpus)('$rule: $name', (entry: Entry) => {
      const bytes = Buffer.from(entry.raw, 'latin1')
      const expected = expectedOf(kind, entry, profile)
      const parser = parserOf(kind, profile)

      expect(feed(parser, bytes, []), 'whole').toEqual(expected)

      const step = bytes.length > 600 ? 37 : 1
      for (let cut = 1; cut < bytes.length; cut += step) {
        parser.reset()
        expect(feed(parser, bytes, [cut]), `cut at ${cut}`).toEqual(expected)
      }

      parser.reset()
      const everywhere = Array.from({ length: bytes.length - 1 }, (_, index) => index + 1)
      expect(feed(parser, bytes, everywhere), 'byte by byte').toEqual(expected)

      const followed = Buffer.concat([bytes, Buffer.from(NEXT[kind], 'latin1')])
      parser.reset()
      expect(feed(parser, followed, []), 'followed by another').toEqual(expected)
      if (expected.after === HEAD_FAILED) {
        expect(parser.execute(followed, bytes.length, followed.length), 'after a failure').toBe(HEAD_FAILED)
      } else {
        expect(parser.started).toBe(false)
        expect(parser.execute(followed, bytes.length, followed.length), 'the next').toBe(followed.length)
      }
      parser.reset()
      expect(parser.execute(Buffer.from(NEXT[kind], 'latin1'), 0, NEXT[kind].length), 'after reset').toBe(
        NEXT[kind].length,
      )
    })
  })

  test('names are unique and every refusal is a known code', () => {
    expect(new Set(corpus.map((entry) => entry.name)).size).toBe(corpus.length)
    for (const entry of corpus) {
      for (const verdict of [entry.strict, entry.lenient]) {
        if (verdict !== 'accept') expect(HEAD_FAILURE_CODES).toContain(verdict.code)
      }
    }
  })

  test('lenient refuses nothing that strict accepts', () => {
    for (const entry of corpus) {
      if (entry.strict === 'accept') expect(entry.lenient, entry.name).toBe('accept')
    }
  })
})

test('an incomplete head is asked for more and reported as started', () => {
  const parser = parserOf('requests', 'strict')
  const bytes = Buffer.from('\r\nGET / HTTP/1.1\r\nHost: a\r\n\r', 'latin1')
  expect(parser.started).toBe(false)
  expect(parser.execute(bytes, 0, 0)).toBe(NEED_MORE)
  expect(parser.started).toBe(false)
  // A parser that waits for the LF of an empty line must not pass for an idle one.
  expect(parser.execute(bytes, 0, 1)).toBe(NEED_MORE)
  expect(parser.started).toBe(true)
  expect(parser.execute(bytes, 1, 2)).toBe(NEED_MORE)
  expect(parser.started).toBe(true)
  expect(parser.execute(bytes, 2, 3)).toBe(NEED_MORE)
  expect(parser.started).toBe(true)
  expect(parser.execute(bytes, 3, bytes.length)).toBe(NEED_MORE)
  expect(parser.execute(Buffer.from('\n'), 0, 1)).toBe(1)
  expect(parser.started).toBe(false)
})
