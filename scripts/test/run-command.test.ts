import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, expect, test } from 'vitest'
import { root } from '../workspace.ts'

const module = join(root, 'scripts/run-command.cjs')
const started: ChildProcess[] = []

afterEach(() => {
  for (const child of started.splice(0)) child.kill('SIGKILL')
})

/** Starts a wrapper that runs `program` with Node.js, and yields the lines that come out. */
function wrap(
  program: string,
  args: readonly string[] = [],
): { child: ChildProcess; line: () => Promise<string> } {
  const script = `require(${JSON.stringify(module)})
    .runCommand(process.execPath, ['--eval', ${JSON.stringify(program)}, '--', ...process.argv.slice(1)], {})
    .then((status) => process.exit(status), (error) => { console.log(error.code); process.exit(1) })`
  const child = spawn(process.execPath, ['--eval', script, '--', ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  })
  started.push(child)
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return { child, line: async () => ((await lines.next()).value as string | undefined) ?? '(end)' }
}

async function statusOf(child: ChildProcess): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  return child.exitCode
}

test('arguments and the exit status pass through', async () => {
  const { child, line } = wrap('console.log(JSON.stringify(process.argv.slice(1))); process.exitCode = 7', [
    '--ba',
    '127.0.0.1:0',
    'two words',
  ])
  expect(JSON.parse(await line())).toEqual(['--ba', '127.0.0.1:0', 'two words'])
  expect(await statusOf(child)).toBe(7)
})

const COUNT_SIGNALS = `let count = 0
  process.on('SIGINT', () => { console.log('SIGINT ' + ++count) })
  process.on('SIGTERM', () => { console.log('SIGTERM'); process.exit(3) })
  setInterval(() => {}, 1000)
  console.log(process.pid)`

test.skipIf(process.platform === 'win32')(
  'a Ctrl-C that arrives from the terminal and again from npm reaches the command once',
  async () => {
    const { child, line } = wrap(COUNT_SIGNALS)
    await line()
    process.kill(-(child.pid as number), 'SIGINT')
    child.kill('SIGINT')
    expect(await line()).toBe('SIGINT 1')
    child.kill('SIGINT')
    child.kill('SIGTERM')
    expect(await line()).toBe('SIGTERM')
    expect(await statusOf(child)).toBe(3)
  },
)

test.skipIf(process.platform === 'win32')(
  'a command that a signal ends gives the status of a shell',
  async () => {
    const { child, line } = wrap('setInterval(() => {}, 1000); console.log(process.pid)')
    await line()
    child.kill('SIGTERM')
    expect(await statusOf(child)).toBe(143)
  },
)

test.skipIf(process.platform === 'win32')('a wrapper that is killed takes its command along', async () => {
  const { child, line } = wrap(COUNT_SIGNALS)
  await line()
  child.kill('SIGKILL')
  expect(await line()).toBe('SIGTERM')
  expect(await line()).toBe('(end)')
})

test('a command that does not exist is an error, not a hang', async () => {
  const script = `require(${JSON.stringify(module)}).runCommand('no-such-command-here', [], {})
    .then(() => process.exit(0), (error) => process.exit(error.code === 'ENOENT' ? 9 : 1))`
  const child = spawn(process.execPath, ['--eval', script], { stdio: 'ignore' })
  started.push(child)
  expect(await statusOf(child)).toBe(9)
})
