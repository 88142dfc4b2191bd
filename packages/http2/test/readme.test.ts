import { expect, test } from 'vitest'
import { runReadmeSnippets } from '../../../scripts/readme-snippet.ts'

test('the README example prints what it says', { timeout: 60_000 }, async () => {
  const [result] = await runReadmeSnippets(new URL('../README.md', import.meta.url))
  expect(result?.stderr).toBe('')
  expect(result?.exitCode).toBe(0)
  const claimed = [...(result?.code ?? '').matchAll(/console\.log.*\/\/ (.*)/g)].map((match) => match[1])
  expect(result?.stdout.trimEnd().split('\n')).toEqual(claimed)
})
