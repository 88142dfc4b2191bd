import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'

const guide = new URL('../../../docs/user-guide/', import.meta.url)

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
