import { expect, test } from 'vitest'
import { runReadmeSnippets } from '../../../scripts/readme-snippet.ts'

const PACKAGE = new URL('../', import.meta.url)
const GUIDE = new URL('../../../docs/user-guide/', import.meta.url)

test.each([new URL('README.md', PACKAGE), new URL('tracing.md', GUIDE)])(
  'the examples of %s print what they say',
  async (page) => {
    for (const { code, stdout, stderr, exitCode } of await runReadmeSnippets(page, PACKAGE)) {
      expect(exitCode, stderr).toBe(0)
      const promised = [...code.matchAll(/console\.log\(.*\) \/\/ (.*)$/gm)].map((match) => match[1])
      expect(promised.length).toBeGreaterThan(0)
      expect(stdout.trimEnd().split('\n')).toEqual(promised)
    }
  },
)
