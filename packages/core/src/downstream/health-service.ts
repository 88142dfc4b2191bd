import { inspect } from 'node:util'
import { ListeningService } from '../listening/listening-service.ts'
import { type Logger, silentLogger } from '../logger.ts'
import { integer, rejectUnknown, requireOptions } from '../option-checks.ts'
import type { ServiceContext } from '../server/service.ts'
import type { HttpServerApp } from './http-server-app.ts'
import type { HttpSession } from './http-session.ts'
import { serveHttp } from './serve-http.ts'

/**
 * Answers whether something works: true or nothing for yes; false, a throw or a rejection for no. Called for each
 * request to its endpoint, but never again before its last answer.
 */
export type HealthProbe = () => HealthAnswer | Promise<HealthAnswer>

/** What a {@link HealthProbe} says. */
// biome-ignore lint/suspicious/noConfusingVoidType: TypeScript infers void for a function without a return
export type HealthAnswer = boolean | undefined | void

/** Options of {@link healthService}. */
export interface HealthServiceOptions {
  /** What must work for the process to be left alive, by name. Default none: it lives as long as it answers. */
  readonly liveness?: Readonly<Record<string, HealthProbe>>
  /** What must work for the process to be sent traffic, by name. Default none: ready from start to drain. */
  readonly readiness?: Readonly<Record<string, HealthProbe>>
  /** Default `/livez`. */
  readonly livenessPath?: string
  /** Default `/readyz`. */
  readonly readinessPath?: string
  /**
   * How long readiness fails before the services that this one depends on are drained, in milliseconds: time for
   * load balancers to see it. Default 5,000; 0 goes on at once. Its bound is an hour.
   */
  readonly drainDelayMs?: number
  /** A probe without an answer after this many milliseconds has failed. Default 1,000, from 1 to 60,000. */
  readonly probeTimeoutMs?: number
  /** Shown in logs. Default `'health'`. */
  readonly name?: string
}

const OPTION_KEYS: readonly string[] = [
  'liveness',
  'readiness',
  'livenessPath',
  'readinessPath',
  'drainDelayMs',
  'probeTimeoutMs',
  'name',
]

/**
 * Liveness and readiness over HTTP, for Kubernetes, load balancers and people.
 *
 * Readiness fails first when the server shuts down: make this service depend on those that it speaks for. It then
 * starts after them, and at shutdown they go on serving for `drainDelayMs` while readiness already fails. It answers
 * until the last of them has ended.
 *
 * @throws {TypeError | RangeError} If an option is unknown or out of bounds.
 * @example
 * const health = healthService({ readiness: { upstreams: () => upstreams.backends().length > 0 } })
 * health.addTcp('127.0.0.1:9001')
 * server.addService(health).addDependency(server.addService(proxy))
 */
export function healthService(options: HealthServiceOptions = {}): HealthService {
  return new HealthService(options)
}

/** See {@link healthService}. */
export class HealthService extends ListeningService<HttpServerApp> {
  readonly #endpoints: HealthEndpoints
  readonly #drainDelayMs: number
  #drainDelay: Promise<void> | undefined
  #isHandedOver = false
  #endDelay: () => void = () => undefined

  constructor(options: HealthServiceOptions = {}) {
    rejectUnknown(options, OPTION_KEYS, 'the health service')
    const endpoints = new HealthEndpoints(options)
    super(
      options.name ?? 'health',
      serveHttp((session) => endpoints.answer(session), { http2: false }),
      { threads: 1 }, // it answers for the whole process, also when a worker is stuck
    )
    this.#endpoints = endpoints
    this.#drainDelayMs = integer('drainDelayMs', options.drainDelayMs ?? 5_000, 0, 3_600_000)
  }

  /** Whether readiness has begun to fail for good. */
  get isDraining(): boolean {
    return this.#endpoints.isDraining
  }

  /** Makes readiness fail from now on, without a shutdown: to take this process out of service by hand. */
  startDraining(): void {
    this.#endpoints.isDraining = true
  }

  /** Probes must get through whatever the caps and sockets of the server's clients are: its options are its own. */
  override configure(): void {}

  override start(context: ServiceContext): Promise<void> {
    this.#endpoints.logger = context.logger
    return super.start(context)
  }

  /** The main thread answers, and waits. */
  override startInWorker(): void {
    this.#isHandedOver = true
  }

  /** A successor answers now, for the same address: nobody has to look elsewhere, and nothing is waited for. */
  override releaseListeners(): Promise<void> {
    this.#isHandedOver = true
    return super.releaseListeners()
  }

