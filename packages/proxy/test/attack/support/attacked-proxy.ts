import { type ChildProcess, fork } from 'node:child_process'
import { once as event } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Order } from '../programs/attacker.ts'
import type { Usage } from '../programs/proxy.ts'
import { type Attack, MIB, type Target } from './attack.ts'
import { ATTACKS } from './attacks.ts'
import { fairWaits, type Waits } from './fair-client.ts'
import { BUSY } from './spin.ts'

/** A fair client's p99 under attack may be so many times what it is while nobody attacks. */
const SLOWER_MAX = 5
/** How often a p99 above its bound is measured again: an attack goes on, what else disturbs does not. */
const WINDOWS_MAX = 4
/** Memory that a garbage collector may still hold when all is over. */
const SLACK_BYTES: number = 16 * MIB
const DESCRIPTORS_SLACK = 16

/** What an attack did, and what was allowed. */
export interface Outcome {
  readonly quiet: Waits
  readonly attacked: Waits
  readonly p99MaxMs: number
  /** How often attackers connected. */
  readonly connects: number
  /** What it took in addition while it went on. */
  readonly bytes: number
  readonly bytesMax: number
  readonly descriptors: number
  /** What was left of it in the end. */
  readonly left: Usage
  /** What did not hold; empty if all did. */
  readonly faults: readonly string[]
}

/** How long fair clients are measured, at least. */
export interface Span {
  readonly count: number
  readonly ms: number
  /** A p99 up to this is in order whatever the quiet one was: below, it is the machine that is measured. */
  readonly p99FloorMs: number
}

/** A proxy in a process of its own, its origins and its attackers in others. Disposal ends them all. */
export class AttackedProxy implements AsyncDisposable {
  readonly target: Target
  readonly #programs: readonly ChildProcess[]
  readonly #proxy: ChildProcess
  readonly #attacker: ChildProcess
  readonly #evil: ChildProcess
  /** What it used before the first attack. */
  readonly #base: Usage
  /** How it ended, if it did. */
  #exited: string | null = null

