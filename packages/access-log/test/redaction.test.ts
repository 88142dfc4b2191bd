import fc from 'fast-check'
import { expect, test } from 'vitest'
import { REDACTED_QUERY_DEFAULT, Redactor } from '../src/redaction.ts'

const SECRET = 'S3CRET'
const redactor = new Redactor()

/** A name in any case, each character as it is or percent-encoded. */
const spelling = fc
  .tuple(fc.constantFrom(...REDACTED_QUERY_DEFAULT), fc.infiniteStream(fc.tuple(fc.boolean(), fc.boolean())))
  .map(([name, choices]) => {
    let spelled = ''
    for (const character of name) {
      const [upper, encoded] = choices.next().value as [boolean, boolean]
      const letter = upper ? character.toUpperCase() : character
      spelled += encoded ? `%${letter.charCodeAt(0).toString(16)}` : letter
    }
    return spelled
  })

test('a secret never gets through, wherever it stands and however its name is spelled', () => {
  const noise = fc.string({ maxLength: 12 }).map((text) => text.replaceAll(/[&=]/g, ''))
  fc.assert(
    fc.property(
      fc.array(noise),
      spelling,
      noise,
      noise,
      fc.array(noise),
      (before, name, head, tail, after) => {
        const query = [...before, `${name}=${head}${SECRET}${tail}`, ...after].join('&')
        expect(redactor.query(query)).not.toContain(SECRET)
        expect(redactor.target(`/path?${query}`)).not.toContain(SECRET)
      },
    ),
  )
})

test('a query without a secret’s name stays as it is', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.stringMatching(/^[b-d]{0,3}$/), fc.string())), (pairs) => {
      const query = pairs.map(([name, value]) => `${name}=${value.replaceAll(/[=]/g, '')}`).join('&')
      expect(redactor.query(query)).toBe(query)
    }),
  )
})

test('names that cannot be decoded are compared as far as they can', () => {
  expect(redactor.query('%ff%74oken=a&%74%6Fken=b&tok%zzen=c')).toBe(
    '%ff%74oken=a&%74%6Fken=[redacted]&tok%zzen=c',
  )
  expect(redactor.query('+token=a&token[0]=b&token=c;d?e')).toBe(
    '+token=[redacted]&token[0]=[redacted]&token=[redacted]',
  )
})

test('a hostile query costs no more than its length', () => {
  const query = '&'.repeat(1_000_000)
  const start = performance.now()
  expect(redactor.query(query)).toBe(query)
  // In a square it would be minutes.
  expect(performance.now() - start).toBeLessThan(5_000)
})
