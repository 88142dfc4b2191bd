import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'

const STOP_GRACE_MS = 3_000
const OUTPUT_CHARACTERS_MAX = 64 * 1024

const running = new Map<ChildProcess, Child>()
// The last resort, for an exit that passed no `stop()`. Not SIGKILL: nginx would leave its workers behind.
process.on('exit', () => {
  for (const child of running.keys()) child.kill('SIGTERM')
})

/** Ends every child that still runs. */
export async function stopAll(): Promise<void> {
  await Promise.all(Array.from(running.values(), (child) => child.stop()))
}

/**
 * Moves this process to a core, and so all children that do not ask for another.
 *
 * @returns Whether there is a `taskset` to do so.
 * @throws {RangeError} If there is no such core.
 */
export function pinSelf(core: string): boolean {
  if (!isInstalled('taskset')) return false
  const { status, stderr } = spawnSync('taskset', ['-a', '-c', '-p', core, String(process.pid)], {
    encoding: 'utf8',
  })
  if (status !== 0) throw new RangeError(`Cannot move to core ${core}: ${stderr.trim()}`)
  return true
}

/** True if a program of that name is on PATH or in the folders where servers live. */
export function isInstalled(program: string): boolean {
  return spawnSync('sh', ['-c', 'command -v "$1"', 'sh', program], { env: environment() }).status === 0
}

/** The first line that a program prints about its version, on either stream, or more of them. */
export function versionOf(program: string, args: readonly string[], lines: number = 1): string {
  const { stdout, stderr } = spawnSync(program, args, {
    encoding: 'utf8',
    env: environment(),
    timeout: 5_000,
  })
  return `${stdout ?? ''}${stderr ?? ''}`.trim().split('\n').slice(0, lines).join('\n').trim()
}

function environment(extra: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  // nginx and haproxy live in sbin, which is not on every user's PATH.
  return {
    ...process.env,
    NODE_ENV: 'production',
    PATH: `${process.env['PATH'] ?? ''}:/usr/local/sbin:/usr/sbin:/sbin`,
    ...extra,
  }
}

/** Options of {@link Child}. */
export interface ChildOptions {
  /** Pins every thread to this core with `taskset`, where that exists. */
  core?: string | undefined
  env?: NodeJS.ProcessEnv
}

/** A server or tool under our care: bounded output, a bounded end, and never left behind. */
export class Child {
  readonly #process: ChildProcess
  readonly #exited: Promise<void>
  readonly name: string
  stdout: string = ''
  stderr: string = ''

  constructor(name: string, command: readonly string[], options: ChildOptions = {}) {
    this.name = name
    // Each hop is an exec, so the pid stays. The first lifts the limit on open files as far as it may go.
    const limit = 'ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)" 2>/dev/null; exec "$@"'
    const pin = options.core !== undefined && isInstalled('taskset') ? ['taskset', '-c', options.core] : []
    this.#process = spawn('sh', ['-c', limit, 'sh', ...pin, ...command], {
      env: environment(options.env),
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    running.set(this.#process, this)
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#exited = promise
    this.#process.on('error', (error) => {
      this.stderr += error.message
      running.delete(this.#process)
      resolve()
    })
    this.#process.on('close', () => {
      running.delete(this.#process)
      resolve()
    })
    this.#process.stdin?.on('error', () => {})
    this.#process.stdout?.setEncoding('utf8').on('data', (text: string) => {
      if (this.stdout.length < OUTPUT_CHARACTERS_MAX) this.stdout += text
    })
    this.#process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      if (this.stderr.length < OUTPUT_CHARACTERS_MAX) this.stderr += text
    })
  }

  get pid(): number {
    return this.#process.pid ?? -1
  }

  get running(): boolean {
    return running.has(this.#process)
  }

  /** Writes to its stdin. */
  tell(text: string): void {
    this.#process.stdin?.write(text)
  }

  /** Resolves once stdout has `count` whole lines; rejects when it ends or the time is up before. */
  async lines(count: number, timeoutMs: number): Promise<string[]> {
    const signal = AbortSignal.timeout(timeoutMs)
    for (;;) {
      const lines = this.stdout.split('\n')
      if (lines.length > count) return lines.slice(0, count)
      if (!this.running || signal.aborted)
        throw new Error(`${this.name} said too little: ${this.stderr || this.stdout}`)
      const stdout = this.#process.stdout
      if (stdout === null) throw new Error(`${this.name} has no stdout`)
      await Promise.race([once(stdout, 'data', { signal }), this.#exited]).catch(() => {})
    }
  }

  /** Resolves to its stdout when it has ended by itself; ends it and rejects when the time is up. */
  async result(timeoutMs: number): Promise<string> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, timeoutMs)
    await Promise.race([this.#exited, promise])
    clearTimeout(timer)
    if (this.running) {
      await this.stop()
      throw new Error(`${this.name} did not end within ${timeoutMs} ms`)
    }
    if (this.#process.exitCode !== 0) {
      throw new Error(
        `${this.name} ended with ${this.#process.exitCode ?? this.#process.signalCode}: ${this.stderr}`,
      )
    }
    return this.stdout
  }

  /** Asks it to end, and makes it end after three seconds. */
  async stop(): Promise<void> {
    if (!this.running) return
    this.#process.kill('SIGTERM')
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), STOP_GRACE_MS)
    await this.#exited
    clearTimeout(timer)
  }
}
