import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { publicPackages, root } from '../workspace.ts'

test('the code of the README compiles against the packages', () => {
  const code = [...readFileSync(join(root, 'README.md'), 'utf8').matchAll(/^```ts\n([\s\S]*?)^```$/gm)]
  expect(code.length).toBeGreaterThan(0)
  // Below the root, so that the types of Node.js are found.
  const directory = mkdtempSync(join(root, 'node_modules', '.readme-'))
  try {
    const files = code.map(([, block], index) => {
      writeFileSync(join(directory, `block-${index}.ts`), block ?? '')
      return `block-${index}.ts`
    })
    const paths = publicPackages().map(({ manifest, directory: folder }) => [
      manifest.name,
      [join(folder, 'src/index.ts')],
    ])
    const config = {
      extends: join(root, 'tsconfig.base.json'),
      compilerOptions: { noEmit: true, paths: Object.fromEntries(paths) },
      files,
    }
    writeFileSync(join(directory, 'tsconfig.json'), JSON.stringify(config))
    const tsc = join(root, 'node_modules', '.bin', process.platform === 'win32' ? 'tsc.cmd' : 'tsc')
    const { stdout } = spawnSync(tsc, ['-p', directory, '--pretty', 'false'], {
      encoding: 'utf8',
      shell: process.platform === 'win32',
    })
    // Only what is wrong in the README itself: the packages have their own type checks.
    expect(stdout.split('\n').filter((line) => line.includes('block-'))).toEqual([])
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
})
