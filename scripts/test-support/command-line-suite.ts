import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { ExampleProcess, type ExampleResult } from './example-process.ts'

async function run(folder: string, argv: readonly string[]): Promise<ExampleResult> {
  await using program = new ExampleProcess(folder, argv)
  return await program.ended
}

type Paths = [pidFile: string, log: string, conf: string]

/** The command line of one example. */
export interface CommandLine {
  /** Folder below `examples/`. */
  readonly folder: string
  /** What it needs besides `--ba`. */
  readonly argv?: readonly string[]
  /** Command lines that are wrong, and what must be said of each. */
  readonly mistakes?: readonly (readonly [argv: readonly string[], says: RegExp])[]
}

/** The tests that every example's command line must pass. */
export function testCommandLine({ folder, argv = [], mistakes = [] }: CommandLine): void {
  const listening = [...argv, '--ba', '127.0.0.1:0']

  // Side by side: they wait more than they work.
  describe.concurrent(`the command line of ${folder}`, () => {
    test('--help prints how to use it', async () => {
      const { status, stdout, stderr } = await run(folder, ['--help'])
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
      expect(stdout).toMatch(new RegExp(`^Usage: ${folder} `))
      expect(stdout).toContain('--ba ADDRESS')
    })

    test('-t checks the configuration and leaves', async () => {
      const { status, stderr } = await run(folder, [...listening, '-t'])
      expect(stderr).toContain('Configuration is valid')
      expect(stderr).not.toContain('Listening')
      expect(status).toBe(0)
    })

    test.each([
      [[...listening, '--bogus'], /Unknown option '--bogus'/],
      [[...argv, '--ba'], /'--ba.*argument missing/],
      [[...argv, '--ba', '127.0.0.1'], /"127\.0\.0\.1": the port is missing/],
      ...mistakes,
    ] as const)('%j is refused in one message, with status 1', async (wrong, says) => {
      const { status, stdout, stderr } = await run(folder, wrong)
      expect(stderr).toMatch(says)
      expect(stderr).not.toMatch(/\n\s+at /) // no stack: it is the user's mistake, not the program's
      expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
    })

    test('-d leaves it in the background, serving until it is told to end', async () => {
      const temporary = mkdtempSync(join(tmpdir(), `${folder}-`))
      const [pidFile, log, conf] = ['pid', 'log', 'conf.yaml'].map((name) => join(temporary, name)) as Paths
      writeFileSync(conf, `pid_file: ${pidFile}\nerror_log: ${log}\n`)
      let pid = 0
      try {
        const launched = await run(folder, [...listening, '-d', '-c', conf])
        expect(launched).toMatchObject({ status: 0, stdout: '' })
        pid = Number(readFileSync(pidFile, 'utf8'))
        process.kill(pid, 'SIGTERM')
        // It is nobody's child by now, so there is no event to wait for.
        while (existsSync(pidFile) || !readFileSync(log, 'utf8').includes(' Shut down ')) await delay(20)
        pid = 0
        expect(readFileSync(log, 'utf8')).toContain(' Listening ')
      } finally {
        if (pid > 0) process.kill(pid, 'SIGKILL')
        rmSync(temporary, { recursive: true })
      }
    })

    test('SIGTERM ends it with status 0', async () => {
      await using program = new ExampleProcess(folder, listening)
      await program.address()
      const { status, stderr } = await program.stop()
      expect(stderr).toContain('Shut down')
      expect(stderr).not.toContain('keeps the process alive')
      expect(status).toBe(0)
    })
  })
}
