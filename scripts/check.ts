// Everything that a change must pass, in one go: node scripts/check.ts
// A failing step does not hide the later ones, only a failing build does.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { failedTestFiles } from './failed-test-files.ts'
import { root } from './workspace.ts'

/** With more failed files than this, the machine is not to blame. */
const SECOND_LOOK_FILES_MAX = 3

interface Step {
  name: string
  command: readonly string[]
  /** Nothing after it can be judged when it fails. */
  needed?: boolean
  /** What to run when it has failed, if anything: the step passes if that does, and the report says so. */
  secondLook?: () => { command: readonly string[]; note: string } | undefined
}

const scratch = mkdtempSync(join(tmpdir(), 'cirque-check-'))
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }))
const testResults = join(scratch, 'tests.json')

/** A few files once more, each alone on the machine: what passes then is named as unstable, for somebody to mend. */
function lookAgainAtTests(): { command: readonly string[]; note: string } | undefined {
  const files = failedTestFiles(testResults)
  if (files.length === 0 || files.length > SECOND_LOOK_FILES_MAX) return undefined
  return {
    command: ['vitest', 'run', '--maxWorkers=1', ...files],
    note: `UNSTABLE, passed only on their own: ${files.join(' ')}`,
  }
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
  {
    name: 'tests',
    command: ['vitest', 'run', '--reporter=default', '--reporter=json', `--outputFile.json=${testResults}`],
    secondLook: lookAgainAtTests,
  },
]

const environment = {
  ...process.env,
  PATH: `${join(root, 'node_modules', '.bin')}${process.platform === 'win32' ? ';' : ':'}${process.env['PATH'] ?? ''}`,
}

const report: string[] = []
let failed = false
function run(command: readonly string[]) {
  return spawnSync(command[0] as string, command.slice(1), {
    cwd: root,
    env: environment,
    stdio: 'inherit',
    shell: process.platform === 'win32',
  })
}

for (const { name, command, needed, secondLook } of steps) {
  process.stdout.write(`\n== ${name} ==\n`)
  const startedAt = performance.now()
  let result = run(command)
  const again = result.status === 0 || result.signal !== null ? undefined : secondLook?.()
  if (again !== undefined) {
    process.stdout.write(`\n== ${name}, once more ==\n`)
    result = run(again.command)
  }
  const passed = result.status === 0
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
  report.push(`${passed ? 'ok    ' : 'FAILED'} ${seconds.padStart(6)} s  ${name}`)
  if (passed && again !== undefined) report.push(`       ${again.note}`)
  if (result.error !== undefined) report.push(`       ${result.error.message}`)
  // A signal is the user's wish to stop, not a verdict.
  if (result.signal !== null) process.exit(130)
  if (passed) continue
  failed = true
  if (needed === true) break
}
process.stdout.write(`\n${report.join('\n')}\n`)
process.exitCode = failed ? 1 : 0
