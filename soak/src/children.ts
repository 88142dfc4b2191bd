import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { get } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { GatewayPorts, GatewayState } from './programs/gateway.ts'
import type { OriginPorts } from './programs/origin.ts'

const PROGRAMS = join(import.meta.dirname, 'programs')
const NODE_ARGUMENTS = ['--conditions=@cirque/source', '--expose-gc']
const START_TIMEOUT_MS = 60_000
const STOP_TIMEOUT_MS = 30_000
const SAMPLE_TIMEOUT_MS = 20_000

/** A certificate and its key, PEM files that are read again on a reload. */
export interface CertificateFiles {
  readonly certFile: string
  readonly keyFile: string
}

/** Starts the origin. */
export async function startOrigin(): Promise<{ readonly ports: OriginPorts; stop(): Promise<void> }> {
  const child = spawn(process.execPath, [...NODE_ARGUMENTS, join(PROGRAMS, 'origin.ts')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ports = (await firstLine(child)) as OriginPorts
  return {
    ports,
    async stop() {
      child.kill('SIGKILL')
      await exitOf(child)
    },
  }
}

/** A gateway process, and those that take over from it. */
export class Gateway {
  readonly ports: GatewayPorts
  readonly #folder: string
  readonly #env: NodeJS.ProcessEnv
  readonly #log: string[]

  private constructor(ports: GatewayPorts, folder: string, env: NodeJS.ProcessEnv, log: string[]) {
    this.ports = ports
    this.#folder = folder
    this.#env = env
    this.#log = log
  }

  static async start(origin: OriginPorts, tls: CertificateFiles, threads: number): Promise<Gateway> {
    const folder = mkdtempSync(join(tmpdir(), 'cirque-soak-'))
    writeConfiguration(folder, 30)
    const env = {
      ...process.env,
      SOAK_ORIGIN: JSON.stringify(origin),
      SOAK_CERT: tls.certFile,
      SOAK_KEY: tls.keyFile,
      SOAK_THREADS: String(threads),
    }
    const log: string[] = []
    const child = launch(folder, env, log, [])
    const ports = (await firstLine(child)) as GatewayPorts
    return new Gateway(ports, folder, env, log)
  }

  /** The process in charge. */
  get pid(): number {
    return Number(readFileSync(join(this.#folder, 'pid'), 'utf8'))
  }

  /** The last that its processes have written. */
  get log(): string {
    return this.#log.join('')
  }

  /** Changes a setting and tells the process to read its files again. */
  reload(count: number): void {
    writeConfiguration(this.#folder, 30 + (count % 2))
    process.kill(this.pid, 'SIGHUP')
  }

  /** Puts a new process in the place of the old one, and waits until it serves and the old one has ended. */
  async upgrade(): Promise<void> {
    const old = this.pid
    const child = launch(this.#folder, this.#env, this.#log, ['--upgrade'])
    const ready = firstLine(child)
    await Promise.race([
      ready,
      exitOf(child).then((code) => {
        throw new Error(`The upgrade ended with ${code}:\n${this.log}`)
      }),
    ])
    const until = performance.now() + STOP_TIMEOUT_MS + START_TIMEOUT_MS
    while (isAlive(old)) {
      if (performance.now() > until) throw new Error(`The old process ${old} does not end:\n${this.log}`)
      await delay(50)
    }
  }

  /** What the process says of itself, after a collection if `collect` says so. */
  state(collect: boolean): Promise<GatewayState> {
    return new Promise((resolve, reject) => {
      const path = collect ? '/collected' : '/'
      const request = get({ host: '127.0.0.1', port: this.ports.admin, path, agent: false }, (response) => {
        let text = ''
        response.setEncoding('utf8').on('data', (part: string) => {
          text += part
        })
        response.on('end', () => resolve(JSON.parse(text) as GatewayState))
        response.on('error', reject)
      })
      request.setTimeout(SAMPLE_TIMEOUT_MS, () =>
        request.destroy(new Error('The gateway tells nothing of itself')),
      )
      request.on('error', reject)
    })
  }

  /** Ends the process gracefully; false if it had to be killed. */
  async stop(): Promise<boolean> {
    const { pid } = this
    process.kill(pid, 'SIGTERM')
    const until = performance.now() + STOP_TIMEOUT_MS
    while (isAlive(pid) && performance.now() < until) await delay(50)
    const ended = !isAlive(pid)
    if (!ended) process.kill(pid, 'SIGKILL')
    rmSync(this.#folder, { recursive: true })
    return ended
  }
}

function writeConfiguration(folder: string, gracePeriodSeconds: number): void {
  const lines = [
    `pid_file: ${join(folder, 'pid')}`,
    `upgrade_sock: ${join(folder, 'upgrade.sock')}`,
    'upgrade_waits_for_signal: false',
    'upgrade_close_timeout_seconds: 1',
    `grace_period_seconds: ${gracePeriodSeconds}`,
  ]
  writeFileSync(join(folder, 'conf.yaml'), `${lines.join('\n')}\n`)
}

function launch(
  folder: string,
  env: NodeJS.ProcessEnv,
  log: string[],
  flags: readonly string[],
): ChildProcess {
  const argv = [...NODE_ARGUMENTS, join(PROGRAMS, 'gateway.ts'), '-c', join(folder, 'conf.yaml'), ...flags]
  const child = spawn(process.execPath, argv, { env, stdio: ['ignore', 'pipe', 'pipe'] })
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    log.push(text)
    if (log.length > 200) log.splice(0, 100)
  })
  return child
}

/** The first line that a program writes, as JSON. */
async function firstLine(child: ChildProcess): Promise<unknown> {
  let text = ''
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const timer = setTimeout(() => reject(new Error('A program of the soak did not start')), START_TIMEOUT_MS)
  child.stdout?.setEncoding('utf8').on('data', (part: string) => {
    text += part
    const end = text.indexOf('\n')
    if (end >= 0) resolve(text.slice(0, end))
  })
  child.on('exit', (code) => reject(new Error(`A program of the soak ended with ${code}`)))
  try {
    return JSON.parse(await promise)
  } finally {
    clearTimeout(timer)
  }
}

async function exitOf(child: ChildProcess): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  return child.exitCode
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
