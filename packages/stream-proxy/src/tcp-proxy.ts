import type { Socket } from 'node:net'
import {
  type ConnectionInfo,
  DnsCache,
  type DnsCacheOptions,
  ListeningService,
  type ListeningServiceOptions,
  type Logger,
  Places,
  type ServerApp,
  type ServerConfiguration,
  type ServiceContext,
  silentLogger,
  type WorkerContext,
} from '@cirque/core'
import type { ProxyError } from '@cirque/error'
import { integerIn, isPromise, onlyKeys, TIMEOUT_MS_MAX, typed } from './check.ts'
import type { StreamProxy } from './stream-proxy.ts'
import { StreamSession } from './stream-session.ts'

/** Options of {@link tcpProxyService}. */
export interface TcpProxyOptions {
  /** Shown in logs. Default `'TCP proxy'`. */
  readonly name?: string
  /** How long a session may be silent in both directions, in ms; then it is reset. Default 600,000; 0 for no limit. */
  readonly idleTimeoutMs?: number
  /** How long a session may last in all, in ms. Default 86,400,000 (a day); 0 for no limit. */
  readonly totalTimeoutMs?: number
  /**
   * The idle limit from the moment the service drains, in ms, if it is the shorter one: silent sessions do not hold up a
   * shutdown. Default 5,000; 0 leaves them alone until the grace period is over.
   */
  readonly drainIdleTimeoutMs?: number
  /** How long a hook that gave a promise is waited for, in ms. Default 60,000; 0 for as long as it takes. */
  readonly filterTimeoutMs?: number
  /** Connections tried per session, 1 to 100. Default: the configuration's `max_retries`, which counts the first as well. */
  readonly connectAttemptsMax?: number
  /** Caps of the listeners. */
  readonly listening?: ListeningServiceOptions
  /** How names of peers are resolved. */
  readonly dns?: DnsCacheOptions
}

/** What a TCP proxy has done so far. A snapshot. */
export interface TcpProxyStats {
  /** Connections that were accepted and handed to the proxy. */
  readonly sessions: number
  readonly open: number
  /** Sessions that ended with an error, whoever's. */
  readonly failed: number
  /** Attempts to connect upstream that failed. */
  readonly connectFailed: number
  /** Of ended sessions. */
  readonly bytesFromClients: number
  /** Of ended sessions. */
  readonly bytesFromUpstreams: number
}

/** What a session needs of its service. @internal */
export interface SessionHost<Ctx> {
  readonly app: StreamProxy<Ctx>
  readonly options: Required<
    Pick<TcpProxyOptions, 'totalTimeoutMs' | 'filterTimeoutMs' | 'connectAttemptsMax'>
  >
  readonly dns: DnsCache
  /** The idle limit that holds now, in ms; 0 for none. */
  readonly idleLimitMs: number
  connectFailed(): void
  hookFailed(error: unknown): void
  sessionEnded(session: StreamSession<Ctx>, error: ProxyError | undefined): void
}

const KEYS: readonly string[] = [
  'name',
  'idleTimeoutMs',
  'totalTimeoutMs',
  'drainIdleTimeoutMs',
  'filterTimeoutMs',
  'connectAttemptsMax',
  'listening',
  'dns',
]
const HOOKS = ['newCtx', 'connectionFilter', 'failToConnect', 'connectedToUpstream', 'logging'] as const

class TcpProxyApp<Ctx> implements ServerApp, SessionHost<Ctx> {
  readonly app: StreamProxy<Ctx>
  readonly options: {
    readonly idleTimeoutMs: number
    readonly totalTimeoutMs: number
    readonly drainIdleTimeoutMs: number
    readonly filterTimeoutMs: number
    readonly connectAttemptsMax: number
  }
  readonly dns: DnsCache
  logger: Logger = silentLogger
  readonly #sessions: Places<StreamSession<Ctx>> = new Places()
  #draining = false
  #count = 0
  #failed = 0
  #connectFailed = 0
  #bytesFromClients = 0
  #bytesFromUpstreams = 0

  constructor(configuration: TcpProxyConfiguration, app: StreamProxy<Ctx>, options: TcpProxyOptions) {
    typed('upstreamPeer', app?.upstreamPeer, 'function')
    for (const hook of HOOKS) if (app[hook] !== undefined) typed(hook, app[hook], 'function')
    const { idleTimeoutMs = 600_000, totalTimeoutMs = 86_400_000, drainIdleTimeoutMs = 5_000 } = options
    const { filterTimeoutMs = 60_000, connectAttemptsMax = configuration.maxRetries } = options
    this.app = app
    this.options = {
      idleTimeoutMs: integerIn('idleTimeoutMs', idleTimeoutMs, 0, TIMEOUT_MS_MAX),
      totalTimeoutMs: integerIn('totalTimeoutMs', totalTimeoutMs, 0, TIMEOUT_MS_MAX),
      drainIdleTimeoutMs: integerIn('drainIdleTimeoutMs', drainIdleTimeoutMs, 0, TIMEOUT_MS_MAX),
      filterTimeoutMs: integerIn('filterTimeoutMs', filterTimeoutMs, 0, TIMEOUT_MS_MAX),
      connectAttemptsMax: integerIn('connectAttemptsMax', connectAttemptsMax, 1, 100),
    }
    this.dns = new DnsCache(options.dns)
  }

