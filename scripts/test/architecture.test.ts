import { readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { describe, expect, test } from 'vitest'
import { architecture, findCycle, importsOf, packageOf } from '../architecture.ts'
import { filesUnder, packagesIn, publicPackages, readManifest, root } from '../workspace.ts'

const packages = packagesIn('packages')
const folderOf = new Map(packages.map(({ manifest, folder }) => [manifest.name, folder]))

describe('the rules themselves', () => {
  test('name only packages below, so arrows point down', () => {
    const below = new Set<string>()
    for (const [folder, { siblings }] of architecture) {
      for (const sibling of siblings) expect(below, `${folder} -> ${sibling}`).toContain(sibling)
      below.add(folder)
    }
  })

  test('findCycle finds a cycle of one, of three, and none in a diamond', () => {
    expect(findCycle(new Map([['a', ['a']]]))).toEqual(['a', 'a'])
    const three = new Map([
      ['x', ['a']],
      ['a', ['b']],
      ['b', ['c']],
      ['c', ['a']],
    ])
    expect(findCycle(three)).toEqual(['a', 'b', 'c', 'a'])
    const diamond = new Map([
      ['a', ['b', 'c']],
      ['b', ['d']],
      ['c', ['d']],
    ])
    expect(findCycle(diamond)).toBeUndefined()
  })

  test('importsOf sees every form of import and no example in a docstring', () => {
    const source = [
      "import 'side'",
      "import one from 'one'",
      "import two, { type Three } from 'two'",
      "import * as four from 'four/sub'",
      'import {',
      '  five,',
      "} from '@scope/five'",
      "export type { Six } from './six.ts'",
      "export * from 'seven'",
      "const eight = await import('eight')",
      "// import nine from 'nine' and import('ten')",
      '/**',
      " * import { eleven } from 'eleven'",
      " * await import('twelve')",
      ' */',
    ].join('\n')
    expect(importsOf(source)).toEqual(
      ['./six.ts', '@scope/five', 'eight', 'four/sub', 'one', 'seven', 'side', 'two'].sort(),
    )
  })

  test('packageOf keeps the scope and drops the path', () => {
    expect(packageOf('@cirque/http/unstable')).toBe('@cirque/http')
    expect(packageOf('undici/types/x.js')).toBe('undici')
    expect(packageOf('node:net')).toBeUndefined()
    expect(packageOf('./a.ts')).toBeUndefined()
  })
})

test('no package depends on itself by way of others', () => {
  const graph = new Map<string, string[]>()
  for (const { manifest } of packages) {
    const all = { ...manifest.dependencies, ...manifest.peerDependencies, ...manifest.optionalDependencies }
    graph.set(
      manifest.name,
      Object.keys(all).filter((name) => folderOf.has(name)),
    )
  }
  expect(findCycle(graph)).toBeUndefined()
})

describe.each(packages.map((item) => [item.manifest.name, item] as const))('%s', (_name, item) => {
  const { folder, directory, manifest } = item
  const runtime = { ...manifest.dependencies, ...manifest.peerDependencies, ...manifest.optionalDependencies }

  test('stands only on what scripts/architecture.ts allows', () => {
    const allowed = architecture.get(folder)
    expect(allowed, `add "${folder}" to scripts/architecture.ts`).toBeDefined()
    for (const name of Object.keys(runtime)) {
      const sibling = folderOf.get(name)
      if (sibling !== undefined) expect(allowed?.siblings, `${folder} -> ${sibling}`).toContain(sibling)
      else expect(allowed?.npm, `${folder} -> ${name} from npm`).toContain(name)
    }
  })

  test('takes siblings from the workspace', () => {
    for (const [name, range] of Object.entries({ ...runtime, ...manifest.devDependencies })) {
      if (folderOf.has(name)) expect(range, name).toMatch(/^workspace:/)
    }
  })

  test('declares every package that its sources import', () => {
    for (const file of filesUnder(join(directory, 'src'), '.ts')) {
      for (const name of importsOf(readFileSync(file, 'utf8')).map(packageOf)) {
        if (name === undefined) continue
        const declared = [...Object.keys(runtime), ...(architecture.get(folder)?.inlined ?? [])]
        expect(declared, `${relative(root, file)} imports "${name}"`).toContain(name)
      }
    }
  })

  test('declares every package that its tests and benches import, here or in the root', () => {
    const declared = Object.keys({
      ...runtime,
      ...manifest.devDependencies,
      ...readManifest(root).devDependencies,
      [manifest.name]: '',
    })
    for (const file of [
      ...filesUnder(join(directory, 'test'), '.ts'),
      ...filesUnder(join(directory, 'bench'), '.ts'),
    ]) {
      for (const name of importsOf(readFileSync(file, 'utf8')).map(packageOf)) {
        if (name === undefined) continue
        expect(declared, `${relative(root, file)} imports "${name}"`).toContain(name)
      }
    }
  })
})

test('examples declare every package that they import', () => {
  for (const { directory, manifest } of packagesIn('examples')) {
    const declared = Object.keys({
      ...manifest.dependencies,
      ...manifest.devDependencies,
      ...readManifest(root).devDependencies,
    })
    for (const file of [
      ...filesUnder(join(directory, 'src'), '.ts'),
      ...filesUnder(join(directory, 'test'), '.ts'),
    ]) {
      for (const name of importsOf(readFileSync(file, 'utf8')).map(packageOf)) {
        if (name === undefined) continue
        expect(declared, `${relative(root, file)} imports "${name}"`).toContain(name)
      }
    }
  }
})

test('every runtime dependency from npm has its reason in docs/design/dependencies.md', () => {
  const page = readFileSync(join(root, 'docs/design/dependencies.md'), 'utf8')
  for (const { folder, manifest } of publicPackages()) {
    const inlined = architecture.get(folder)?.inlined ?? []
    for (const name of [...Object.keys(manifest.dependencies ?? {}), ...inlined]) {
      if (!folderOf.has(name)) expect(page, `${manifest.name} needs ${name}`).toContain(`\n## ${name}\n`)
    }
  }
})
