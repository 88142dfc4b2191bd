import { rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type CasePlan, isHttp2, PLAIN_SETUP, type Setup, setupOf, UPLOAD_PATH } from './cases.ts'
import { type Certificate, prepareCertificate } from './certificate.ts'
import { Child } from './child.ts'
import { http2GeneratorMissing } from './h2load.ts'
import { generateLoad } from './load.ts'
import { freePort, probe, untilServing } from './network.ts'
import type { BenchOptions } from './options.ts'
import { type Origin, startOrigin } from './origin.ts'
import { planCases } from './plan-cases.ts'
import { type Contender, contenders } from './proxies.ts'
import { measureRelay } from './relay.ts'
import { titleOf } from './report.ts'
import type { Case, IdleSample, Measurements, Sample } from './samples.ts'
import { readUsage, resetPeak } from './usage.ts'

interface Running {
  contender: Contender
  setup: Setup
  child: Child
  port: number
}

/** What all contenders start with. */
interface Scene {
  origin: Origin
  certificate: Certificate
  options: BenchOptions
  directory: string
}

const SETTLE_MS = 100
const WARM_UP_SECONDS = 1
const IDLE_TIMEOUT_MS = 60_000
// Above this, a measurement ends with a good part of the work in responses that are not whole yet.
const COUNT_BYTES_FROM = 64 * 1024

async function start(contender: Contender, setup: Setup, scene: Scene, name: string): Promise<Running> {
  const { origin, certificate, options } = scene
  const port = await freePort()
  const originPort = origin.ports[setup.upstream]
  const directory = join(scene.directory, name)
  const { fromSource } = options
  const context = { setup, port, originPort, directory, certificate, fromSource }
  const command = await contender.command(context)
  const env = contender.env?.(context) ?? {}
  const core = setup.threads === 1 ? options.cores[1] : undefined
  const child = new Child(contender.name, command, { core, env })
  await untilServing(child, { port, path: '/13', tls: setup.tls })
  return { contender, setup, child, port }
}

async function measureOnce(
  { contender, setup, child, port }: Running,
  { protocol, bodyBytes, connections, mode }: Case,
  round: number,
  options: BenchOptions,
): Promise<Sample> {
  const isUpload = mode === 'upload'
  const path = isUpload ? UPLOAD_PATH : `/${bodyBytes}`
  const { responseBytes, status } = await probe({ port, path, tls: setup.tls }, mode !== 'close')
  if (status !== 200) throw new Error(`${contender.name} answers ${status}`)
  const target = { protocol, port, path, connections, mode, uploadBytes: isUpload ? bodyBytes : 0 }
  // Code that has not been compiled and pools that are empty are not what this compares.
  if (round === 0) {
    const seconds = Math.min(WARM_UP_SECONDS, options.seconds)
    await generateLoad(options, { ...target, seconds })
    await generateLoad(options, { ...target, seconds })
  }
  await sleep(SETTLE_MS)
  resetPeak(child.pid)
  const before = readUsage(child.pid)
  const load = await generateLoad(options, { ...target, seconds: options.seconds })
  const after = readUsage(child.pid)
  if (!child.running) throw new Error(`${contender.name} ended under load: ${child.stderr}`)
  const requests = bodyBytes >= COUNT_BYTES_FROM && !isUpload ? load.bytes / responseBytes : load.requests
  const spent =
    before.cpuMicros === undefined || after.cpuMicros === undefined
      ? undefined
      : after.cpuMicros - before.cpuMicros
  return {
    proxy: contender.name,
    round,
    cpuMicrosPerRequest: spent === undefined || requests === 0 ? undefined : spent / requests,
    requestsPerSecond: requests / load.seconds,
    p50Micros: load.p50Micros,
    p99Micros: load.p99Micros,
    residentBytes: after.residentBytes,
    peakBytes: after.peakBytes,
    errors: load.errors,
  }
}

async function measureIdle(running: Running, options: BenchOptions): Promise<IdleSample> {
  const { contender, child, port } = running
  await probe({ port, path: '/13', tls: false }, true)
  const baseBytes = readUsage(child.pid).residentBytes
  const script = join(import.meta.dirname, 'children/idle-holder.ts')
  const args = [String(port), '/13', String(options.idleConnections)]
  const holder = new Child('idle holder', [process.execPath, script, ...args], { core: options.cores[0] })
  try {
    await holder.lines(1, IDLE_TIMEOUT_MS)
    await sleep(10 * SETTLE_MS)
    const { residentBytes } = readUsage(child.pid)
    holder.tell('?\n')
    const connections = Number((await holder.lines(2, IDLE_TIMEOUT_MS))[1])
    return { proxy: contender.name, connections, residentBytes, baseBytes }
  } finally {
    await holder.stop()
  }
}

/** Measures a case with all proxies that run; those that fail are stopped and no longer run. */
async function measureCase(
  plan: CasePlan,
  running: readonly Running[],
  options: BenchOptions,
  skip: (name: string, reason: string) => void,
): Promise<Case> {
  const current: Case = { ...plan, samples: [] }
  let left = running
  for (let round = 0; round < options.rounds; round += 1) {
    const first = round % Math.max(1, left.length)
    for (const proxy of [...left.slice(first), ...left.slice(0, first)]) {
      try {
        current.samples.push(await measureOnce(proxy, current, round, options))
      } catch (error) {
        skip(`${proxy.contender.name} (${plan.protocol})`, messageOf(error))
        await proxy.child.stop()
      }
    }
    left = left.filter(({ child }) => child.running)
  }
  return current
}

