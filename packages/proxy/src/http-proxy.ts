import { inspect } from 'node:util'
import {
  Connector,
  type ConnectorOptions,
  type HttpModules,
  HttpServerApp,
  type HttpServerHandler,
  type HttpServerOptions,
  HttpSession,
  type Logger,
  type ServerSession,
  silentLogger,
} from '@cirque/core'
import { ProxyError } from '@cirque/error'
import { connectorOptions, type ProxyConfiguration, serverOptions } from './configured.ts'
import { type ConnectOptions, ConnectTunnels } from './connect-tunnels.ts'
import { ProxyExchange } from './exchange/exchange.ts'
import type { ExchangeHost } from './exchange/exchange-host.ts'
import { isBroken } from './exchange/exchange-states.ts'
import { Forwarding, type ForwardingOptions } from './forwarding.ts'
import { GuardedLogger } from './guarded-logger.ts'
import { checkHooks } from './hooks/hook-names.ts'
import { Watching } from './observing/observers.ts'
import type { ProxyObserver } from './observing/proxy-observer.ts'
import { requireOptions } from './option-checks.ts'
import type { ProxyHttp } from './proxy-http.ts'
import { type RetryPermission, TokenRetryBudget } from './retry/retry-budget.ts'
import { downstreamModules, upstreamModules } from './upstream-modules.ts'

/** How a proxy treats its upstreams and failed attempts. */
export interface HttpProxyOptions {
  /** Attempts per request, the first included, 1 to 100. Default: the configuration's `maxRetries`, 16. */
  readonly maxRetries?: number
  /** How much of a request's body is kept for a further attempt, in bytes. Default: the configuration's `retryBufferBytesMax`, 65,536; 0 keeps none. */
  readonly retryBufferBytesMax?: number
  /**
   * Statuses of an upstream that are tried again elsewhere, while nothing was sent to the client and only for
   * idempotent methods: `[502, 503, 504]`. Default none.
   */
  readonly retryStatuses?: readonly number[]
  /** The wait before the second retry, in milliseconds; it doubles from then on, with jitter. The first is at once. Default 25. */
  readonly retryBackoffMs?: number
  /** The longest such wait, in milliseconds. Default 1,000. */
  readonly retryBackoffMaxMs?: number
  /** Keeps retries to a share of the requests; false for no such limit. Default: a {@link TokenRetryBudget} of its own. */
  readonly retryBudget?: RetryPermission | false
  /**
   * How long a hook may take to answer, in milliseconds; then its request ends with `FILTER_TIMEOUT`, 500. A body filter
   * has it anew for each chunk, and so has a hook whose reading of the body goes on or that answers by itself. 0 for no
   * limit. Default: the configuration's `filterTimeoutSeconds`, 60,000.
   */
  readonly filterTimeoutMs?: number
  /** To whom clients may open tunnels with CONNECT, over HTTP/1 and HTTP/2. Default: to nobody, 405. */
  readonly connect?: ConnectOptions
  /** What to tell upstreams about clients. Default: nothing. */
  readonly forwarding?: ForwardingOptions
  /** How clients are treated: timeouts, limits, strictness. What it leaves open the configuration says. */
  readonly server?: HttpServerOptions
  /** How upstreams are connected to. What it leaves open the configuration says. */
  readonly connector?: ConnectorOptions
  /** Who watches the requests: access logs, metrics, traces. Called in this order. Default none, which costs nothing. */
  readonly observers?: readonly ProxyObserver[]
  /** Record when each step of a request happened. Default: if `logging` is implemented or somebody watches. */
  readonly recordTimes?: boolean
  /** Default: the server's logger once the service has started, until then none. */
  readonly logger?: Logger
}

const OPTION_NAMES: ReadonlySet<string> = new Set([
  'maxRetries',
  'retryBufferBytesMax',
  'retryStatuses',
  'retryBackoffMs',
  'retryBackoffMaxMs',
  'retryBudget',
  'filterTimeoutMs',
  'connect',
  'forwarding',
  'server',
  'connector',
  'logger',
  'recordTimes',
  'observers',
])

