import { expect, test } from 'vitest'
import { runReadmeSnippets } from '../../../scripts/readme-snippet.ts'

test('the README’s snippet runs and prints what it says', async () => {
  const [snippet] = await runReadmeSnippets(new URL('../README.md', import.meta.url))
  expect(snippet).toMatchObject({ exitCode: 0, stderr: '' })
  expect(snippet?.stdout).toBe(
    [
      String.raw`"GET /a HTTP/1.1\r\nHost: example.org\r\nVia: 1.1 example\r\n\r\n"`,
      '400 CONTENT_LENGTH_WITH_TRANSFER_ENCODING',
      '',
    ].join('\n'),
  )
})
