import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { extractSnippets, runReadmeSnippets } from '../../../scripts/readme-snippet.ts'

/** What the code says that it prints: comments after `console.log`, or comment lines at its end. */
function claims(code: string): string[] {
  const beside = [...code.matchAll(/console\.log.*\) \/\/ (.*)/g)].map((match) => match[1] as string)
  if (beside.length > 0) return beside
  return [...code.matchAll(/^\/\/ (.*)$/gm)].map((match) => match[1] as string)
}

test('the README example prints what it says', async () => {
  const [result] = await runReadmeSnippets(new URL('../README.md', import.meta.url))
  expect(result?.stderr).toBe('')
  expect(result?.exitCode).toBe(0)
  expect(result?.stdout.trimEnd().split('\n')).toEqual(claims(result?.code ?? ''))
})

const guide = await readFile(new URL('../../../docs/user-guide/limits.md', import.meta.url), 'utf8')

test.each(extractSnippets(guide))(
  'the guide’s example at line $line prints what it says',
  async ({ code, line }) => {
    // Inside this package, so that its own name resolves.
    const folder = await mkdtemp(fileURLToPath(new URL('.tmp-guide-', import.meta.url)))
    try {
      await writeFile(`${folder}/line-${line}.ts`, code)
      const { stdout } = await promisify(execFile)(process.execPath, [
        '--conditions=@cirque/source',
        `${folder}/line-${line}.ts`,
      ])
      expect(claims(code).length).toBeGreaterThan(0)
      expect(stdout.trimEnd().split('\n')).toEqual(claims(code))
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  },
)
