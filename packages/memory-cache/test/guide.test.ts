import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { readSettings } from '../src/read-through-options.ts'

const page = await readFile(new URL('../../../docs/user-guide/memory-cache.md', import.meta.url), 'utf8')

test('the guide’s example runs and prints what it says', async () => {
  const code = /^```ts\n(.*?)^```$/ms.exec(page)?.[1] ?? ''
  const folder = await mkdtemp(join(import.meta.dirname, '.tmp-'))
  try {
    const file = join(folder, 'guide.ts')
    await writeFile(file, code)
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [
      '--conditions=@cirque/source',
      file,
    ])
    expect([stdout, stderr]).toEqual(["{ requestsPerSecond: 5 } miss false\n[ 'hit', 'miss' ]\nmiss\n", ''])
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

test('the guide’s defaults are those of the code', () => {
  const settings = readSettings({ load: () => undefined })
  for (const [name, value] of Object.entries(settings)) {
    const written = value === Number.POSITIVE_INFINITY ? '`Infinity`' : value.toLocaleString('en-US')
    expect(page).toContain(`| \`${name}\` | ${written} |`)
  }
})
