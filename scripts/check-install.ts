// Packs every public package as npm would get it, installs the tarballs into an empty folder, imports each one
// with Node.js and compiles a TypeScript program that uses them all, and the examples of their READMEs, strictly:
// node scripts/check-install.ts
// Needs no network: what the packages depend on is packed out of the workspace's own node_modules.
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { cp, mkdir, mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { type Manifest, publicPackages, readManifest, root } from './workspace.ts'

const windows = process.platform === 'win32'
const runFile = promisify(execFile)

/** Runs a tool and returns its stdout; an error carries all that it said. */
async function run(cwd: string, file: string, args: readonly string[]): Promise<string> {
  try {
    const options = { cwd, shell: windows, timeout: 120_000, maxBuffer: 64 * 1024 * 1024 }
    return (await runFile(file, [...args], options)).stdout
  } catch (cause) {
    const { message, stdout, stderr } = cause as { message: string; stdout?: string; stderr?: string }
    throw new Error([message, stdout, stderr].filter(Boolean).join('\n'), { cause })
  }
}

async function inParallel<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = []
  let next = 0
  async function lane(): Promise<void> {
    for (let index = next++; index < items.length; index = next++) {
      results[index] = await work(items[index] as T)
    }
  }
  await Promise.all(Array.from({ length: Math.max(2, availableParallelism()) }, lane))
  return results
}

/** A package installed in the workspace, found as Node.js would from `from`: own folder, then upwards. */
async function installed(name: string, from: string): Promise<string> {
  for (let directory = from; ; directory = dirname(directory)) {
    const candidate = join(directory, 'node_modules', name)
    if (existsSync(join(candidate, 'package.json'))) return await realpath(candidate)
    if (dirname(directory) === directory) throw new Error(`"${name}" is not installed, seen from ${from}`)
  }
}

/** The folders of all packages from npm that `directory` needs at run time, and that those need in turn. */
async function collect(
  directory: string,
  manifest: Manifest,
  own: Set<string>,
  found: Map<string, string>,
): Promise<void> {
  for (const name of Object.keys(manifest.dependencies ?? {})) {
    if (own.has(name) || found.has(name)) continue
    const folder = await installed(name, directory)
    found.set(name, folder)
    await collect(folder, readManifest(folder), own, found)
  }
}

/** Packs an installed package as it stands: a tarball's files live under "package/". */
async function packInstalled(
  name: string,
  folder: string,
  workspace: string,
  tarballs: string,
): Promise<string> {
  const safe = name.replace(/[^\w.-]/g, '-')
  const staging = join(workspace, 'staging', safe)
  await cp(folder, join(staging, 'package'), {
    recursive: true,
    filter: (path) => path === folder || basename(path) !== 'node_modules',
  })
  const tarball = join(tarballs, `npm-${safe}.tgz`)
  await run(staging, 'tar', ['-czf', tarball, 'package'])
  return tarball
}

