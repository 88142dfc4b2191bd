import { expect, test } from 'vitest'
import { runReadmeSnippets } from '../../../scripts/readme-snippet.ts'

test('the README’s snippet runs and prints what it says', async () => {
  const [snippet] = await runReadmeSnippets(new URL('../README.md', import.meta.url))
  expect(snippet).toMatchObject({ exitCode: 0, stderr: '' })
  expect(snippet?.stdout).toBe('user 7 miss lock-hit\nhit 1\nundefined\n')
})
