import { type Channel, channel } from 'node:diagnostics_channel'
import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import type { Duplex } from 'node:stream'
import { createSecureContext, type SecureContext } from 'node:tls'
import type { ProxyError } from '@cirque/error'
import { ResponseHeadParser } from '@cirque/http'
import { ConnectionPool, type EvictReason, type PoolEntry } from '@cirque/pool'
import { Http1ClientConnection } from '../http1/client-connection.ts'
import type { Http1ClientOwner, ResponseLimits } from '../http1/client-life.ts'
import {
  Http2ClientPool,
  type Http2PoolOwner,
  type OnReadReader,
  type ReadSource,
} from '../http2/client-pool.ts'
import { type Logger, silentLogger } from '../logger.ts'
import { nameHint } from '../nearest-name.ts'
import { TlsSessionCache } from '../tls/session-cache.ts'
import type { ClientSession } from './client-session.ts'
import { Dial, type DialContext, type DialHandler, type DialTarget } from './dial.ts'
import { DispatcherSession } from './dispatcher-session.ts'
import { DnsCache, type DnsCacheOptions } from './dns-cache.ts'
import type { HttpPeer } from './peer.ts'

/** How a connector connects, and what it keeps. */
export interface ConnectorOptions {
  /**
   * Idle connections kept in all. Default 1,024: with fewer than there are requests at once, most of them
   * would dial anew.
   */
  readonly keepalivePoolSize?: number
  /** Idle connections kept per peer. Default: `keepalivePoolSize`. */
  readonly keepalivePoolSizePerPeer?: number
  /** A connection older than this is not used again, in milliseconds. Default 3,600,000; 0 for no limit. */
  readonly connectionAgeMaxMs?: number
  /** Requests on one connection. Default 0, no limit. */
  readonly requestsPerConnectionMax?: number
  /** A PEM file of certificate authorities that replaces Node's own list. */
  readonly caFile?: string
  /** Source addresses for IPv4 peers; one is picked at random per connection. */
  readonly bindToIpv4?: readonly string[]
  /** Source addresses for IPv6 peers; one is picked at random per connection. */
  readonly bindToIpv6?: readonly string[]
  /**
   * TLS sessions kept for resumption, one per peer, each for an hour at most. Default 1,024; 0 resumes none. A
   * resumed session's certificate is not verified again.
   */
  readonly tlsSessionsMax?: number
  /** Append TLS secrets to the file that `SSLKEYLOGFILE` names. For debugging only. Default false. */
  readonly debugSslKeylog?: boolean
  readonly dns?: DnsCacheOptions
  /** Largest response head in bytes. Default 65,536. */
  readonly headBytesMax?: number
  /** Most fields in a response head. Default 256. */
  readonly fieldsMax?: number
  /** Most 1xx responses before a final one. Default 16. */
  readonly informationalMax?: number
  /** How strictly responses are read. Default `'strict'`. */
  readonly profile?: 'strict' | 'lenient'
}

/** Options of {@link Connector.session}. */
export interface SessionOptions {
  /** Gives up the wait; a session that was handed out already is not affected. */
  readonly signal?: AbortSignal
}

const OPTION_NAMES: ReadonlySet<string> = new Set<keyof ConnectorOptions>([
  'keepalivePoolSize',
  'keepalivePoolSizePerPeer',
  'connectionAgeMaxMs',
  'requestsPerConnectionMax',
  'caFile',
  'bindToIpv4',
  'bindToIpv6',
  'debugSslKeylog',
  'tlsSessionsMax',
  'dns',
  'headBytesMax',
  'fieldsMax',
  'informationalMax',
  'profile',
])

/** Who waits for a session. Exactly one of the two is called, once, unless the wait is cancelled. */
export interface ConnectHandler {
  onConnected(session: ClientSession): void
  onConnectError(error: ProxyError): void
}

/** A connection being opened. */
export interface PendingConnect {
  /** Gives up; the handler hears nothing more. */
  cancel(): void
}

