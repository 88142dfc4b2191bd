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
