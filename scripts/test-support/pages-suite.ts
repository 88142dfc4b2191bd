import { expect, test } from 'vitest'
import { runReadmeSnippets } from '../readme-snippet.ts'

const GUIDE = new URL('../../docs/user-guide/', import.meta.url)

/**
 * Tests that all examples of some pages run, and print in order what the comments behind `console.log` say.
 *
 * @param packageFolder - Whose dependencies the examples have.
 * @param pages - `README.md`, which is the package's own, and pages of the user guide.
 */
export function testPages(packageFolder: URL, pages: readonly string[]): void {
  // A process for each example, which takes its time on a busy machine.
  test.each(pages)('the examples of %s print what they say', { timeout: 60_000 }, async (name) => {
    const page = new URL(name, name === 'README.md' ? packageFolder : GUIDE)
    for (const { code, line, stdout, stderr, exitCode } of await runReadmeSnippets(page, packageFolder)) {
      expect({ line, exitCode }, stderr).toEqual({ line, exitCode: 0 })
      const promised = [...code.matchAll(/console\.log\(.*\) \/\/ (.*)$/gm)].map((match) => match[1] ?? '')
      expect(promised.length, `line ${line}: nothing is promised`).toBeGreaterThan(0)
      // An example may print more, from its hooks.
      expect(stdout.split('\n').filter((printed) => promised.includes(printed))).toEqual(promised)
    }
  })
}
