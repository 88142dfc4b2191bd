import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { PHASES } from '../src/index.ts'

const page = readFileSync(new URL('../../../docs/user-guide/phases.md', import.meta.url), 'utf8')
const source = readFileSync(new URL('../src/proxy-http.ts', import.meta.url), 'utf8')

test('PHASES and the hooks of ProxyHttp are the same names', () => {
  const start = source.indexOf('export interface ProxyHttp<')
  const body = source.slice(start, source.indexOf('\n}\n', start))
  const hooks = [...body.matchAll(/^ {2}(\w+)\??\(/gm)].map((match) => match[1])
  expect(hooks.length).toBeGreaterThan(20)
  expect(PHASES.map(({ name }) => name).sort()).toEqual(hooks.sort())
})

test('the page’s table is PHASES, row by row', () => {
  const rows = [...page.matchAll(/^\| `(\w+)` \| (\w+) \| (.*) \|$/gm)].map(
    ([, name, frequency, purpose]) => ({
      name,
      frequency,
      purpose,
    }),
  )
  expect(rows).toEqual(PHASES)
})

test('the page’s chart has every phase, and no other name', () => {
  const chart = /## The chart\n\n```text\n(.*?)```/s.exec(page)?.[1] ?? ''
  const names = new Set(chart.match(/\b[a-z]+(?:[A-Z][a-z]+)+|\blogging\b/g))
  expect([...names].sort()).toEqual(PHASES.map(({ name }) => name).sort())
})