/** What a proxy has done so far. */
export interface HttpProxyStats {
  readonly requests: number
  readonly active: number
  /** Requests that were ended because an invariant was broken. More than 0 is a defect of ours: report it. */
  readonly broken: number
}

/** A proxy: a {@link ProxyHttp} and what its exchanges share. An HTTP application, to be put behind listeners. */
export class HttpProxy<Ctx = undefined> implements HttpServerHandler, ExchangeHost<Ctx> {
  readonly app: ProxyHttp<Ctx>
  readonly connector: Connector
  readonly maxRetries: number
  readonly retryBufferBytesMax: number
  readonly retryStatuses: ReadonlySet<number>
  readonly filterTimeoutMs: number
  readonly budget: RetryPermission | undefined
  readonly forwarding: Forwarding | undefined
  /** Which tunnels clients may open; undefined for none. */
  readonly tunnels: ConnectTunnels | undefined
  /** What requests and responses pass; null for nothing. */
  readonly modules: HttpModules | null
  /** What `initUpstreamModules` added, or null. */
  readonly upstreamModules: HttpModules | null
  /** The HTTP protocol's side; give it to a `ListeningService` of your own. */
  readonly serverApp: HttpServerApp
  /**
   * Whether requests record their times also when nobody watches: reading the clock five times costs more than all
   * checks of a head.
   */
  readonly timed: boolean
  /** @internal */
  readonly timedIfWatched: boolean
  /** @internal */
  readonly watching: Watching

  #logger: Logger
  readonly #backoffMs: number
  readonly #backoffMaxMs: number
  #requests = 0
  #active = 0
  #broken = 0

  /** @throws {TypeError | RangeError} If an option is unknown, of the wrong type or out of bounds. */
  constructor(configuration: ProxyConfiguration, app: ProxyHttp<Ctx>, options: HttpProxyOptions = {}) {
    requireOptions(options, 'the proxy')
    if (options.recordTimes !== undefined && typeof options.recordTimes !== 'boolean') {
      throw new TypeError(
        `Proxy option "recordTimes" must be true or false, received ${inspect(options.recordTimes)}`,
      )
    }
    if (options.logger !== undefined && typeof options.logger?.warn !== 'function') {
      throw new TypeError(`Proxy option "logger" must be a logger, received ${inspect(options.logger)}`)
    }
    for (const name of Object.keys(options)) {
      if (!OPTION_NAMES.has(name)) {
        throw new TypeError(`Unknown proxy option "${name}"; known are ${[...OPTION_NAMES].join(', ')}`)
      }
    }
    if (typeof configuration !== 'object' || configuration === null) {
      throw new TypeError(
        `Expected a configuration such as server.configuration, received ${inspect(configuration)}`,
      )
    }
    checkHooks(app)
    if (typeof app?.upstreamPeer !== 'function') throw new TypeError('A proxy needs the method upstreamPeer')
    this.app = app
    this.maxRetries = integer('maxRetries', options.maxRetries ?? configuration.maxRetries, 1, 100)
    this.retryBufferBytesMax = integer(
      'retryBufferBytesMax',
      options.retryBufferBytesMax ?? configuration.retryBufferBytesMax ?? 65_536,
      0,
      1 << 30,
    )
    this.#backoffMs = integer('retryBackoffMs', options.retryBackoffMs ?? 25, 0, 60_000)
    this.#backoffMaxMs = integer('retryBackoffMaxMs', options.retryBackoffMaxMs ?? 1_000, 0, 600_000)
    if (options.retryStatuses !== undefined && !Array.isArray(options.retryStatuses)) {
      throw new TypeError(
        `Proxy option "retryStatuses" must be an array, received ${inspect(options.retryStatuses)}`,
      )
    }
    this.retryStatuses = new Set(
      options.retryStatuses?.map((status) => integer('retryStatuses', status, 200, 599)),
    )
    const filterTimeoutMs =
      options.filterTimeoutMs ?? Math.round((configuration.filterTimeoutSeconds ?? 60) * 1_000)
    this.filterTimeoutMs = integer('filterTimeoutMs', filterTimeoutMs, 0, 2 ** 31 - 1)
    this.budget =
      options.retryBudget === false ? undefined : checkBudget(options.retryBudget ?? new TokenRetryBudget())
    this.forwarding = options.forwarding === undefined ? undefined : new Forwarding(options.forwarding)
    this.tunnels = options.connect === undefined ? undefined : new ConnectTunnels(options.connect)
    this.modules = downstreamModules(app)
    this.upstreamModules = upstreamModules(app)
    this.timed = options.recordTimes ?? app.logging !== undefined
    this.timedIfWatched = options.recordTimes ?? true
    this.watching = new Watching(options.observers ?? [], this)
    this.#logger = new GuardedLogger(options.logger ?? silentLogger)
    if (options.connector !== undefined) requireOptions(options.connector, 'the connector')
    if (options.server !== undefined) requireOptions(options.server, 'the HTTP server')
    this.connector = new Connector(connectorOptions(configuration, options.connector))
    this.serverApp = new HttpServerApp(this, serverOptions(configuration, options.server))
  }

