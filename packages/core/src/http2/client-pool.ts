import type { OnReadOpts } from 'node:net'
import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'
import { type ProxyError, peerError } from '@cirque/error'
import type { ResponseLimits } from '../http1/client-life.ts'
import { sharedReadBuffer } from '../sockets/read-buffer.ts'
import type { ConnectHandler, PendingConnect } from '../upstream/connect-handler.ts'
import type { DialHandler, DialTarget } from '../upstream/dial.ts'
import type { HttpPeer } from '../upstream/peer.ts'
import { Http2ClientConnection, type Http2ClientOwner } from './client-connection.ts'
import type { Http2ClientSession } from './client-session.ts'
import { RememberedPeers } from './remembered-peers.ts'

/** The two sides of reading into memory of one's own. */
export interface OnReadReader {
  buffer(): Buffer
  callback(count: number, buffer: Buffer): boolean
}

/** A transport whose reads are to be taken over. */
export interface ReadSource {
  adoptReads(reads: OnReadReader): void
}

/** What the pool needs of the connector. */
export interface Http2PoolOwner {
  readonly limits: ResponseLimits
  /** Dials `peer`; the target takes the transport. */
  dial(peer: HttpPeer, target: DialTarget, handler: DialHandler): PendingConnect
  /** The peer chose HTTP/1.1: the transport becomes such a connection, whose session goes to `handler`. */
  onHttp1Dialled(peer: HttpPeer, socket: Duplex, handler: ConnectHandler, reads: ReadSource | null): void
  /** Opens a connection, of whatever protocol is right by now. */
  connect(peer: HttpPeer, handler: ConnectHandler): PendingConnect
  onHttp2Opened(peer: HttpPeer): void
  onHttp2Ended(): void
  /** An invariant of a connection or of an exchange on it is broken. */
  onBroken(): void
  onDialFailed(peer: HttpPeer): void
}

/** How many connections are kept, and for how much. */
export interface Http2PoolLimits {
  /** Connections without a request, over all peers. */
  readonly idleMax: number
  readonly requestsPerConnectionMax: number
  readonly connectionAgeMaxMs: number
}

const NOTHING: Buffer = Buffer.alloc(0)
const ALPN_BOTH: readonly string[] = ['h2', 'http/1.1']
const ALPN_HTTP2: readonly string[] = ['h2']

/**
 * The HTTP/2 connections of a connector. One that can take a request is used before another is opened, and a
 * connection that is being opened is waited for by as many requests as it will carry.
 */
export class Http2ClientPool implements Http2ClientOwner {
  readonly limits: ResponseLimits
  readonly requestsPerConnectionMax: number
  readonly connectionAgeMaxMs: number
  readonly #owner: Http2PoolOwner
  readonly #idleMax: number
  /** By reuse key, those that can take a request; the last is used first. */
  readonly #free: Map<string, Http2ClientConnection[]> = new Map()
  /** Those without a request, the longest idle first. */
  readonly #idle: Set<Http2ClientConnection> = new Set()
  readonly #all: Set<Http2ClientConnection> = new Set()
  /** By reuse key, the connection being opened that takes further requests. */
  readonly #dials: Map<string, SharedDial> = new Map()
  readonly #http1: RememberedPeers = new RememberedPeers()
  /** Peers that speak HTTP/2 and take upgrades over HTTP/1.1 only. */
  readonly #http1Upgrades: RememberedPeers = new RememberedPeers()
  #closed = false

  constructor(owner: Http2PoolOwner, limits: Http2PoolLimits) {
    this.#owner = owner
    this.limits = owner.limits
    this.#idleMax = limits.idleMax
    this.requestsPerConnectionMax = limits.requestsPerConnectionMax
    this.connectionAgeMaxMs = limits.connectionAgeMaxMs
  }

  get idleCount(): number {
    return this.#idle.size
  }

  /** Whether a new connection to `peer` may turn out to speak HTTP/2, and carry an upgrade if that is asked for. */
  wants(peer: HttpPeer, upgrade: boolean): boolean {
    const { httpVersion, tls } = peer.options
    if (httpVersion === 2) return true
    if (httpVersion !== 'auto' || !tls || this.#http1.has(peer.reuseKey)) return false
    return !upgrade || !this.#http1Upgrades.has(peer.reuseKey)
  }

  /** A session on a connection that stands, or null. */
  acquire(peer: HttpPeer): Http2ClientSession | null {
    const free = this.#free.get(peer.reuseKey)
    if (free === undefined) return null
    for (;;) {
      const connection = free.at(-1)
      if (connection === undefined) {
        this.#free.delete(peer.reuseKey)
        return null
      }
      if (connection.available) return this.#open(connection, peer)
      free.pop()
      // Too old, or used up: it ends after what it carries.
      if (connection.exhausted) connection.retire()
    }
  }

  #open(connection: Http2ClientConnection, peer: HttpPeer): Http2ClientSession {
    this.#idle.delete(connection)
    const session = connection.open(peer)
    if (!connection.available) this.#unfree(connection)
    return session
  }

