import { expect, test } from 'vitest'
import { runReadmeSnippets } from '../../../scripts/readme-snippet.ts'

/** What the code says that it prints: comments after `console.log`, or comment lines at its end. */
function claims(code: string): string[] {
  const beside = [...code.matchAll(/console\.log.*\) \/\/ (.*)/g)].map((match) => match[1] as string)
  if (beside.length > 0) return beside
  return [...code.matchAll(/^\/\/ (.*)$/gm)].map((match) => match[1] as string)
}

// A process for each example, which takes its time on a busy machine.
const timeout = 60_000

test.each(['../README.md', '../../../docs/user-guide/limits.md'])(
  'the examples of %s print what they say',
  { timeout },
  async (page) => {
    const results = await runReadmeSnippets(new URL(page, import.meta.url), new URL('..', import.meta.url))
    for (const { code, stdout, stderr, exitCode } of results) {
      expect(stderr).toBe('')
      expect(exitCode).toBe(0)
      expect(claims(code).length).toBeGreaterThan(0)
      expect(stdout.trimEnd().split('\n')).toEqual(claims(code))
    }
  },
)
