import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { publicPackages } from '../workspace.ts'

test.each(publicPackages())(
  'the README of $manifest.name says what to install for its example',
  ({ directory, manifest }) => {
    const page = readFileSync(join(directory, 'README.md'), 'utf8')
    const examples = [...page.matchAll(/^```ts\n([\s\S]*?)^```/gm)].map(([, code = '']) => code)
    expect(examples.length).toBeGreaterThan(0)
    const imported = examples.flatMap((code) => {
      return [...code.matchAll(/ from '((?:@[^/']+\/)?[^/']+)/g)].map(([, name = '']) => name)
    })
    const others = new Set(imported.filter((name) => !name.startsWith('node:') && name !== manifest.name))
    expect(page).toContain(`\nnpm install ${[manifest.name, ...[...others].sort()].join(' ')}\n`)
  },
)
