import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { runReadmeSnippets } from '../../../scripts/readme-snippet.ts'

const page = new URL('../../../docs/user-guide/http2-and-grpc.md', import.meta.url)

test('the example of http2-and-grpc.md prints what it says', async () => {
  const [snippet] = await runReadmeSnippets(page, new URL('..', import.meta.url))
  expect(snippet?.exitCode, snippet?.stderr).toBe(0)
  expect(snippet?.stdout.trimEnd()).toBe('echo.example asked over 2')
})

test('every HTTP/2 option of a server and of a peer is on the page', async () => {
  const text = await readFile(page, 'utf8')
  for (const file of ['downstream/http-server-options.ts', 'upstream/peer-options.ts']) {
    const source = await readFile(new URL(`../../core/src/${file}`, import.meta.url), 'utf8')
    const names = new Set(
      [...source.matchAll(/readonly (h2c|http2\w*|httpVersion)\?:/g)].map(([, name]) => name),
    )
    expect(names.size).toBeGreaterThan(3)
    for (const name of names) expect(text).toContain(`\`${name}\``)
  }
})