  /** Resolves after `drainDelayMs`. The endpoints answer on, until `destroy()`. */
  override drain(): Promise<void> {
    if (this.#isHandedOver) return super.drain()
    this.startDraining()
    this.#drainDelay ??= new Promise((resolve) => {
      const timer = setTimeout(resolve, this.#drainDelayMs)
      this.#endDelay = () => {
        clearTimeout(timer)
        resolve()
      }
    })
    return this.#drainDelay
  }

  override destroy(): void {
    this.startDraining()
    super.destroy()
    this.#drainDelay ??= Promise.resolve()
    this.#endDelay()
  }
}

/** A probe by its name, and its answer while that is being waited for. */
interface NamedProbe {
  readonly name: string
  readonly probe: HealthProbe
  running: Promise<boolean> | undefined
}

class HealthEndpoints {
  isDraining = false
  logger: Logger = silentLogger
  readonly #liveness: readonly NamedProbe[]
  readonly #readiness: readonly NamedProbe[]
  readonly #livenessPath: string
  readonly #readinessPath: string
  readonly #probeTimeoutMs: number

  constructor(options: HealthServiceOptions) {
    this.#liveness = namedProbes(options.liveness, 'liveness')
    this.#readiness = namedProbes(options.readiness, 'readiness')
    this.#livenessPath = path('livenessPath', options.livenessPath ?? '/livez')
    this.#readinessPath = path('readinessPath', options.readinessPath ?? '/readyz')
    if (this.#livenessPath === this.#readinessPath) {
      throw new TypeError(`livenessPath and readinessPath are both ${inspect(this.#livenessPath)}`)
    }
    this.#probeTimeoutMs = integer('probeTimeoutMs', options.probeTimeoutMs ?? 1_000, 1, 60_000)
  }

  async answer(session: HttpSession): Promise<void> {
    const { method, path: asked } = session.request
    const isReadiness = asked === this.#readinessPath
    if (!isReadiness && asked !== this.#livenessPath) return session.respondError(404)
    if (method !== 'GET' && method !== 'HEAD') {
      return session.respond(405, { headers: { Allow: 'GET, HEAD', 'Cache-Control': 'no-store' } })
    }
    const probes = isReadiness ? this.#readiness : this.#liveness
    const answers = await Promise.all(probes.map((probe) => this.#ask(probe)))
    if (session.downstream.closed) return
    // Asked after the wait: who drains meanwhile must not say that he is ready.
    const isDraining = isReadiness && this.isDraining
    const isWell = !isDraining && !answers.includes(false)
    const checks = Object.fromEntries(
      probes.map(({ name }, index) => [name, answers[index] ? 'ok' : 'failed']),
    )
    const status = isDraining ? 'draining' : isWell ? 'ok' : 'failed'
    session.respond(isWell ? 200 : 503, {
      headers: { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' },
      body: `${JSON.stringify({ status, checks })}\n`,
    })
  }

  /** One call at a time, however many ask: a slow probe must not pile up. */
  async #ask(named: NamedProbe): Promise<boolean> {
    const running = named.running ?? this.#run(named)
    const { promise: late, resolve } = Promise.withResolvers<boolean>()
    const timer = setTimeout(() => {
      this.logger.warn('A health probe takes too long', { probe: named.name })
      resolve(false)
    }, this.#probeTimeoutMs)
    try {
      return await Promise.race([running, late])
    } finally {
      clearTimeout(timer)
    }
  }

  #run(named: NamedProbe): Promise<boolean> {
    const running = this.#call(named)
    named.running = running
    void running.then(() => {
      named.running = undefined
    })
    return running
  }

  async #call({ name, probe }: NamedProbe): Promise<boolean> {
    try {
      return (await probe()) !== false
    } catch (error) {
      this.logger.warn('A health probe failed', { probe: name, error })
      return false
    }
  }
}

function namedProbes(
  probes: Readonly<Record<string, HealthProbe>> | undefined,
  option: string,
): NamedProbe[] {
  if (probes !== undefined) requireOptions(probes, option)
  return Object.entries(probes ?? {}).map(([name, probe]) => {
    if (typeof probe !== 'function') {
      throw new TypeError(`Probe "${name}" of ${option} must be a function, received ${inspect(probe)}`)
    }
    return { name, probe, running: undefined }
  })
}

function path(option: string, value: string): string {
  if (typeof value !== 'string' || !/^\/[\x21-\x7e]*$/.test(value) || /[?#]/.test(value)) {
    throw new TypeError(`${option} must be a path such as "/livez", received ${inspect(value)}`)
  }
  return value
}