  /** Where failures are told; what it throws itself is dropped. */
  get logger(): Logger {
    return this.#logger
  }

  set logger(logger: Logger) {
    this.#logger = new GuardedLogger(logger)
  }

  /** The `Server` field of responses that the proxy generates. */
  get serverName(): string {
    return this.serverApp.options.serverName
  }

  /** Called for each request. */
  onSession(downstream: ServerSession): void {
    if (downstream.request.method === 'CONNECT' && (this.tunnels === undefined || !downstream.isUpgrade)) {
      // A tunnel to wherever the client says is no reverse proxy's business; and one with a body is none at all.
      refuse(downstream, this.tunnels !== undefined && downstream.hasRequestBody ? 400 : 405, this.serverName)
      return
    }
    this.#requests++
    this.#active++
    const exchange = new ProxyExchange(this, downstream)
    try {
      exchange.start()
    } catch (error) {
      // A fault of ours or of something that was handed to us must not end the process.
      exchange.fail(
        new ProxyError('INTERNAL_ERROR', 'internal', 'Starting the exchange failed', { cause: error }),
      )
    }
  }

  /** @internal */
  exchangeEnded(error: ProxyError | undefined): void {
    this.#active--
    if (error !== undefined && isBroken(error)) this.#broken++
  }

  /** The wait before attempt `attempts + 1`, in milliseconds. @internal */
  backoff(attempts: number): number {
    if (attempts < 2 || this.#backoffMs === 0) return 0
    const ms = Math.min(this.#backoffMaxMs, this.#backoffMs * 2 ** (attempts - 2))
    return Math.ceil(ms * (0.5 + Math.random() / 2))
  }

  /** @internal */
  takeConnectionContext(downstream: ServerSession): unknown {
    if (this.app.persistConnectionContext === undefined) return undefined
    const context = downstream.connectionContext
    downstream.connectionContext = undefined
    return context
  }

  /** @internal */
  keepConnectionContext(downstream: ServerSession, context: unknown): void {
    downstream.connectionContext = context
  }

  stats(): HttpProxyStats {
    return { requests: this.#requests, active: this.#active, broken: this.#broken }
  }
}

function checkBudget(budget: RetryPermission): RetryPermission {
  if (typeof budget?.recordRequest === 'function' && typeof budget.tryRetry === 'function') return budget
  throw new TypeError(
    `Proxy option "retryBudget" must be false or have recordRequest() and tryRetry(), received ${inspect(budget)}`,
  )
}

function refuse(downstream: ServerSession, status: number, serverName: string): void {
  // What follows may be meant for the tunnel already: it must not be read as requests.
  downstream.disableKeepAlive()
  new HttpSession(downstream, serverName).respondError(status)
}

function integer(name: string, value: number, least: number, most: number): number {
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new RangeError(
      `Proxy option "${name}" must be an integer from ${least} to ${most}, received ${inspect(value)}`,
    )
  }
  return value
}
