import { existsSync, readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { defaultServerConditions } from 'vite'
import type { TestProjectInlineConfiguration, ViteUserConfig } from 'vitest/config'
import { LongFilesFirst } from './scripts/long-files-first.ts'

// Tests run against src: the "@cirque/source" export condition needs no build.
const conditions = ['@cirque/source', ...defaultServerConditions]

const here = import.meta.dirname

function project(name: string, root: string): TestProjectInlineConfiguration {
  return { extends: true, test: { name, root, environment: 'node' } }
}

/** One project for each folder below `parent` that has tests, named after the folder. */
function projectsIn(parent: string, prefix: string): TestProjectInlineConfiguration[] {
  if (!existsSync(join(here, parent))) return []
  return readdirSync(join(here, parent))
    .filter((folder) => existsSync(join(here, parent, folder, 'test')))
    .map((folder) => project(`${prefix}${folder}`, `${parent}/${folder}`))
}

const config: ViteUserConfig = {
  ssr: { resolve: { conditions } },
  test: {
    projects: [
      ...projectsIn('packages', ''),
      ...projectsIn('examples', 'example-'),
      project('bench', 'bench'),
      project('fuzz', 'fuzz'),
      project('soak', 'soak'),
      project('repo', 'scripts'),
    ],
    include: ['test/**/*.test.ts'],
    setupFiles: [join(here, 'scripts/test-support/unbroken.ts')],
    // A process per file: a crash, a leaked handle or a changed global stays where it happened.
    pool: 'forks',
    // Tests wait more than they work, but start servers and clients of their own: more workers than this starve each
    // other's deadlines.
    maxWorkers: Math.max(3, Math.floor(availableParallelism() / 2)),
    // Programs that tests start load the sources three times as fast when what Node.js made of them is kept.
    env: { NODE_COMPILE_CACHE: join(here, 'node_modules/.cache/compile') },
    sequence: { sequencer: LongFilesFirst },
    testTimeout: 20_000,
    hookTimeout: 20_000,
    teardownTimeout: 5_000,
    coverage: {
      provider: 'v8',
      include: ['packages/*/src/**/*.ts'],
      reporter: ['text', 'lcovonly'],
      thresholds: { lines: 80 },
    },
  },
}
export default config
