import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  type HttpProfile,
  RequestHeader,
  RequestHeadParser,
  ResponseHeadParser,
  removeHopByHop,
} from '../src/index.ts'
import { readCorpus } from './corpus.ts'

function received(raw: string, profile: HttpProfile = 'strict'): RequestHeader {
  const parser = new RequestHeadParser({ profile })
  const bytes = Buffer.from(raw, 'latin1')
  expect(parser.execute(bytes, 0, bytes.length), parser.failure?.code).toBeGreaterThan(0)
  return parser.takeHeader()
}

/** The same header made of its parts alone: what was received and how can no longer matter. */
function rebuilt(header: RequestHeader): RequestHeader {
  return new RequestHeader(header.method, header.target, header.version, [...header].flat())
}

/** What the wire form says when it is read again. */
function reread(wire: string): { line: string; fields: string[] } {
  const lines = wire.split('\r\n')
  expect(lines.slice(-2)).toEqual(['', ''])
  const fields = lines.slice(1, -2).flatMap((line) => {
    const colon = line.indexOf(':')
    return [line.slice(0, colon), line.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, '')]
  })
  return { line: lines[0] as string, fields }
}

test.each(['strict', 'lenient'] as const)(
  'each accepted head of the corpus is written as it reads, %s',
  (profile) => {
    for (const entry of readCorpus('requests')) {
      if (entry[profile] !== 'accept') continue
      const header = received(entry.raw, profile)
      const expected = reread(rebuilt(header).toWire())
      expect(reread(header.toWire()), entry.name).toEqual(expected)
      expect(reread(header.clone().toWire()), entry.name).toEqual(expected)
    }
    for (const entry of readCorpus('responses')) {
      if (entry[profile] !== 'accept') continue
      const parser = new ResponseHeadParser({ profile })
      const bytes = Buffer.from(entry.raw, 'latin1')
      parser.execute(bytes, 0, bytes.length)
      const header = parser.takeHeader()
      expect(reread(header.toWire()).fields, entry.name).toEqual([...header].flat())
    }
  },
)

test('each accepted head of the corpus loses the same hop-by-hop fields as one made of its parts', () => {
  for (const profile of ['strict', 'lenient'] as const) {
    for (const entry of readCorpus('requests')) {
      if (entry[profile] !== 'accept') continue
      for (const keepUpgrade of [false, true]) {
        for (const keepTrailersTe of [false, true]) {
          const options = { keepUpgrade, keepTrailersTe }
          const header = received(entry.raw, profile)
          const model = rebuilt(header.clone())
          removeHopByHop(header, options)
          removeHopByHop(model, options)
          expect(reread(header.toWire()), entry.name).toEqual(reread(model.toWire()))
          expect([...header].flat(), entry.name).toEqual(model.fields)
        }
      }
    }
  }
})

const NAMES = [
  'Host',
  'Connection',
  'connection',
  'Keep-Alive',
  'TE',
  'Upgrade',
  'Transfer-Encoding',
  'Trailer',
]
const name = fc.constantFrom(
  ...NAMES,
  'X-Hop',
  'x-hop',
  'X-Kept',
  'Content-Length',
  'Date',
  'Proxy-Connection',
)
const value = fc.constantFrom(
  '',
  'a',
  'close',
  'keep-alive',
  'close, x-hop',
  'upgrade, X-Hop',
  'trailers',
  'trailers, gzip',
  'x-kept',
)
const blank = fc.constantFrom('', ' ', '\t', ' \t ')
const line = fc.tuple(
  name.filter((text) => !/^(host|content-length|transfer-encoding)$/i.test(text)),
  blank,
  value,
  blank,
)
const action = fc.oneof(
  fc.record({ kind: fc.constant('insert' as const), name, value }),
  fc.record({ kind: fc.constant('append' as const), name, value }),
  fc.record({ kind: fc.constant('remove' as const), name }),
  fc.record({ kind: fc.constant('hop' as const), keepUpgrade: fc.boolean(), keepTrailersTe: fc.boolean() }),
  fc.record({ kind: fc.constant('read' as const) }),
  fc.record({ kind: fc.constant('clone' as const) }),
  fc.record({ kind: fc.constant('write' as const) }),
)

test('whatever is done to a received header, it holds and writes what one made of its parts would', () => {
  fc.assert(
    fc.property(fc.array(line, { maxLength: 8 }), fc.array(action, { maxLength: 8 }), (lines, actions) => {
      const block = lines.map(([key, before, text, after]) => `${key}:${before}${text}${after}\r\n`).join('')
      const raw = `GET / HTTP/1.1\r\nHost: a\r\n${block}\r\n`
      let header = received(raw)
      const untouched = received(raw)
      let model = rebuilt(received(raw))
      for (const step of actions) {
        switch (step.kind) {
          case 'insert':
            header.insertHeader(step.name, step.value)
            model.insertHeader(step.name, step.value)
            break
          case 'append':
            header.appendHeader(step.name, step.value)
            model.appendHeader(step.name, step.value)
            break
          case 'remove':
            expect(header.removeHeader(step.name)).toBe(model.removeHeader(step.name))
            break
          case 'hop':
            removeHopByHop(header, step)
            removeHopByHop(model, step)
            break
          case 'read':
            expect(header.fields).toEqual(model.fields)
            expect(header.fieldCount).toBe(model.fieldCount)
            expect(header.get('x-hop')).toBe(model.get('x-hop'))
            break
          case 'clone': {
            const left = header
            const before = model.clone()
            header = header.clone()
            model = model.clone()
            left.insertHeader('X-Left', 'behind')
            before.insertHeader('X-Left', 'behind')
            expect(left.fields).toEqual(before.fields)
            break
          }
          case 'write':
            expect(reread(header.toWire())).toEqual(reread(model.toWire()))
            break
        }
      }
      expect(reread(header.toWire())).toEqual(reread(model.toWire()))
      expect([...header].flat()).toEqual(model.fields)
      expect(untouched.fields).toEqual(received(raw).fields)
    }),
    { seed: 23, numRuns: 2000 },
  )
})

test('heads that repeat the same lines share what they say, and no edit of one shows in another', () => {
  const parser = new RequestHeadParser()
  const bytes = Buffer.from('GET / HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nX-Two: 2\r\n\r\n')
  const next = (): RequestHeader => {
    parser.execute(bytes, 0, bytes.length)
    return parser.takeHeader()
  }
  const first = next()
  expect(first.get('x-one')).toBe('1')
  const second = next()
  expect(second.lines).toBe(first.lines)
  first.insertHeader('X-One', 'edited')
  first.removeHeader('X-Two')
  second.fields[1] = 'changed by hand'
  const third = next()
  expect([...third]).toEqual([
    ['Host', 'a'],
    ['X-One', '1'],
    ['X-Two', '2'],
  ])
  expect(first.get('x-one')).toBe('edited')
  expect(second.get('host')).toBe('changed by hand')
  expect(third.clone().fields).toEqual(['Host', 'a', 'X-One', '1', 'X-Two', '2'])
})
