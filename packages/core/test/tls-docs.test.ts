import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ListeningService } from '../src/index.ts'

const page = readFileSync(new URL('../../../docs/user-guide/tls.md', import.meta.url), 'utf8')

test('the example of tls.md prints what it says', () => {
  // Its folder holds the two files that it names.
  const folder = mkdtempSync(join(import.meta.dirname, '.tmp-'))
  try {
    cpSync(join(import.meta.dirname, 'data'), folder, { recursive: true })
    const snippets = [...page.matchAll(/^```ts\n(.*?)^```$/gms)].map((match) => match[1] ?? '')
    expect(snippets).toHaveLength(1)
    const file = join(folder, 'snippet.ts')
    writeFileSync(file, snippets[0] ?? '')
    const argv = ['--conditions=@cirque/source', file]
    const output = execFileSync(process.execPath, argv, { cwd: folder, encoding: 'utf8', stdio: 'pipe' })
    expect(output).toContain('TLSv1.3 true\n')
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('every option of addTls that tls.md lists is one', () => {
  const names = [...page.matchAll(/^\| ([^|]+) \|/gm)].flatMap(([, cell]) => cell?.match(/`\w+`/g) ?? [])
  expect(names.length).toBeGreaterThan(30)
  const nested = [
    'addTls',
    'entriesMax',
    'refreshMs',
    'absentMs',
    'loadsMax',
    'timeoutMs',
    'mode',
    'perNamePolicies',
    'caFile',
    'crlFile',
    'verify',
    'verifyTimeoutMs',
    'hostCheck', // an option of the HTTP service
  ]
  const unknown = names
    .map((name) => name.slice(1, -1))
    .filter((name) => {
      const service = new ListeningService('x', {
        onConnection: () => undefined,
        startDraining: () => undefined,
      })
      try {
        service.addTls('127.0.0.1:0', { [name]: undefined })
      } catch (error) {
        return /Unknown option/.test(String(error)) && !nested.includes(name)
      }
      return false
    })
  expect(unknown).toEqual([])
})
