import { expect, test } from 'vitest'
import { runReadmeSnippets } from '../../../scripts/readme-snippet.ts'

const PACKAGE = new URL('../', import.meta.url)
const GUIDE = new URL('../../../docs/user-guide/', import.meta.url)
const PAGES = [
  'phases.md',
  'ctx.md',
  'proxy-session.md',
  'body.md',
  'retries.md',
  'forwarding.md',
  'observability.md',
]

test.each([new URL('README.md', PACKAGE), ...PAGES.map((page) => new URL(page, GUIDE))])(
  'the examples of %s print what they say',
  async (page) => {
    for (const { code, stdout, stderr, exitCode } of await runReadmeSnippets(page, PACKAGE)) {
      expect(exitCode, stderr).toBe(0)
      const promised = [...code.matchAll(/console\.log\(.*\) \/\/ (.*)$/gm)].map(
        (match) => match[1] as string,
      )
      expect(promised.length).toBeGreaterThan(0)
      const printed = stdout.trimEnd().split('\n')
      for (const line of promised) expect(printed).toContain(line)
    }
  },
)
