import { readFileSync } from 'node:fs'
import { errorCodes, type KnownErrorCode, ProxyError, statusForError } from '@cirque/error'
import { describe, expect, test } from 'vitest'

const codes = Object.keys(errorCodes) as KnownErrorCode[]

/** The rows of the table in the user guide: code, source, status, retry, meaning, advice. */
function documentedRows(): string[][] {
  const page = readFileSync(new URL('../../../docs/user-guide/errors.md', import.meta.url), 'utf8')
  return page
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) => line.slice(2, -2).split(' | '))
}

describe('the list of codes', () => {
  test('is the table of the user guide, row by row and in the same order', () => {
    const fromCode = codes.map((code) => {
      const { source, status, retry, meaning } = errorCodes[code]
      return [`\`${code}\``, source, String(status ?? 'its own'), retry, meaning]
    })
    expect(documentedRows().map((row) => row.slice(0, 5))).toEqual(fromCode)
    for (const row of documentedRows()) expect(row[5]?.trim(), row[0]).toBeTruthy()
  })

  test('says the status that an error of the usual source gets', () => {
    for (const code of codes) {
      const { source, status } = errorCodes[code]
      const error = new ProxyError(code, source, 'Failed', code === 'HTTP_STATUS' ? { status: 418 } : {})
      expect(statusForError(error), code).toBe(status ?? 418)
    }
  })

  test('cannot be changed', () => {
    expect(Object.isFrozen(errorCodes)).toBe(true)
    for (const code of codes) expect(Object.isFrozen(errorCodes[code])).toBe(true)
  })
})
