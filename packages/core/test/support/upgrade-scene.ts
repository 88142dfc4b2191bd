import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

const PROGRAMS = join(import.meta.dirname, '../programs')
const LINE_TIMEOUT_MS = 20_000
/** The sources, or with CIRQUE_BUILT=1 what a user gets: for measurements, since the sources take longer to load. */
const CONDITIONS = process.env['CIRQUE_BUILT'] === '1' ? [] : ['--conditions=@cirque/source']

/** A folder with a configuration, and all generations of one server; none of them outlives the scope. */
export class UpgradeScene implements AsyncDisposable {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'cirque-upgrade-'))
  readonly sock: string = join(this.folder, 'upgrade.sock')
  readonly pidFile: string = join(this.folder, 'pid')
  readonly conf: string = join(this.folder, 'conf.yaml')
  readonly #log: string = join(this.folder, 'log')
  readonly #env: NodeJS.ProcessEnv
  readonly #program: string
  readonly #started: number[] = []

  constructor(
    options: { readonly conf?: string; readonly env?: NodeJS.ProcessEnv; readonly program?: string } = {},
  ) {
    this.#program = resolve(PROGRAMS, options.program ?? 'upgrade-server.ts')
    this.#env = options.env ?? {}
    this.configure(options.conf ?? '')
    writeFileSync(this.#log, '')
  }

  /** Writes the configuration; `text` goes over what every scene has. */
  configure(text: string): void {
    const own = [
      `upgrade_sock: ${this.sock}`,
      `pid_file: ${this.pidFile}`,
      'upgrade_waits_for_signal: false',
      'upgrade_close_timeout_seconds: 0.6',
    ].filter((line) => !text.includes(line.slice(0, line.indexOf(':'))))
    writeFileSync(this.conf, `${own.join('\n')}\n${text}`)
  }

  /** All that any generation has written so far. */
  get log(): string {
    return readFileSync(this.#log, 'utf8')
  }

  /** The process that is in charge. */
  get pid(): number {
    return Number(readFileSync(this.pidFile, 'utf8'))
  }

  /** Starts a process; the first generation if `argv` is empty. */
  spawn(argv: readonly string[] = [], env: NodeJS.ProcessEnv = {}): ChildProcess {
    const log = openSync(this.#log, 'a')
    try {
      const child = spawn(process.execPath, [...CONDITIONS, this.#program, '-c', this.conf, ...argv], {
        stdio: ['ignore', log, log],
        env: { ...process.env, ...this.#env, ...env },
      })
      if (child.pid !== undefined) this.#started.push(child.pid)
      return child
    } finally {
      closeSync(log)
    }
  }

  /** Starts the first generation and returns its ports. */
  async start(): Promise<number[]> {
    const child = this.spawn()
    const addresses = await this.line(new RegExp(`running ${child.pid} generation 1 at (.*)\\n`))
    return [...addresses.matchAll(/:(\d+)(?: |$)/g)].map((match) => Number(match[1]))
  }

  /** Runs `--upgrade` to its end: exit status and how long it took. */
  async upgrade(env: NodeJS.ProcessEnv = {}): Promise<{ status: number | null; tookMs: number }> {
    const begun = performance.now()
    const status = await exitOf(this.spawn(['--upgrade'], env))
    return { status, tookMs: performance.now() - begun }
  }

  /** Waits until the log has a match, and returns its first group. */
  async line(pattern: RegExp): Promise<string> {
    const until = performance.now() + LINE_TIMEOUT_MS
    for (;;) {
      const found = pattern.exec(this.log)
      if (found !== null) return found[1] ?? ''
      if (performance.now() > until) throw new Error(`No ${pattern} in:\n${this.log}`)
      await delay(10)
    }
  }

  /** The processes that have spoken and still run. */
  alive(): number[] {
    return this.#spoken().filter(isAlive)
  }

  #spoken(): number[] {
    const found = this.log.matchAll(/^(\d+) phase|^preparing (\d+)/gm)
    return [...new Set([...found].map((m) => Number(m[1] ?? m[2])))]
  }

  /** Those too that were started here or are in charge, whatever they have said. */
  #left(): number[] {
    const inCharge = existsSync(this.pidFile) ? [this.pid] : []
    const pids = new Set([...this.#started, ...this.#spoken(), ...inCharge])
    return [...pids].filter((pid) => pid > 1 && isAlive(pid)) // a test may write what it likes into the file
  }

  /** Waits until only the process in charge is left. */
  async settled(): Promise<void> {
    const until = performance.now() + LINE_TIMEOUT_MS
    while (this.alive().length > 1) {
      if (performance.now() > until) throw new Error(`Left: ${this.alive()}\n${this.log}`)
      await delay(20)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const pid of this.#left()) process.kill(pid, 'SIGKILL')
    while (this.#left().length > 0) await delay(5)
    rmSync(this.folder, { recursive: true })
  }
}

/** Waits for a process: its status, or `null` if a signal ended it. */
export async function exitOf(child: ChildProcess): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  return child.exitCode
}

/** The processes that this one has started and that still run. */
export function childrenOf(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()
  return text === '' ? [] : text.split(' ').map(Number)
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}
