import { expect, test } from 'vitest'
import { runReadmeSnippets } from '../../../scripts/readme-snippet.ts'

test('the README’s snippet runs and prints what it says', async () => {
  const [snippet] = await runReadmeSnippets(new URL('../README.md', import.meta.url))
  expect(snippet?.exitCode, snippet?.stderr).toBe(0)
  expect(snippet?.stdout).toBe('hello from /path\nyou sent 4 bytes\n')
})