/** What a connector has done so far. */
export interface ConnectorStats {
  readonly idle: number
  readonly open: number
  readonly opened: number
  readonly reused: number
  readonly failed: number
  /** Idle connections that were closed because bytes arrived which nobody had asked for. */
  readonly unexpectedData: number
  /** Idle connections of HTTP/1 that the pool has closed, by the reason. */
  readonly evictions: Readonly<Record<EvictReason, number>>
}

/** What is published on the channel `cirque:pool`. */
export interface PoolMessage {
  /** A connection was opened, taken from the pool, or closed by the pool while idle; or none could be opened. */
  readonly event: 'opened' | 'reused' | 'evicted' | 'failed'
  readonly peer: HttpPeer
  /** Why it was evicted; undefined for other events. */
  readonly reason: EvictReason | undefined
}

const poolChannel: Channel = channel('cirque:pool')

/** As the pool of HTTP/1 connections has it. */
const CONNECTION_AGE_MAX_MS = 3_600_000

/** Secure contexts kept; each holds parsed certificates. */
const SECURE_CONTEXTS_MAX = 64

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
  readonly #ca: string | undefined
  readonly #secureContexts: Map<string, SecureContext> = new Map()
  #open = 0
  #opened = 0
  #reused = 0
  #failed = 0
  #unexpectedData = 0

  /**
   * @throws {Error} If `caFile` cannot be read.
   * @throws {TypeError} For an unknown option or profile, or a source address that is none.
   * @throws {RangeError} If a number is out of bounds.
   */
  constructor(options: ConnectorOptions = {}) {
    for (const name of Object.keys(options)) {
      if (!OPTION_NAMES.has(name)) {
        throw new TypeError(`Unknown connector option "${name}"${nameHint(name, OPTION_NAMES)}`)
      }
    }
    const {
      keepalivePoolSize = 1_024,
      keepalivePoolSizePerPeer,
      connectionAgeMaxMs,
      requestsPerConnectionMax,
    } = options
    this.#pool = new ConnectionPool<Http1ClientConnection>({
      idleMax: keepalivePoolSize,
      idlePerKeyMax: keepalivePoolSizePerPeer ?? keepalivePoolSize,
      ...(connectionAgeMaxMs === undefined ? {} : { ageMaxMs: connectionAgeMaxMs }),
      ...(requestsPerConnectionMax === undefined ? {} : { usesMax: requestsPerConnectionMax }),
      onEvict: (connection, reason) => {
        publish('evicted', connection.peer, reason)
        connection.destroy()
      },
    })
    this.#ca = options.caFile === undefined ? undefined : readFileSync(options.caFile, 'utf8')
    this.bindToIpv4 = addressesOf('bindToIpv4', options.bindToIpv4 ?? [], 4)
    this.bindToIpv6 = addressesOf('bindToIpv6', options.bindToIpv6 ?? [], 6)
    this.keylogFile = options.debugSslKeylog === true ? process.env['SSLKEYLOGFILE'] : undefined
    this.tlsSessions = new TlsSessionCache(notNegative('tlsSessionsMax', options.tlsSessionsMax ?? 1_024))
    this.dns = new DnsCache(options.dns)
    this.limits = {
      headBytesMax: positive('headBytesMax', options.headBytesMax ?? 65_536),
      fieldsMax: positive('fieldsMax', options.fieldsMax ?? 256),
      informationalMax: positive('informationalMax', options.informationalMax ?? 16),
      profile: options.profile ?? 'strict',
    }
    this.spareParser = new ResponseHeadParser(this.limits) // which checks the rest of the limits
    this.#http2 = new Http2ClientPool(this, {
      idleMax: keepalivePoolSize,
      requestsPerConnectionMax: requestsPerConnectionMax ?? 0,
      connectionAgeMaxMs: connectionAgeMaxMs ?? CONNECTION_AGE_MAX_MS,
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
        this.#reused++
        publish('reused', peer)
        return session
      }
      if (peer.options.httpVersion === 2) return null
    }
    for (;;) {
      const entry = this.#pool.acquire(peer.reuseKey)
      if (entry === undefined) return null
      const connection = entry.connection
      if (connection.usable) {
        this.#reused++
        publish('reused', peer)
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
    const connection = new Http1ClientConnection(this, peer)
    const dial = new Dial(peer, this, connection, new Waiter(this, connection, handler))
    dial.start()
    return dial
  }

  /**
   * Opens a connection to `peer` to be a tunnel: nothing is said on it, and it carries nothing else. Its session
   * answers any request with a 101 at once. The handler is called later, never within this call.
   */
  connectTunnel(peer: HttpPeer, handler: ConnectHandler): PendingConnect {
    const connection = new Http1ClientConnection(this, peer, true)
    const dial = new Dial(peer, this, connection, new Waiter(this, connection, handler))
    dial.start()
    return dial
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
    return {
      idle: this.#pool.idleCount + this.#http2.idleCount,
      open: this.#open,
      opened: this.#opened,
      reused: this.#reused,
      failed: this.#failed,
      unexpectedData: this.#unexpectedData,
      evictions: this.#pool.stats().evictions,
    }
  }

  /** Closes what is idle; what is in use is closed when it is released. */
  close(): void {
    this.#pool.close()
    this.#http2.close()
  }

  // --- for the parts ---------------------------------------------------------------------------

  /** @internal */
  connected(peer: HttpPeer, connection: Http1ClientConnection): void {
    this.#opened++
    this.#open++
    connection.poolEntry = this.#pool.add(peer.reuseKey, connection)
    connection.begin(peer)
    publish('opened', peer)
  }

  /** @internal */
  connectFailed(peer: HttpPeer): void {
    this.#failed++
    publish('failed', peer)
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
    this.#opened++
    this.#open++
    publish('opened', peer)
  }

  /** @internal */
  onHttp2Ended(): void {
    this.#open--
  }

  onConnectionClosed(connection: Http1ClientConnection): void {
    const entry = connection.poolEntry as PoolEntry<Http1ClientConnection> | null
    if (entry === null) return
    connection.poolEntry = null
    this.#open--
    this.#pool.remove(entry)
  }

  onUnexpectedData(): void {
    this.#unexpectedData++
  }

  secureContext(peer: HttpPeer): SecureContext {
    const known = this.#secureContexts.get(peer.optionsKey)
    if (known !== undefined) return known
    const { ca, cert, key, curves, verifyCertificate, verifyHostname } = peer.options
    if (!verifyCertificate || !verifyHostname) {
      this.logger.warn(
        `The ${verifyCertificate ? 'name in the ' : ''}certificate of a peer is not verified`,
        {
          peer: String(peer),
        },
      )
    }
    const authorities = ca ?? this.#ca
    const context = createSecureContext({
      ...(authorities === undefined ? {} : { ca: authorities as string | Buffer | (string | Buffer)[] }),
      ...(cert === undefined ? {} : { cert, key }),
      ...(curves === undefined ? {} : { ecdhCurve: curves }),
    })
    if (this.#secureContexts.size >= SECURE_CONTEXTS_MAX) {
      const [oldest] = this.#secureContexts.keys()
      if (oldest !== undefined) this.#secureContexts.delete(oldest)
    }
    this.#secureContexts.set(peer.optionsKey, context)
    return context
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

function publish(event: PoolMessage['event'], peer: HttpPeer, reason?: EvictReason): void {
  if (poolChannel.hasSubscribers) poolChannel.publish({ event, peer, reason } satisfies PoolMessage)
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

function addressesOf(name: string, addresses: readonly string[], family: 4 | 6): readonly string[] {
  for (const address of addresses) {
    if (isIP(address) !== family) {
      throw new TypeError(`Connector option "${name}" must hold IPv${family} addresses, not "${address}"`)
    }
  }
  return addresses
}

function positive(name: string, value: number): number {
  if (!Number.isInteger(value) || value < 1) {
    throw new RangeError(`Connector option "${name}" must be a positive integer, not ${value}`)
  }
  return value
}

function notNegative(name: string, value: number): number {
  return value === 0 ? 0 : positive(name, value)
}
