import { expect, test } from 'vitest'
import { runReadmeSnippets } from '../../../scripts/readme-snippet.ts'

const timeout = 60_000

test('the README’s snippet runs and prints what it says', { timeout }, async () => {
  const [snippet] = await runReadmeSnippets(new URL('../README.md', import.meta.url))
  expect(snippet).toMatchObject({ exitCode: 0 })
  expect(snippet?.stdout).toBe('hello\n5 bytes in, 5 out\n')
})

test('the examples of the guide print what they say', { timeout }, async () => {
  const page = new URL('../../../docs/user-guide/tcp-and-udp.md', import.meta.url)
  const snippets = await runReadmeSnippets(page, new URL('..', import.meta.url))
  for (const { code, stdout, exitCode } of snippets) {
    expect(exitCode).toBe(0)
    const claims = [...code.matchAll(/console\.log\(.*\) \/\/ (.*)$/gm)].map((match) => match[1])
    expect(claims.length).toBeGreaterThan(0)
    expect(stdout.trimEnd().split('\n')).toEqual(claims)
  }
})
