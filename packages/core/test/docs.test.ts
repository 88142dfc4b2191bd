import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const GUIDE = join(import.meta.dirname, '../../../docs/user-guide')

test.each(['configuration.md', 'graceful.md', 'proxy-protocol.md', 'server-and-services.md', 'threads.md'])(
  'the examples of %s print what they say',
  (page) => {
    const folder = mkdtempSync(join(import.meta.dirname, '.tmp-'))
    try {
      const text = readFileSync(join(GUIDE, page), 'utf8')
      const snippets = [...text.matchAll(/^```ts\n(.*?)^```$/gms)].map((match) => match[1] ?? '')
      expect(snippets.length).toBeGreaterThan(0)
      for (const [index, code] of snippets.entries()) {
        const file = join(folder, `snippet-${index}.ts`)
        writeFileSync(file, code)
        const output = execFileSync(process.execPath, ['--conditions=@cirque/source', file], {
          encoding: 'utf8',
          stdio: 'pipe',
        })
        const promised = [...code.matchAll(/^ *console\.log\(.*\) \/\/ (.*)$/gm)].map(
          (match) => match[1] ?? '',
        )
        expect(promised.length).toBeGreaterThan(0)
        for (const line of promised) expect(output).toContain(line)
      }
    } finally {
      rmSync(folder, { recursive: true })
    }
  },
)
