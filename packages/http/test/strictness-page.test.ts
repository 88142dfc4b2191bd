import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { HEAD_FAILURE_CODES } from '../src/index.ts'
import { type Entry, type Kind, readCorpus } from './corpus.ts'

interface Row {
  readonly code: string
  readonly status: number
  readonly lenient: Readonly<Record<Kind, string>>
  readonly sources: readonly string[]
}

/** Codes that need more than one head to show: `head-parser.test.ts` and `chunked.test.ts` show them. */
const ELSEWHERE: readonly string[] = [
  'FORBIDDEN_TRAILER',
  'HEAD_TOO_LARGE',
  'INVALID_CHUNK',
  'TARGET_TOO_LONG',
]

const PAGE = readFileSync(new URL('../../../docs/user-guide/http1-strictness.md', import.meta.url), 'utf8')
const rows: Row[] = []
for (const line of PAGE.split('\n')) {
  const cells = line.split('|').map((cell) => cell.trim())
  const code = /^`([A-Z0-9_]+)`$/.exec(cells[1] ?? '')?.[1]
  if (code === undefined) continue
  const [, , , status, requests, responses, source] = cells as string[]
  rows.push({
    code,
    status: Number(status),
    lenient: { requests: requests as string, responses: responses as string },
    sources: (source as string).split(', '),
  })
}

const corpus: Readonly<Record<Kind, readonly Entry[]>> = {
  requests: readCorpus('requests'),
  responses: readCorpus('responses'),
}

function refusedWith(kind: Kind, code: string): Entry[] {
  return corpus[kind].filter((entry) => entry.strict !== 'accept' && entry.strict.code === code)
}

function lenientVerdict(entries: readonly Entry[]): string {
  const accepted = entries.filter((entry) => entry.lenient === 'accept').length
  if (entries.length === 0) return '–'
  if (accepted === 0) return 'refused'
  return accepted === entries.length ? 'accepted' : 'in part'
}

describe('docs/user-guide/http1-strictness.md', () => {
  test('has one row for each code, in order', () => {
    expect(rows.map((row) => row.code)).toEqual(HEAD_FAILURE_CODES)
  })

  test.each(rows.filter((row) => !ELSEWHERE.includes(row.code)))(
    '$code says what the corpus shows',
    (row) => {
      const requests = refusedWith('requests', row.code)
      const responses = refusedWith('responses', row.code)
      expect({ requests: lenientVerdict(requests), responses: lenientVerdict(responses) }).toEqual(
        row.lenient,
      )
      for (const entry of requests) expect(entry.strict).toMatchObject({ status: row.status })
      for (const entry of responses) expect(entry.strict).toMatchObject({ status: 502 })
      const rules = new Set([...requests, ...responses].map((entry) => entry.rule))
      expect([...rules].sort()).toEqual([...row.sources].sort())
    },
  )
})