/** What is wrong with a tarball's contents, sentence by sentence. */
async function faults(tarball: string): Promise<string[]> {
  const names = (await run(dirname(tarball), 'tar', ['-tzf', basename(tarball)])).trim().split(/\r?\n/)
  const manifest = await run(dirname(tarball), 'tar', ['-xzOf', basename(tarball), 'package/package.json'])
  const problems: string[] = []
  for (const file of [
    'package/LICENSE',
    'package/dist/index.js',
    'package/dist/index.d.ts',
    'package/src/index.ts',
  ]) {
    if (!names.includes(file)) problems.push(`${file} is missing`)
  }
  for (const name of names) {
    if (/^package\/(?:test|bench|node_modules|\.turbo)\//.test(name))
      problems.push(`${name} does not belong there`)
  }
  if (/"(?:workspace|catalog):/.test(manifest))
    problems.push('package.json speaks of the workspace or its catalog')
  const { exports } = JSON.parse(manifest) as Manifest
  if (JSON.stringify(exports).includes('@cirque/source'))
    problems.push('package.json still offers the source condition')
  return problems
}

/** The examples of the READMEs, as files beside the program; but for those that take more than our own packages. */
async function writeSnippets(consumer: string, available: ReadonlySet<string>): Promise<string[]> {
  const files: string[] = []
  for (const { directory } of publicPackages()) {
    const page = await readFile(join(directory, 'README.md'), 'utf8')
    for (const [, code = ''] of page.matchAll(/^```ts\n([\s\S]*?)^```/gm)) {
      const imported = [...code.matchAll(/ from '((?:@[^/']+\/)?[^/']+)/g)].map(([, name = '']) => name)
      if (imported.some((name) => !name.startsWith('node:') && !available.has(name))) continue
      const file = `${basename(directory)}-${files.length}.ts`
      await writeFile(join(consumer, file), code)
      files.push(file)
    }
  }
  return files
}

const packages = publicPackages()
const own = new Set(packages.map(({ manifest }) => manifest.name))
const workspace = await mkdtemp(join(tmpdir(), 'cirque-install-'))
try {
  const tarballs = join(workspace, 'tarballs')
  const consumer = join(workspace, 'consumer')
  await mkdir(tarballs)
  await mkdir(consumer)

  const specs: Record<string, string> = {}
  const problems: string[] = []
  await inParallel(packages, async ({ directory, manifest }) => {
    const file = `${manifest.name.replace('@', '').replace('/', '-')}-${manifest.version}.tgz`
    await run(directory, 'pnpm', ['pack', '--pack-destination', tarballs])
    specs[manifest.name] = `file:${join(tarballs, file)}`
    for (const problem of await faults(join(tarballs, file))) problems.push(`${manifest.name}: ${problem}`)
  })
  if (problems.length > 0) throw new Error(`Bad tarballs:\n${problems.join('\n')}`)

  const third = new Map<string, string>()
  for (const { directory, manifest } of packages) await collect(directory, manifest, own, third)
  // A user's TypeScript program on Node.js has these types; the compiler itself is the workspace's.
  await collect(root, { name: '', version: '', dependencies: { '@types/node': '*' } }, own, third)
  await inParallel([...third], async ([name, folder]) => {
    specs[name] = `file:${await packInstalled(name, folder, workspace, tarballs)}`
  })

  const manifest = { private: true, type: 'module', dependencies: specs }
  await writeFile(join(consumer, 'package.json'), JSON.stringify(manifest, null, 2))
  const flags = ['--offline', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']
  await run(consumer, 'npm', ['install', ...flags, `--cache=${join(workspace, 'npm-cache')}`])

  const names = [...own].sort()
  const javascript = names.map((name) => `await import('${name}')`).join('\n')
  await writeFile(join(consumer, 'use.js'), `${javascript}\n`)
  // Each alone as well: a package must not live off another one having been loaded first.
  await inParallel(names, (name) =>
    run(consumer, process.execPath, ['--input-type=module', '--eval', `await import('${name}')`]),
  )
  await run(consumer, process.execPath, ['use.js'])
  // Node.js 24 and later load ES modules by require() too, unless they await at the top.
  await run(consumer, process.execPath, [
    '--input-type=commonjs',
    '--eval',
    names.map((name) => `require('${name}')`).join(';'),
  ])

  const typescript = names.map((name, index) => `import * as p${index} from '${name}'`).join('\n')
  const used = names.map((_name, index) => `p${index}`).join(', ')
  await writeFile(
    join(consumer, 'use.ts'),
    `${typescript}\nexport const all: readonly object[] = [${used}]\n`,
  )
  const snippets = await writeSnippets(consumer, new Set(Object.keys(specs)))
  const tsconfig = {
    compilerOptions: {
      target: 'es2024',
      module: 'nodenext',
      strict: true,
      exactOptionalPropertyTypes: true,
      noEmit: true,
      skipLibCheck: false,
      types: ['node'],
    },
    files: ['use.ts', ...snippets],
  }
  await writeFile(join(consumer, 'tsconfig.json'), JSON.stringify(tsconfig))
  await run(consumer, join(root, 'node_modules', '.bin', 'tsc'), ['-p', '.'])
  const bundler = { ...tsconfig.compilerOptions, module: 'esnext', moduleResolution: 'bundler' }
  await writeFile(join(consumer, 'tsconfig.json'), JSON.stringify({ ...tsconfig, compilerOptions: bundler }))
  await run(consumer, join(root, 'node_modules', '.bin', 'tsc'), ['-p', '.'])

  process.stdout.write(`Installed, imported and compiled against: ${names.join(', ')}\n`)
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
} finally {
  await rm(workspace, { recursive: true, force: true, maxRetries: 3 })
}
