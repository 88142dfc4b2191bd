import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { runReadmeSnippets } from '../../../scripts/readme-snippet.ts'

const guide = new URL('../../../docs/user-guide/', import.meta.url)

test.each(['modules.md', 'compression.md'])('the examples of %s print what they say', async (page) => {
  const snippets = await runReadmeSnippets(new URL(page, guide), new URL('..', import.meta.url))
  expect(snippets.length).toBeGreaterThan(1)
  for (const { code, line, stdout, stderr, exitCode } of snippets) {
    expect({ line, exitCode }, stderr).toEqual({ line, exitCode: 0 })
    const promised = [...code.matchAll(/console\.log\(.*\) \/\/ (.*)$/gm)].map(([, line]) => line)
    expect(promised.length).toBeGreaterThan(0)
    expect(stdout.trimEnd().split('\n')).toEqual(promised)
  }
})

test('every option of the compression is on its page, with its default', async () => {
  const page = await readFile(new URL('compression.md', guide), 'utf8')
  const source = await readFile(
    new URL('../../core/src/modules/compression-settings.ts', import.meta.url),
    'utf8',
  )
  const options = source.slice(source.indexOf('OPTION_NAMES'), source.indexOf('LEVEL_MAX'))
  const names = [...options.matchAll(/'(\w+)'/g)].map(([, name]) => name)
  expect(names).toHaveLength(11)
  for (const name of names) expect(page).toContain(`| \`${name}\` |`)
})
