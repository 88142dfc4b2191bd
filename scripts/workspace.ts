import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The repository's root folder, absolute, without a trailing slash. */
export const root: string = fileURLToPath(new URL('..', import.meta.url)).replace(/[/\\]$/, '')

/** The fields of a package.json that the checks read. */
export interface Manifest {
  name: string
  version: string
  private?: boolean
  license?: string
  type?: string
  description?: string
  files?: string[]
  engines?: Record<string, string>
  exports?: Record<string, unknown>
  publishConfig?: { access?: string; exports?: Record<string, unknown> }
  repository?: { directory?: string }
  dependencies?: Record<string, string>
  devDependencies?: Record<string, string>
  peerDependencies?: Record<string, string>
  optionalDependencies?: Record<string, string>
}

/** One workspace package: its folder, both ways, and its manifest. */
export interface WorkspacePackage {
  /** `packages/http` */
  path: string
  /** `http` */
  folder: string
  directory: string
  manifest: Manifest
}

/** Reads a manifest. */
export function readManifest(directory: string): Manifest {
  return JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as Manifest
}

/** All packages under `packages/` or `examples/`, sorted by folder. A folder without a manifest is none. */
export function packagesIn(parent: 'packages' | 'examples'): WorkspacePackage[] {
  const packages: WorkspacePackage[] = []
  if (!existsSync(join(root, parent))) return packages
  for (const folder of readdirSync(join(root, parent)).sort()) {
    const directory = join(root, parent, folder)
    if (!existsSync(join(directory, 'package.json'))) continue
    packages.push({ path: `${parent}/${folder}`, folder, directory, manifest: readManifest(directory) })
  }
  return packages
}

/** The packages that go to npm. */
export function publicPackages(): WorkspacePackage[] {
  return packagesIn('packages').filter(({ manifest }) => manifest.private !== true)
}

/** All files below `directory` whose name ends in `suffix`, absolute. Installed and built ones are left out. */
export function filesUnder(directory: string, suffix: string): string[] {
  if (!existsSync(directory)) return []
  const files: string[] = []
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name)
    if (entry.isDirectory()) {
      if (!/^(?:node_modules|dist|coverage|\.turbo|\.toolchain|\.git)$/.test(entry.name)) {
        files.push(...filesUnder(path, suffix))
      }
    } else if (entry.name.endsWith(suffix)) {
      files.push(path)
    }
  }
  return files.sort()
}