  /** Opens a connection, or waits for one that is being opened. The handler is called later. */
  connect(peer: HttpPeer, handler: ConnectHandler): PendingConnect {
    const key = peer.reuseKey
    const shared = this.#dials.get(key)
    if (shared !== undefined && !shared.full) return shared.wait(peer, handler)
    const dial = new SharedDial(this, this.#owner, peer)
    this.#dials.set(key, dial)
    const pending = dial.wait(peer, handler)
    dial.start()
    return pending
  }

  /** Closes what is idle; what is in use is closed after its requests. */
  close(): void {
    this.#closed = true
    for (const connection of [...this.#all]) connection.retire()
  }

  // --- for the parts ---------------------------------------------------------------------------

  dialEnded(dial: SharedDial): void {
    if (this.#dials.get(dial.peer.reuseKey) === dial) this.#dials.delete(dial.peer.reuseKey)
  }

  adopt(peer: HttpPeer, socket: Duplex, onRead: boolean): Http2ClientConnection {
    const connection = new Http2ClientConnection(this, peer, socket, onRead)
    this.#all.add(connection)
    this.#owner.onHttp2Opened(peer)
    return connection
  }

  /** A session for one that waited; null when the connection takes no more. */
  serve(connection: Http2ClientConnection, peer: HttpPeer): Http2ClientSession | null {
    return connection.available ? this.#open(connection, peer) : null
  }

  /** All that waited are served. */
  dialServed(connection: Http2ClientConnection): void {
    if (this.#closed) connection.retire()
    else this.onConnectionChanged(connection)
  }

  onDowngrade(peer: HttpPeer): void {
    this.#http1.remember(peer.reuseKey)
  }

  onNoConnectProtocol(peer: HttpPeer): void {
    this.#http1Upgrades.remember(peer.reuseKey)
  }

  onConnectionChanged(connection: Http2ClientConnection): void {
    if (!this.#all.has(connection)) return
    if (!connection.available) {
      this.#unfree(connection)
      this.#idle.delete(connection)
      return
    }
    const key = connection.peer.reuseKey
    const free = this.#free.get(key)
    if (free === undefined) this.#free.set(key, [connection])
    else if (!free.includes(connection)) free.push(connection)
    if (connection.openStreams > 0 || this.#idle.has(connection)) return
    this.#idle.add(connection)
    if (this.#idle.size <= this.#idleMax) return
    const [oldest] = this.#idle
    oldest?.retire()
  }

  onBroken(): void {
    this.#owner.onBroken()
  }

  onHttp2Closed(connection: Http2ClientConnection): void {
    if (!this.#all.delete(connection)) return
    this.#unfree(connection)
    this.#idle.delete(connection)
    this.#owner.onHttp2Ended()
  }

  #unfree(connection: Http2ClientConnection): void {
    const key = connection.peer.reuseKey
    const free = this.#free.get(key)
    const index = free?.indexOf(connection) ?? -1
    if (free === undefined || index < 0) return
    free.splice(index, 1)
    if (free.length === 0) this.#free.delete(key)
  }
}

/** One request that waits for a shared connection. */
class SharedWait implements PendingConnect {
  readonly peer: HttpPeer
  readonly handler: ConnectHandler
  readonly #dial: SharedDial
  /** Where it waits instead, once the shared connection took no more. */
  next: PendingConnect | null = null
  cancelled = false

  constructor(dial: SharedDial, peer: HttpPeer, handler: ConnectHandler) {
    this.#dial = dial
    this.peer = peer
    this.handler = handler
  }

  cancel(): void {
    if (this.cancelled) return
    this.cancelled = true
    if (this.next !== null) this.next.cancel()
    else this.#dial.waitCancelled()
  }
}

/** A connection being opened, and the requests that wait for it. */
class SharedDial implements DialTarget, DialHandler, ReadSource {
  readonly peer: HttpPeer
  readonly alpnProtocols: readonly string[]
  readonly #pool: Http2ClientPool
  readonly #owner: Http2PoolOwner
  readonly #waits: SharedWait[] = []
  #live = 0
  #ended = false
  #pending: PendingConnect | null = null
  #socket: Duplex | null = null
  #onRead = false
  /** Who takes what is read, once it is known who that is. */
  #reads: OnReadReader | null = null
  #early: Buffer = NOTHING

  constructor(pool: Http2ClientPool, owner: Http2PoolOwner, peer: HttpPeer) {
    this.#pool = pool
    this.#owner = owner
    this.peer = peer
    this.alpnProtocols = peer.options.httpVersion === 2 ? ALPN_HTTP2 : ALPN_BOTH
  }

  /** True when as many wait as the connection will carry. */
  get full(): boolean {
    return this.#waits.length >= this.peer.options.http2StreamsMax
  }

  start(): void {
    this.#pending = this.#owner.dial(this.peer, this, this)
  }

  wait(peer: HttpPeer, handler: ConnectHandler): PendingConnect {
    const wait = new SharedWait(this, peer, handler)
    this.#waits.push(wait)
    this.#live++
    return wait
  }

  waitCancelled(): void {
    this.#live--
    if (this.#live > 0 || this.#ended) return
    this.#end()
    this.#pending?.cancel()
  }

  onReadOptions(): OnReadOpts | undefined {
    if (sharedReadBuffer === null) return undefined
    return {
      buffer: () => this.#reads?.buffer() ?? (sharedReadBuffer as Buffer),
      callback: (count, buffer) => this.#read(count, buffer as Buffer),
    }
  }

  /** Nobody reads before the connection stands; what comes all the same is kept, and nothing is read after it. */
  #read(count: number, buffer: Buffer): boolean {
    if (this.#reads !== null) return this.#reads.callback(count, buffer)
    this.#early = Buffer.concat([this.#early, buffer.subarray(0, count)])
    return false
  }

  /** The connection's reads go there from now on. */
  adoptReads(reads: OnReadReader): void {
    this.#reads = reads
    const early = this.#early
    this.#early = NOTHING
    if (early.length > 0) reads.callback(early.length, early)
  }

  attach(socket: Duplex, onRead: boolean): void {
    this.#socket = socket
    this.#onRead = onRead
  }

  onDialled(): void {
    this.#end()
    const socket = this.#socket as Duplex
    const alpn = socket instanceof TLSSocket ? socket.alpnProtocol : 'h2'
    if (alpn === 'h2') this.#serveHttp2(socket)
    else if (this.peer.options.httpVersion === 'auto') this.#serveHttp1(socket)
    else {
      socket.destroy()
      this.onDialFailed(
        peerError('INVALID_H2', 'upstream', `The peer ${this.peer} does not offer HTTP/2`, {
          retry: 'allowed',
        }),
      )
    }
  }

  #serveHttp2(socket: Duplex): void {
    const connection = this.#pool.adopt(this.peer, socket, this.#onRead)
    if (this.#onRead) {
      this.adoptReads({
        buffer: () => connection.readBuffer,
        callback: (count, buffer) => connection.read(count, buffer),
      })
    }
    for (const wait of this.#waits) {
      if (wait.cancelled) continue
      const session = this.#pool.serve(connection, wait.peer)
      if (session === null) wait.next = this.#owner.connect(wait.peer, wait.handler)
      else wait.handler.onConnected(session)
    }
    // The transport outlives those that waited for it, and must not hold on to them.
    this.#waits.length = 0
    this.#pool.dialServed(connection)
  }

  /** One request takes the connection; the others open their own, which is HTTP/1.1 from the start. */
  #serveHttp1(socket: Duplex): void {
    this.#pool.onDowngrade(this.peer)
    let taken = false
    for (const wait of this.#waits) {
      if (wait.cancelled) continue
      if (taken) wait.next = this.#owner.connect(wait.peer, wait.handler)
      else {
        taken = true
        this.#owner.onHttp1Dialled(wait.peer, socket, wait.handler, this.#onRead ? this : null)
      }
    }
    this.#waits.length = 0
    if (!taken) socket.destroy()
  }

  onDialFailed(error: ProxyError): void {
    this.#end()
    this.#owner.onDialFailed(this.peer)
    for (const wait of this.#waits) if (!wait.cancelled) wait.handler.onConnectError(error)
  }

  #end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#pool.dialEnded(this)
  }
}
