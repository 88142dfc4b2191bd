// Everything that a change must pass, in one go: node scripts/check.ts
// A failing step does not hide the later ones, only a failing build does.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { root } from './workspace.ts'

interface Step {
  name: string
  command: readonly string[]
  /** Nothing after it can be judged when it fails. */
  needed?: boolean
}

const steps: readonly Step[] = [
  { name: 'build', command: ['turbo', 'run', 'build', '--output-logs=errors-only'], needed: true },
  // Side by side, as far as the cores go; the package checks are cached until a package's files change.
  {
    name: 'lint, types, package checks',
    command: [
      'turbo',
      'run',
      'lint',
      'typecheck',
      'check:package',
      '--output-logs=errors-only',
      '--continue',
    ],
  },
  { name: 'install of the packed packages', command: ['node', 'scripts/check-install.ts'] },
  // Alone on the machine: tests about time do not like company.
  { name: 'tests', command: ['vitest', 'run'] },
]

const environment = {
  ...process.env,
  PATH: `${join(root, 'node_modules', '.bin')}${process.platform === 'win32' ? ';' : ':'}${process.env['PATH'] ?? ''}`,
}

const report: string[] = []
let failed = false
for (const { name, command, needed } of steps) {
  process.stdout.write(`\n== ${name} ==\n`)
  const startedAt = performance.now()
  const result = spawnSync(command[0] as string, command.slice(1), {
    cwd: root,
    env: environment,
    stdio: 'inherit',
    shell: process.platform === 'win32',
  })
  const passed = result.status === 0
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
  report.push(`${passed ? 'ok    ' : 'FAILED'} ${seconds.padStart(6)} s  ${name}`)
  if (result.error !== undefined) report.push(`       ${result.error.message}`)
  // A signal is the user's wish to stop, not a verdict.
  if (result.signal !== null) process.exit(130)
  if (passed) continue
  failed = true
  if (needed === true) break
}
process.stdout.write(`\n${report.join('\n')}\n`)
process.exitCode = failed ? 1 : 0
