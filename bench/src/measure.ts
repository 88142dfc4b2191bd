import { rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Child } from './child.ts'
import { generateLoad } from './load.ts'
import { freePort, probe, untilServing } from './network.ts'
import type { BenchOptions, Mode } from './options.ts'
import { type Origin, startOrigin } from './origin.ts'
import { type Contender, contenders } from './proxies.ts'
import { readUsage, resetPeak } from './usage.ts'

/** One proxy, one case, one round. Memory in bytes, as it was at the end of the measurement. */
export interface Sample {
  proxy: string
  round: number
  cpuMicrosPerRequest: number | undefined
  requestsPerSecond: number
  p50Micros: number
  p99Micros: number
  residentBytes: number | undefined
  peakBytes: number | undefined
  errors: number
}

/** A combination of body size, connections and mode, and all that was measured with it. */
export interface Case {
  bodyBytes: number
  connections: number
  mode: Mode
  samples: Sample[]
}

/** What idle connections cost a proxy. */
export interface IdleSample {
  proxy: string
  /** Connections that were opened, used once and still stood when the memory was read. */
  connections: number
  residentBytes: number | undefined
  /** Resident memory before, after one warm-up request. */
  baseBytes: number | undefined
}

/** All measurements of one run. */
export interface Measurements {
  origin: string
  versions: Record<string, string>
  /** Proxies that were asked for and did not run, and why. */
  skipped: Record<string, string>
  cases: Case[]
  idle: IdleSample[]
}

interface Running {
  contender: Contender
  child: Child
  port: number
}

const SETTLE_MS = 100
const IDLE_TIMEOUT_MS = 60_000
// Above this, a measurement ends with a good part of the work in responses that are not whole yet.
const COUNT_BYTES_FROM = 64 * 1024

async function start(
  contender: Contender,
  origin: Origin,
  options: BenchOptions,
  directory: string,
): Promise<Running> {
  const port = await freePort()
  const context = { port, originPort: origin.port, directory, fromSource: options.fromSource }
  const command = await contender.command(context)
  const env = contender.env?.(context) ?? {}
  const child = new Child(contender.name, command, { core: options.cores[1], env })
  await untilServing(child, port, '/13')
  return { contender, child, port }
}

async function measureOnce(
  { contender, child, port }: Running,
  { bodyBytes, connections, mode }: Case,
  round: number,
  options: BenchOptions,
): Promise<Sample> {
  const path = `/${bodyBytes}`
  const { responseBytes, status } = await probe(port, path, mode === 'keep-alive')
  if (status !== 200) throw new Error(`${contender.name} answers ${status}`)
  const target = { port, path, connections, mode }
  // Code that has not been compiled and pools that are empty are not what this compares.
  if (round === 0) await generateLoad(options, { ...target, seconds: Math.min(1, options.seconds) })
  await sleep(SETTLE_MS)
  resetPeak(child.pid)
  const before = readUsage(child.pid)
  const load = await generateLoad(options, { ...target, seconds: options.seconds })
  const after = readUsage(child.pid)
  if (!child.running) throw new Error(`${contender.name} ended under load: ${child.stderr}`)
  const requests = bodyBytes >= COUNT_BYTES_FROM ? load.bytes / responseBytes : load.requests
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
  await probe(port, '/13', true)
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
  const children: Child[] = []
  const result: Measurements = { origin: '', versions: {}, skipped: {}, cases: [], idle: [] }
  function skip(name: string, reason: string): void {
    result.skipped[name] = reason
    say(`SKIPPED ${name}: ${reason}`)
  }
  try {
    const origin = await startOrigin(options, directory)
    children.push(origin.child)
    result.origin = origin.name
    const lineUp: Contender[] = []
    for (const name of options.proxies) {
      const contender = contenders.get(name) as Contender
      const missing = contender.missing(options.fromSource)
      if (missing === undefined) lineUp.push(contender)
      else skip(name, missing)
    }

    let running: Running[] = []
    for (const contender of lineUp) {
      try {
        const proxy = await start(contender, origin, options, join(directory, contender.name))
        children.push(proxy.child)
        running.push(proxy)
        result.versions[contender.name] = contender.version()
      } catch (error) {
        skip(contender.name, error instanceof Error ? error.message : String(error))
      }
    }
    if (running.length === 0) throw new Error('No proxy to measure')

    for (const bodyBytes of options.bodies) {
      for (const connections of options.connections) {
        for (const mode of options.modes) {
          const current: Case = { bodyBytes, connections, mode, samples: [] }
          result.cases.push(current)
          for (let round = 0; round < options.rounds; round += 1) {
            const first = round % running.length
            for (const proxy of [...running.slice(first), ...running.slice(0, first)]) {
              try {
                current.samples.push(await measureOnce(proxy, current, round, options))
              } catch (error) {
                skip(proxy.contender.name, error instanceof Error ? error.message : String(error))
                await proxy.child.stop()
              }
            }
            running = running.filter(({ child }) => child.running)
          }
          say(`done: ${bodyBytes} bytes, ${connections} connections, ${mode}`)
        }
      }
    }
    await Promise.all(running.map(({ child }) => child.stop()))

    if (options.idleConnections === 0) return result
    // A fresh process each: what the load left behind in memory is another matter.
    for (const { contender } of running) {
      try {
        const proxy = await start(contender, origin, options, join(directory, `${contender.name}-idle`))
        children.push(proxy.child)
        result.idle.push(await measureIdle(proxy, options))
        await proxy.child.stop()
      } catch (error) {
        skip(`${contender.name} (idle)`, error instanceof Error ? error.message : String(error))
      }
    }
    return result
  } finally {
    await Promise.all(children.map((child) => child.stop()))
    cleanUp()
    process.off('exit', cleanUp)
  }
}
