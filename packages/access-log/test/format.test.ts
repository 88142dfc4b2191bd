import type { Session } from '@cirque/proxy'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Entry } from '../src/entry.ts'
import { compileFormat } from '../src/format.ts'
import { Redactor } from '../src/redaction.ts'

const rules = { isSecretField: () => false, valueCharactersMax: 64 }

/** An entry whose request has one field with this value. */
function entryWith(value: string): Entry {
  const entry = new Entry(new Redactor())
  const session = { request: { getCombined: () => value }, requestId: value } as unknown as Session
  entry.fill(session, undefined)
  return entry
}

const anyText = fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary-ascii' }))

test('whatever a value holds, its line is printable ASCII and its quotes stay its own', () => {
  const { line } = compileFormat('"$http_x" "$request_id"', rules)
  fc.assert(
    fc.property(anyText, (value) => {
      expect(line(entryWith(value))).toMatch(/^"[\x20\x21\x23-\x7e]*" "[\x20\x21\x23-\x7e]*"$/)
    }),
  )
})

test('a line of JSON says what the fields for a logger do', () => {
  const format = {
    2: '$status',
    b: '$http_x',
    'ä"': '$http_x$$',
    1: '$request_time',
    n: '$http_absent',
    t: 'text',
  }
  const { line, fields } = compileFormat(format, rules)
  fc.assert(
    fc.property(anyText, fc.integer({ min: 0, max: 999 }), fc.float(), (value, status, ms) => {
      const entry = new Entry(new Redactor())
      entry.fill(
        {
          request: { getCombined: (name: string) => (name === 'absent' ? undefined : value) },
          record: { startedAt: 0, endedAt: ms },
          downstream: { responseStatus: status },
        } as unknown as Session,
        undefined,
      )
      expect(line(entry)).toMatch(/^[\x20-\x7e]*$/)
      expect(JSON.parse(line(entry))).toEqual(JSON.parse(JSON.stringify(fields?.(entry))))
    }),
  )
})

test('whatever a value holds, JSON is one line of ASCII that says the same', () => {
  const { line } = compileFormat({ x: '$http_x', y: 'a $http_x' }, { ...rules, valueCharactersMax: 1_000 })
  fc.assert(
    fc.property(anyText, (value) => {
      const text = line(entryWith(value))
      expect(text).toMatch(/^[\x20-\x7e]*$/)
      expect(JSON.parse(text)).toEqual({ x: value, y: `a ${value}` })
    }),
  )
})
