import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { publicPackages, readManifest, root } from '../workspace.ts'

const engines = readManifest(root).engines?.['node']
const changesets = readdirSync(join(root, '.changeset'))
  .filter((name) => name.endsWith('.md') && name !== 'README.md')
  .map((name) => ({ name, text: readFileSync(join(root, '.changeset', name), 'utf8') }))

/** A package that exports nothing yet has nothing to describe. */
function isEmpty(directory: string): boolean {
  return readFileSync(join(directory, 'src/index.ts'), 'utf8').trim() === 'export {}'
}

describe.each(publicPackages().map((item) => [item.manifest.name, item] as const))('%s', (_name, item) => {
  const { manifest, directory, path } = item

  test('has a manifest like every other', () => {
    expect(manifest.type).toBe('module')
    expect(manifest.license).toBe('Apache-2.0')
    expect(manifest.engines?.['node']).toBe(engines)
    expect(manifest.description).toMatch(/^[A-Z].{10,}[^.]$/)
    expect(manifest.repository?.directory).toBe(path)
    expect(manifest.files).toEqual(expect.arrayContaining(['dist', 'src']))
    expect(manifest.publishConfig?.access).toBe('public')
  })

  test('publishes the exports it develops with, minus the source condition', () => {
    const without = JSON.parse(
      JSON.stringify(manifest.exports, (key, value: unknown) =>
        key === '@cirque/source' ? undefined : value,
      ),
    ) as unknown
    expect(manifest.publishConfig?.exports).toEqual(without)
    expect(JSON.stringify(manifest.exports)).toContain('@cirque/source')
  })

  test('carries the licence', () => {
    expect(readFileSync(join(directory, 'LICENSE'), 'utf8')).toBe(readFileSync(join(root, 'LICENSE'), 'utf8'))
  })
})

const written = publicPackages().filter(({ directory }) => !isEmpty(directory))

describe.each(written.map((item) => [item.manifest.name, item] as const))('%s', (_name, item) => {
  const { manifest, directory, path } = item

  test('has a README, and tests for it and for its exports', () => {
    expect(readFileSync(join(directory, 'README.md'), 'utf8')).toContain(`# ${manifest.name}\n`)
    for (const file of ['test/exports.test.ts', 'test/readme.test.ts']) {
      expect(existsSync(join(directory, file)), `${path}/${file}`).toBe(true)
    }
  })

  test('tells its users what changed, in a changeset or in CHANGELOG.md', () => {
    const named = changesets.some(({ text }) => text.split('---')[1]?.includes(`'${manifest.name}'`))
    expect(named || existsSync(join(directory, 'CHANGELOG.md')), `no changeset names ${manifest.name}`).toBe(
      true,
    )
  })

  test('lists its exports one by one', () => {
    const index = readFileSync(join(directory, 'src/index.ts'), 'utf8')
    expect(index).not.toMatch(/^export \* from/m)
    expect(index).not.toMatch(/^export default/m)
  })
})

test('every changeset names packages that exist and says something', () => {
  const names = publicPackages().map(({ manifest }) => manifest.name)
  for (const { name, text } of changesets) {
    const [, head, body] = text.split(/^---$/m)
    for (const line of (head ?? '').trim().split('\n')) {
      const [, key, bump] = /^['"]([^'"]+)['"]: (patch|minor|major)$/.exec(line) ?? []
      expect(bump, `.changeset/${name}: ${line}`).toBeDefined()
      expect(names, `.changeset/${name}`).toContain(key)
    }
    expect(body?.trim().length, `.changeset/${name} has no text`).toBeGreaterThan(10)
  }
})