/** Runs what remains of the comparison, given an origin. */
class Comparison {
  readonly result: Measurements
  readonly #scene: Scene
  readonly #say: (line: string) => void
  readonly #children: Child[] = []

  constructor(scene: Scene, say: (line: string) => void) {
    this.#scene = scene
    this.#say = say
    const origin = scene.origin.name
    this.result = { origin, versions: {}, skipped: {}, ciphers: {}, cases: [], idle: [], relay: [] }
  }

  /** Those of the contenders that are installed. */
  lineUp(): Contender[] {
    const { proxies, fromSource } = this.#scene.options
    return proxies.flatMap((name) => {
      const contender = contenders.get(name) as Contender
      const missing = contender.missing(fromSource)
      if (missing === undefined) return [contender]
      this.skip(name, missing)
      return []
    })
  }

  readonly skip = (name: string, reason: string): void => {
    this.result.skipped[name] = reason
    this.#say(`SKIPPED ${name}: ${reason}`)
  }

  /** All cases, grouped so that each proxy starts once for those that it is set up alike for. */
  async runCases(lineUp: readonly Contender[]): Promise<void> {
    const { options } = this.#scene
    const missing = http2GeneratorMissing()
    const protocols = options.protocols.filter((protocol) => {
      if (!isHttp2(protocol) || missing === undefined) return true
      this.skip(protocol, missing)
      return false
    })
    const plans = planCases({ ...options, protocols })
    for (const setups of Object.values(Object.groupBy(plans, setupKey))) {
      const [first] = setups as [CasePlan, ...CasePlan[]]
      const setup = setupOf(first)
      const able = lineUp.filter((contender) => contender.speaks(setup))
      const running = await this.#startAll(able, setup, `${first.protocol}-${setup.threads}`)
      for (const plan of setups as CasePlan[]) {
        const alive = running.filter(({ child }) => child.running)
        this.result.cases.push(await measureCase(plan, alive, options, this.skip))
        this.#say(`done: ${titleOf(plan)}`)
      }
      await Promise.all(running.map(({ child }) => child.stop()))
    }
  }

  async #startAll(lineUp: readonly Contender[], setup: Setup, name: string): Promise<Running[]> {
    const running: Running[] = []
    for (const contender of lineUp) {
      try {
        const proxy = await start(contender, setup, this.#scene, `${contender.name}-${name}`)
        this.#children.push(proxy.child)
        running.push(proxy)
        this.result.versions[contender.name] = contender.version()
        if (!setup.tls) continue
        const { cipher } = await probe({ port: proxy.port, path: '/13', tls: true }, false)
        this.result.ciphers[contender.name] = cipher ?? ''
      } catch (error) {
        this.skip(`${contender.name} (${name})`, messageOf(error))
      }
    }
    return running
  }

  /** A fresh process each: what the load left behind in memory is another matter. */
  async runIdle(lineUp: readonly Contender[]): Promise<void> {
    const { options } = this.#scene
    for (const contender of lineUp) {
      try {
        const proxy = await start(contender, PLAIN_SETUP, this.#scene, `${contender.name}-idle`)
        this.#children.push(proxy.child)
        this.result.idle.push(await measureIdle(proxy, options))
        await proxy.child.stop()
      } catch (error) {
        this.skip(`${contender.name} (idle)`, messageOf(error))
      }
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.#children.map((child) => child.stop()))
  }
}

/**
 * Runs the whole comparison. Everything it starts has ended when the promise settles.
 *
 * @param say - Gets a line whenever something is skipped or a case is done.
 * @throws {Error} When nothing can be measured: no origin, or no proxy at all.
 */
export async function measure(options: BenchOptions, say: (line: string) => void): Promise<Measurements> {
  const directory = await mkdtemp(join(tmpdir(), 'cirque-bench-'))
  const cleanUp = (): void => rmSync(directory, { recursive: true, force: true, maxRetries: 3 })
  process.once('exit', cleanUp)
  let origin: Origin | undefined
  let comparison: Comparison | undefined
  try {
    origin = await startOrigin(options, directory)
    const certificate = await prepareCertificate(options.key, directory)
    comparison = new Comparison({ origin, certificate, options, directory }, say)
    const { result, skip } = comparison
    const lineUp = comparison.lineUp()
    await comparison.runCases(lineUp)
    if (result.cases.every(({ samples }) => samples.length === 0)) throw new Error('No proxy to measure')
    if (options.idleConnections > 0) await comparison.runIdle(lineUp)
    if (options.relayBytes > 0) result.relay = await measureRelay(options, directory, skip)
    return result
  } finally {
    await comparison?.stop()
    await Promise.all((origin?.children ?? []).map((child) => child.stop()))
    cleanUp()
    process.off('exit', cleanUp)
  }
}

function setupKey(plan: CasePlan): string {
  return JSON.stringify(setupOf(plan))
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