  get idleLimitMs(): number {
    const { idleTimeoutMs, drainIdleTimeoutMs } = this.options
    if (!this.#draining || drainIdleTimeoutMs === 0) return idleTimeoutMs
    return idleTimeoutMs === 0 ? drainIdleTimeoutMs : Math.min(idleTimeoutMs, drainIdleTimeoutMs)
  }

  onConnection(socket: Socket, info: ConnectionInfo): void {
    this.#count++
    const ctx = this.#newCtx()
    const session = new StreamSession<Ctx>(this, socket, info, ctx)
    session.place = this.#sessions.add(session)
    session.start()
  }

  #newCtx(): Ctx {
    const ctx: unknown = this.app.newCtx?.()
    if (!isPromise(ctx)) return ctx as Ctx
    Promise.resolve(ctx).catch(() => undefined)
    throw new TypeError('newCtx() must answer at once, not with a promise')
  }

  startDraining(): void {
    this.#draining = true
    for (const session of this.#sessions.values()) session.drain()
  }

  connectFailed(): void {
    this.#connectFailed++
  }

  hookFailed(error: unknown): void {
    this.logger.error('A hook of the stream proxy failed', { error })
  }

  sessionEnded(session: StreamSession<Ctx>, error: ProxyError | undefined): void {
    this.#sessions.remove(session.place, session)
    if (error !== undefined) this.#failed++
    this.#bytesFromClients += session.bytesFromClient
    this.#bytesFromUpstreams += session.bytesFromUpstream
    try {
      const logged: unknown = this.app.logging?.(session, error, session.ctx)
      if (isPromise(logged)) Promise.resolve(logged).catch((thrown: unknown) => this.hookFailed(thrown))
    } catch (thrown) {
      this.hookFailed(thrown)
    }
  }

  stats(): TcpProxyStats {
    return {
      sessions: this.#count,
      open: this.#sessions.size,
      failed: this.#failed,
      connectFailed: this.#connectFailed,
      bytesFromClients: this.#bytesFromClients,
      bytesFromUpstreams: this.#bytesFromUpstreams,
    }
  }
}

/** A listening service around a TCP proxy: `addTcp`, `addTls` (which ends TLS here) and `addUnix` give it clients. */
export class TcpProxyService<Ctx = undefined> extends ListeningService {
  readonly #proxy: TcpProxyApp<Ctx>

  /** Use {@link tcpProxyService}. */
  constructor(configuration: TcpProxyConfiguration, app: StreamProxy<Ctx>, options: TcpProxyOptions) {
    onlyKeys('the TCP proxy', options, KEYS)
    const proxy = new TcpProxyApp<Ctx>(configuration, app, options)
    super(options.name ?? 'TCP proxy', proxy, options.listening)
    this.#proxy = proxy
  }

  /** A snapshot of the counters. */
  stats(): TcpProxyStats {
    return this.#proxy.stats()
  }

  override start(context: ServiceContext): Promise<void> {
    this.#proxy.logger = context.logger
    return super.start(context)
  }

  override startInWorker(context: WorkerContext): void | Promise<void> {
    this.#proxy.logger = context.logger
    return super.startInWorker(context)
  }
}

/** What of the server's configuration a TCP proxy reads. */
export type TcpProxyConfiguration = Pick<ServerConfiguration, 'maxRetries'>

/**
 * A service that relays connections as `app` says. Add listeners to it, and it to a server.
 *
 * Bytes pass in both directions at once, each with its own backpressure; the end of one direction is passed on and the
 * other goes on. A connection that breaks breaks the other one too, with a reset.
 *
 * @throws {TypeError} If the app lacks `upstreamPeer` or an option is unknown.
 * @throws {RangeError} If a number is out of range.
 * @example
 * const proxy = tcpProxyService(server.configuration, { upstreamPeer: () => new StreamPeer('10.0.0.7:5432') })
 * proxy.addTcp('127.0.0.1:5432')
 * server.addService(proxy)
 */
export function tcpProxyService<Ctx = undefined>(
  configuration: TcpProxyConfiguration,
  app: StreamProxy<Ctx>,
  options: TcpProxyOptions = {},
): TcpProxyService<Ctx> {
  return new TcpProxyService<Ctx>(configuration, app, options)
}
