import type { Duplex } from 'node:stream'
import type { SecureContext } from 'node:tls'
import type { ProxyError } from '@cirque/error'
import { ResponseHeadParser } from '@cirque/http'
import { ConnectionPool, type PoolEntry } from '@cirque/pool'
import { Http1ClientConnection } from '../http1/client-connection.ts'
import type { Http1ClientOwner, ResponseLimits } from '../http1/client-life.ts'
import {
  Http2ClientPool,
  type Http2PoolOwner,
  type OnReadReader,
  type ReadSource,
} from '../http2/client-pool.ts'
import { type Logger, silentLogger } from '../logger.ts'
import type { ClientSession } from '../sessions/client-session.ts'
import { TlsSessionCache } from '../tls/session-cache.ts'
import type { ConnectHandler, PendingConnect } from './connect-handler.ts'
import { ConnectorCounts, type ConnectorStats } from './connector-counts.ts'
import { type ConnectorOptions, planConnector } from './connector-options.ts'
import { Dial, type DialContext, type DialHandler, type DialTarget } from './dial.ts'
import { DispatcherSession } from './dispatcher-session.ts'
import { DnsCache } from './dns-cache.ts'
import type { HttpPeer } from './peer.ts'
import { SecureContexts } from './secure-contexts.ts'

/** Options of {@link Connector.session}. */
export interface SessionOptions {
  /** Gives up the wait; a session that was handed out already is not affected. */
  readonly signal?: AbortSignal
}

/** Opens connections to peers, keeps the idle ones, and never hands out one that is not fit for a request. */
export class Connector implements Http1ClientOwner, Http2PoolOwner, DialContext {
  readonly limits: ResponseLimits
  readonly dns: DnsCache
  readonly bindToIpv4: readonly string[]
  readonly bindToIpv6: readonly string[]
  readonly keylogFile: string | undefined
  readonly tlsSessions: TlsSessionCache
  /** Told, once for each set of peer options, that certificates are not verified. A service sets its own. */
  logger: Logger = silentLogger
  spareParser: ResponseHeadParser | null = null

  readonly #pool: ConnectionPool<Http1ClientConnection>
  readonly #http2: Http2ClientPool
  readonly #secureContexts: SecureContexts
  readonly #counts: ConnectorCounts = new ConnectorCounts()

