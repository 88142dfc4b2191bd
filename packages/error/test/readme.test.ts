import { expect, test } from 'vitest'
import { runReadmeSnippets } from '../../../scripts/readme-snippet.ts'

test('the snippet of the user guide’s page runs and prints what it says', async () => {
  const page = new URL('../../../docs/user-guide/errors.md', import.meta.url)
  const [snippet] = await runReadmeSnippets(page, new URL('..', import.meta.url))
  expect(snippet).toMatchObject({ exitCode: 0, stderr: '' })
  expect(snippet?.stdout).toBe('404\ndownstream CUSTOM_NO_TENANT: Cannot find a tenant for this host\n')
})

test('the README’s snippet runs and prints what it says', async () => {
  const [snippet] = await runReadmeSnippets(new URL('../README.md', import.meta.url))
  expect(snippet).toMatchObject({ exitCode: 0, stderr: '' })
  expect(snippet?.stdout).toBe(
    [
      'true CONNECT_REFUSED allowed',
      '502',
      'upstream CONNECT_REFUSED: Cannot connect to "127.0.0.1:1": ECONNREFUSED; context: attempt 1 of 3; ' +
        'cause: Error: connect ECONNREFUSED 127.0.0.1:1',
      '',
    ].join('\n'),
  )
})
