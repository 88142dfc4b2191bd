import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { extractSnippets } from '../../../scripts/readme-snippet.ts'

const GUIDE = join(import.meta.dirname, '../../../docs/user-guide')

test.each(['configuration.md', 'server-and-services.md'])(
  'the examples of %s print what they say',
  (page) => {
    const folder = mkdtempSync(join(import.meta.dirname, '.tmp-'))
    try {
      const snippets = extractSnippets(readFileSync(join(GUIDE, page), 'utf8'))
      expect(snippets.length).toBeGreaterThan(0)
      for (const { code, line } of snippets) {
        const file = join(folder, `line-${line}.ts`)
        writeFileSync(file, code)
        const output = execFileSync(process.execPath, ['--conditions=@cirque/source', file], {
          encoding: 'utf8',
          stdio: 'pipe',
        })
        const promised = [...code.matchAll(/^ *console\.log\(.*\) \/\/ (.*)$/gm)].map(
          (match) => match[1] ?? '',
        )
        expect(promised.length).toBeGreaterThan(0)
        for (const text of promised) expect(output).toContain(text)
      }
    } finally {
      rmSync(folder, { recursive: true })
    }
  },
)
