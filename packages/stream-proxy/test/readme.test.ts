import { expect, test } from 'vitest'
import { runReadmeSnippets } from '../../../scripts/readme-snippet.ts'
import { testPages } from '../../../scripts/test-support/pages-suite.ts'

test('the README’s snippet runs and prints what it says', { timeout: 60_000 }, async () => {
  const [snippet] = await runReadmeSnippets(new URL('../README.md', import.meta.url))
  expect(snippet).toMatchObject({ exitCode: 0 })
  expect(snippet?.stdout).toBe('hello\n5 bytes in, 5 out\n')
})

testPages(new URL('../', import.meta.url), ['tcp-and-udp.md'])