  /**
   * @throws {TypeError} For an unknown option or profile, a `caFile` that cannot be read or has no certificates, or a source address that is none.
   * @throws {RangeError} If a number is out of bounds.
   */
  constructor(options: ConnectorOptions = {}) {
    const plan = planConnector(options)
    this.#pool = new ConnectionPool<Http1ClientConnection>({
      idleMax: plan.keepalivePoolSize,
      idlePerKeyMax: plan.keepalivePoolSizePerPeer,
      ageMaxMs: plan.connectionAgeMaxMs,
      usesMax: plan.requestsPerConnectionMax,
      onEvict: (connection, reason) => {
        this.#counts.connectionEvicted(connection.peer, reason)
        connection.destroy()
      },
    })
    this.bindToIpv4 = plan.bindToIpv4
    this.bindToIpv6 = plan.bindToIpv6
    this.keylogFile = plan.keylogFile
    this.tlsSessions = new TlsSessionCache(plan.tlsSessionsMax)
    this.#secureContexts = new SecureContexts(plan.authorities, this.tlsSessions)
    this.dns = new DnsCache(plan.dns)
    this.limits = plan.limits
    this.spareParser = new ResponseHeadParser(this.limits) // which checks the rest of the limits
    this.#http2 = new Http2ClientPool(this, {
      idleMax: plan.keepalivePoolSize,
      requestsPerConnectionMax: plan.requestsPerConnectionMax,
      connectionAgeMaxMs: plan.connectionAgeMaxMs,
    })
  }

  /**
   * An idle connection to `peer`, at once; or null, when one has to be opened.
   *
   * @param upgrade - It is to carry an upgrade. Default false.
   */
  acquire(peer: HttpPeer, upgrade: boolean = false): ClientSession | null {
    if (peer.options.httpVersion !== 1 && this.#http2.wants(peer, upgrade)) {
      const session = this.#http2.acquire(peer)
      if (session !== null) {
        this.#counts.connectionReused(peer)
        return session
      }
      if (peer.options.httpVersion === 2) return null
    }
    for (;;) {
      const entry = this.#pool.acquire(peer.reuseKey)
      if (entry === undefined) return null
      const connection = entry.connection
      if (connection.usable) {
        this.#counts.connectionReused(peer)
        connection.begin(peer)
        return connection
      }
      connection.destroy()
    }
  }

  /**
   * Opens a connection to `peer`. The handler is called later, never within this call.
   *
   * @param upgrade - It is to carry an upgrade. Default false.
   */
  connect(peer: HttpPeer, handler: ConnectHandler, upgrade: boolean = false): PendingConnect {
    if (peer.options.dispatcher !== undefined) return this.#dispatch(peer, handler)
    if (peer.options.httpVersion !== 1 && this.#http2.wants(peer, upgrade)) {
      return this.#http2.connect(peer, handler)
    }
    return this.#dialHttp1(peer, handler, false)
  }

  /**
   * Opens a connection to `peer` to be a tunnel: nothing is said on it, and it carries nothing else. Its session
   * answers any request with a 101 at once. The handler is called later, never within this call.
   */
  connectTunnel(peer: HttpPeer, handler: ConnectHandler): PendingConnect {
    return this.#dialHttp1(peer, handler, true)
  }

  /**
   * A session over an idle or a new connection.
   *
   * @throws {ProxyError} If none could be opened; the signal's reason if it was aborted first.
   */
  async session(peer: HttpPeer, options: SessionOptions = {}): Promise<ClientSession> {
    const { signal } = options
    signal?.throwIfAborted()
    const idle = this.acquire(peer)
    if (idle !== null) return idle
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        pending.cancel()
        reject(signal?.reason)
      }
      const pending = this.connect(peer, {
        onConnected: (session) => {
          signal?.removeEventListener('abort', onAbort)
          resolve(session)
        },
        onConnectError: (error) => {
          signal?.removeEventListener('abort', onAbort)
          reject(error)
        },
      })
      signal?.addEventListener('abort', onAbort, { once: true })
    })
  }

  /** Ends the use of a session: its connection is kept when it is fit for another request, else closed. */
  release(session: ClientSession): void {
    session.handler = null
    if (!(session instanceof Http1ClientConnection)) {
      session.destroy() // which keeps what is complete
      return
    }
    const entry = session.poolEntry as PoolEntry<Http1ClientConnection> | null
    const idleTimeoutMs = idleTimeout(session)
    if (entry === null || !session.reusable || idleTimeoutMs <= 0) {
      session.destroy()
      return
    }
    if (session.park()) this.#pool.release(entry, idleTimeoutMs)
  }

  stats(): ConnectorStats {
    const { open, opened, reused, failed, unexpectedData, broken } = this.#counts
    return {
      idle: this.#pool.idleCount + this.#http2.idleCount,
      open,
      opened,
      reused,
      failed,
      unexpectedData,
      broken,
      evictions: this.#pool.stats().evictions,
    }
  }

  /** Closes what is idle; what is in use is closed when it is released. */
  close(): void {
    this.#pool.close()
    this.#http2.close()
    this.#secureContexts.close()
  }

  // --- for the parts ---------------------------------------------------------------------------

  /** @internal */
  connected(peer: HttpPeer, connection: Http1ClientConnection): void {
    connection.poolEntry = this.#pool.add(peer.reuseKey, connection)
    connection.begin(peer)
    this.#counts.connectionOpened(peer)
  }

  /** @internal */
  connectFailed(peer: HttpPeer): void {
    this.#counts.connectFailed(peer)
  }

  /** @internal */
  dial(peer: HttpPeer, target: DialTarget, handler: DialHandler): PendingConnect {
    const dial = new Dial(peer, this, target, handler)
    dial.start()
    return dial
  }

  /** @internal */
  onHttp1Dialled(peer: HttpPeer, socket: Duplex, handler: ConnectHandler, reads: ReadSource | null): void {
    const connection = new Http1ClientConnection(this, peer)
    if (reads !== null) reads.adoptReads(connection.onReadOptions() as OnReadReader)
    connection.attach(socket, reads !== null)
    this.connected(peer, connection)
    handler.onConnected(connection)
  }

  /** @internal */
  onDialFailed(peer: HttpPeer): void {
    this.connectFailed(peer)
  }

  /** @internal */
  onHttp2Opened(peer: HttpPeer): void {
    this.#counts.connectionOpened(peer)
  }

  /** @internal */
  onHttp2Ended(): void {
    this.#counts.connectionEnded()
  }

  onConnectionClosed(connection: Http1ClientConnection): void {
    const entry = connection.poolEntry as PoolEntry<Http1ClientConnection> | null
    if (entry === null) return
    connection.poolEntry = null
    this.#counts.connectionEnded()
    this.#pool.remove(entry)
  }

  onUnexpectedData(): void {
    this.#counts.unexpectedData++
  }

  onBroken(): void {
    this.#counts.broken++
  }

  secureContext(peer: HttpPeer): SecureContext {
    return this.#secureContexts.get(peer, this.logger)
  }

  #dialHttp1(peer: HttpPeer, handler: ConnectHandler, raw: boolean): PendingConnect {
    const connection = new Http1ClientConnection(this, peer, raw)
    return this.dial(peer, connection, new Waiter(this, connection, handler))
  }

  #dispatch(peer: HttpPeer, handler: ConnectHandler): PendingConnect {
    let cancelled = false
    queueMicrotask(() => {
      if (!cancelled) handler.onConnected(new DispatcherSession(peer))
    })
    return {
      cancel: () => {
        cancelled = true
      },
    }
  }
}

/** Stands between a dial and who waits for it, so that the pool knows the connection first. */
class Waiter implements DialHandler {
  readonly #connector: Connector
  readonly #connection: Http1ClientConnection
  readonly #handler: ConnectHandler

  constructor(connector: Connector, connection: Http1ClientConnection, handler: ConnectHandler) {
    this.#connector = connector
    this.#connection = connection
    this.#handler = handler
  }

  onDialled(): void {
    this.#connector.connected(this.#connection.peer, this.#connection)
    this.#handler.onConnected(this.#connection)
  }

  onDialFailed(error: ProxyError): void {
    this.#connector.connectFailed(this.#connection.peer)
    this.#handler.onConnectError(error)
  }
}

/** A peer that says when it closes idle connections is left a second earlier: closing and sending would cross. */
const KEEP_ALIVE_MARGIN_MS = 1_000

function idleTimeout(connection: Http1ClientConnection): number {
  const own = connection.peer.options.idleTimeoutMs
  const promised = connection.keepAliveTimeoutMs
  return promised < 0 ? own : Math.min(own, promised - KEEP_ALIVE_MARGIN_MS)
}