  private constructor(programs: readonly ChildProcess[], ports: readonly number[], base: Usage) {
    this.#programs = programs
    this.#proxy = programs[0] as ChildProcess
    this.#attacker = programs[1] as ChildProcess
    this.#evil = programs[3] as ChildProcess
    const [port, tlsPort] = ports as [number, number]
    this.target = { port, tlsPort }
    this.#base = base
    this.#proxy.on('exit', (code, signal) => {
      this.#exited = `${code ?? signal}`
    })
  }

  static async start(): Promise<AttackedProxy> {
    const [[fair, fairPort], [evil, evilPort], [attacker]] = await Promise.all([
      launch('origin.ts'),
      launch('origin.ts'),
      launch('attacker.ts'),
    ])
    const [proxy, ports] = await launch('proxy.ts', `127.0.0.1:${fairPort}`, `127.0.0.1:${evilPort}`)
    const [port] = ports as [number]
    // What is compiled now is not measured later.
    await fairWaits(port, { count: 300, ms: 0 })
    return new AttackedProxy([proxy, attacker, fair, evil], ports as number[], await usageOf(proxy))
  }

  /** Measures, attacks and measures, and waits until all is given back. */
  async meet(name: string, span: Span): Promise<Outcome> {
    const attack = ATTACKS[name] as Attack
    const quiet = await fairWaits(this.target.port, span)
    let p99MaxMs = Math.max(span.p99FloorMs, SLOWER_MAX * quiet.p99)
    // Each attack pays for itself: what the ones before have warmed up is no cost of this one.
    const before = await this.#usage()
    await this.#order(name)
    await sleep(300)
    let attacked = await fairWaits(this.target.port, span)
    const during = await this.#usage()
    for (let window = 1; window < WINDOWS_MAX && attacked.p99 > p99MaxMs; window++) {
      attacked = await fairWaits(this.target.port, span)
    }
    const connects = await this.#order('')
    // What a machine that is as busy does to fair clients, without any attack, is no fault of the proxy.
    if (attacked.p99 > p99MaxMs) p99MaxMs = Math.max(p99MaxMs, SLOWER_MAX * (await this.busy(span)).p99)
    const left = await this.#givenBack()
    const bytes = during.bytes - before.bytes
    const bytesMax = attack.clients * attack.bytesMax + 8 * MIB
    const descriptors = during.descriptors - before.descriptors
    const faults: string[] = []
    if (attacked.p99 > p99MaxMs) faults.push(`fair p99 of ${attacked.p99.toFixed(1)} ms`)
    if (bytes > bytesMax) faults.push(`${mib(bytes)} in use, of ${mib(bytesMax)}`)
    return {
      quiet,
      attacked,
      p99MaxMs,
      connects,
      bytes,
      bytesMax,
      descriptors,
      left,
      faults: [...faults, ...this.#leaks(left)],
    }
  }

  /** What fair clients wait for while attackers and the origin that does harm are as busy as can be, with themselves. */
  async busy(span: Pick<Span, 'count' | 'ms'>): Promise<Waits> {
    this.#evil.send(true)
    await this.#order(BUSY)
    const waits = await fairWaits(this.target.port, span)
    this.#evil.send(false)
    await this.#order('')
    return waits
  }

  /** Starts an attack that nobody ends: timeouts have to. The outcome is what is left. */
  async outlive(names: readonly string[]): Promise<readonly string[]> {
    for (const name of names) await this.#order(name, true)
    await sleep(300)
    return this.#leaks(await this.#givenBack())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const running = this.#programs.filter(({ connected }) => connected)
    const ended = Promise.all(running.map((program) => event(program, 'exit')))
    for (const program of running) program.disconnect()
    await ended
  }

  async #order(attack: string, once = false): Promise<number> {
    const order: Order = { attack, once, ...this.target }
    this.#attacker.send(order)
    const [connects] = (await event(this.#attacker, 'message')) as [number]
    return connects
  }

  #usage(): Promise<Usage> {
    if (this.#exited !== null) throw new Error(`The proxy has ended: ${this.#exited}`)
    return usageOf(this.#proxy)
  }

  #leaks(left: Usage): string[] {
    const faults: string[] = []
    for (const what of ['active', 'connections', 'upstreams'] as const) {
      if (left[what] > 0) faults.push(`${left[what]} ${what} left`)
    }
    const bytes = left.bytes - this.#base.bytes
    if (bytes > SLACK_BYTES) faults.push(`${mib(bytes)} left`)
    const descriptors = left.descriptors - this.#base.descriptors
    if (descriptors > DESCRIPTORS_SLACK) faults.push(`${descriptors} descriptors left`)
    return faults
  }

  /** What is used once everything has been given back, or after a deadline. */
  async #givenBack(): Promise<Usage> {
    const deadline = performance.now() + 60_000
    for (;;) {
      const now = await this.#usage()
      if (this.#leaks(now).length === 0 || performance.now() > deadline) return now
      await sleep(50)
    }
  }
}

/** Starts a program and gives what it sends first: its port, or ports. */
async function launch(program: string, ...args: readonly string[]): Promise<[ChildProcess, unknown]> {
  const started = fork(join(import.meta.dirname, '../programs', program), args, {
    execArgv: ['--conditions=@cirque/source', '--expose-gc'],
  })
  const [given] = (await event(started, 'message')) as [unknown]
  return [started, given]
}

async function usageOf(proxy: ChildProcess): Promise<Usage> {
  proxy.send('usage')
  const [given] = (await event(proxy, 'message')) as [Usage]
  return given
}

/** Bytes as text. */
export function mib(bytes: number): string {
  return `${(bytes / MIB).toFixed(1)} MiB`
}
