import { expect, test } from 'vitest'
import { runReadmeSnippets } from '../../../scripts/readme-snippet.ts'

test('the README’s snippet runs, prints what it says, and ends', async () => {
  const [snippet] = await runReadmeSnippets(new URL('../README.md', import.meta.url))
  expect(snippet).toMatchObject({ exitCode: 0, stderr: '', stdout: 'one two\n1 1\n' })
})
