import http2, { type ClientHttp2Session } from 'node:http2'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { isProxyError, type ProxyError, peerError } from '@cirque/error'
import { CoarseTimer, type TimerOwner } from '@cirque/timeout'
import { connectionDigest } from '../connection-digest.ts'
import type { ConnectionDigest } from '../digest.ts'
import type { ResponseLimits } from '../http1/client-connection.ts'
import type { HttpPeer } from '../peer.ts'
import { Http2ClientSession } from './client-session.ts'

/** What owns upstream HTTP/2 connections: the pool. */
export interface Http2ClientOwner {
  readonly limits: ResponseLimits
  /** Requests on one connection; 0 for no limit. */
  readonly requestsPerConnectionMax: number
  /** A connection older than this takes no more requests, in milliseconds; 0 for no limit. */
  readonly connectionAgeMaxMs: number
  /** Whether the connection can take a request, or has none, may have changed. */
  onConnectionChanged(connection: Http2ClientConnection): void
  /** The connection is closed and holds nothing any more. */
  onHttp2Closed(connection: Http2ClientConnection): void
  /** The peer wants HTTP/1.1, or cannot speak HTTP/2. */
  onDowngrade(peer: HttpPeer): void
}

const { NGHTTP2_NO_ERROR, NGHTTP2_REFUSED_STREAM } = http2.constants

const IDLE_TIMER = 0
const PING_TIMER = 1
const PONG_TIMER = 2
const CLOSE_TIMER = 3

/** How long a ping may stay unanswered, in milliseconds. */
const PONG_TIMEOUT_MS = 5_000
/** How long the last frames of a connection may take, in milliseconds. */
const CLOSE_TIMEOUT_MS = 2_000
/** The connection's own receive window, in bytes. Node gives it back at once; only streams hold data back. */
const CONNECTION_WINDOW_BYTES = 8_388_608
/** What one stream may hold in either direction besides its window, for the library's own limit. */
const STREAM_BYTES_MAX = 262_144
/** Longest block of fields that we send, in bytes; more than any client's head may hold. */
const SENT_FIELDS_BYTES_MAX = 1_048_576

/** One HTTP/2 connection to a peer; carries as many exchanges at once as both sides allow. */
export class Http2ClientConnection implements TimerOwner {
  /** The peer that it was opened for; its windows, pings and idle timeout apply. */
  readonly peer: HttpPeer
  readonly owner: Http2ClientOwner
  readonly establishedAt: number = Date.now()
  openStreams = 0
  /** Exchanges carried so far, those under way included. */
  requestCount = 0

  private readonly socket: Duplex
  private readonly session: ClientHttp2Session
  private streamsMax: number
  private retired = false
  private closed = false
  /** The last stream that the peer will serve, once GOAWAY has told. */
  private lastServed = Number.POSITIVE_INFINITY
  private failure: Error | null = null
  private readonly idleTimer: CoarseTimer
  private readonly closeTimer: CoarseTimer
  private pingTimer: CoarseTimer | null = null
  private pongTimer: CoarseTimer | null = null

  /** Takes over a connected transport, which speaks HTTP/2 by ALPN or by agreement. */
  constructor(owner: Http2ClientOwner, peer: HttpPeer, socket: Duplex) {
    this.owner = owner
    this.peer = peer
    this.socket = socket
    this.streamsMax = peer.options.http2StreamsMax
    this.idleTimer = new CoarseTimer(this, IDLE_TIMER)
    this.closeTimer = new CoarseTimer(this, CLOSE_TIMER)
    const session = http2.connect('http://upstream', {
      ...sessionOptions(peer, owner.limits),
      createConnection: () => socket,
    })
    this.session = session
    session.on('error', (error: Error) => {
      this.failure ??= error
    })
    session.on('close', () => this.onClose())
    session.on('goaway', (_code, lastStreamId) => this.onGoaway(lastStreamId))
    session.setLocalWindowSize(CONNECTION_WINDOW_BYTES)
    session.on('remoteSettings', () => owner.onConnectionChanged(this))
    socket.on('error', (error: Error) => {
      this.failure ??= error
    })
    socket.on('close', () => this.onClose())
    socket.on('end', () => this.onEnd())
    if (peer.options.http2PingIntervalMs > 0) {
      this.pingTimer = new CoarseTimer(this, PING_TIMER)
      this.pongTimer = new CoarseTimer(this, PONG_TIMER)
    }
  }

  digest(): ConnectionDigest {
    return connectionDigest(this.socket as Socket, this.establishedAt, this.requestCount)
  }

  /** True when a request may start now. */
  get available(): boolean {
    const { session, openStreams } = this
    if (this.retired || this.closed || session.closed || session.destroyed || this.socket.destroyed)
      return false
    return openStreams < this.streamsMax && openStreams < this.peerStreamsMax && !this.exhausted
  }

  /** True when it has carried enough, or is too old: it takes no more requests. */
  get exhausted(): boolean {
    const { requestsPerConnectionMax, connectionAgeMaxMs } = this.owner
    if (requestsPerConnectionMax > 0 && this.requestCount >= requestsPerConnectionMax) return true
    return connectionAgeMaxMs > 0 && Date.now() - this.establishedAt > connectionAgeMaxMs
  }

  /** What the peer's settings allow; before they arrive there is no limit (RFC 9113 §6.5.2). */
  private get peerStreamsMax(): number {
    const { remoteSettings } = this.session
    return remoteSettings.maxConcurrentStreams ?? Number.POSITIVE_INFINITY
  }

  /** A session for one request of `peer`. */
  open(peer: HttpPeer): Http2ClientSession {
    this.idleTimer.cancel()
    this.openStreams++
    this.requestCount++
    if (this.pingTimer?.armed === false) this.pingTimer.arm(this.peer.options.http2PingIntervalMs)
    return new Http2ClientSession(this, this.session, peer, this.requestCount > 1)
  }

  /** A session's stream is gone, or it never had one. */
  streamClosed(): void {
    this.openStreams--
    if (this.closed) return
    if (this.openStreams === 0) {
      this.pingTimer?.cancel()
      this.pongTimer?.cancel()
      if (this.available && this.peer.options.idleTimeoutMs > 0) {
        this.idleTimer.arm(this.peer.options.idleTimeoutMs)
      } else this.close()
    }
    this.owner.onConnectionChanged(this)
  }

  /** Takes no further requests and closes after those under way. */
  retire(): void {
    if (this.retired) return
    this.retired = true
    this.owner.onConnectionChanged(this)
    if (this.openStreams === 0) this.close()
  }

  destroy(): void {
    this.socket.destroy()
    this.onClose()
  }

  private close(): void {
    this.retired = true
    this.idleTimer.cancel()
    if (this.closed) return
    this.session.close()
    this.closeTimer.arm(CLOSE_TIMEOUT_MS)
  }

  // --- what the peer says of its streams -------------------------------------------------------

  /** True when the peer has told that it did not and will not serve this stream (RFC 9113 §6.8, §8.7). */
  refused(id: number | undefined, code: number): boolean {
    return id === undefined || id > this.lastServed || code === NGHTTP2_REFUSED_STREAM
  }

  /** A stream was refused while others run: the peer has its limit here, whatever its settings say. */
  learnLimit(): void {
    this.streamsMax = Math.max(1, Math.min(this.streamsMax, this.openStreams - 1))
  }

  /** A response has come: the limit may have been of the moment. */
  learnSuccess(): void {
    if (this.streamsMax < this.peer.options.http2StreamsMax) this.streamsMax++
  }

  /** True when the whole connection ended, not one stream. */
  get gone(): boolean {
    return this.closed || this.session.destroyed || this.socket.destroyed
  }

  /** Why the connection ended, if it did by an error. */
  get cause(): Error | null {
    return this.failure
  }

  private onGoaway(lastStreamId: number): void {
    // The same frame twice names ever smaller ids, so that a peer can drain without losing requests.
    this.lastServed = Math.min(this.lastServed, lastStreamId)
    this.retired = true
    this.owner.onConnectionChanged(this)
    if (this.openStreams === 0) this.closeTimer.arm(CLOSE_TIMEOUT_MS)
  }

  /** The peer has closed its side: nothing can be answered any more. */
  private onEnd(): void {
    this.retired = true
    this.socket.destroy()
  }

  private onClose(): void {
    if (this.closed) return
    this.closed = true
    this.retired = true
    for (const timer of [this.idleTimer, this.closeTimer, this.pingTimer, this.pongTimer]) timer?.cancel()
    if (!this.socket.destroyed) this.socket.destroy()
    this.owner.onHttp2Closed(this)
  }

  // --- timers ----------------------------------------------------------------------------------

  onTimer(tag: number): void {
    if (this.closed) return
    switch (tag) {
      case IDLE_TIMER:
        if (this.openStreams === 0) this.close()
        break
      case PING_TIMER:
        this.ping()
        break
      case PONG_TIMER:
        this.fail(
          peerError('PING_TIMEOUT', 'upstream', `Upstream did not answer a ping in ${PONG_TIMEOUT_MS} ms`),
        )
        break
      default:
        if (this.openStreams === 0) this.destroy()
    }
  }

  private ping(): void {
    if (this.openStreams === 0 || this.session.destroyed) return
    this.pongTimer?.arm(PONG_TIMEOUT_MS)
    this.session.ping((error) => {
      if (this.closed || error !== null) return
      this.pongTimer?.cancel()
      if (this.openStreams > 0) this.pingTimer?.arm(this.peer.options.http2PingIntervalMs)
    })
  }

  private fail(error: ProxyError): void {
    this.failure ??= error
    this.retired = true
    this.session.destroy(error, NGHTTP2_NO_ERROR)
    this.closeTimer.arm(CLOSE_TIMEOUT_MS)
  }

  /** The error of this package that ended the connection, or null. */
  get ownFailure(): ProxyError | null {
    return isProxyError(this.failure) ? this.failure : null
  }
}

function sessionOptions(peer: HttpPeer, limits: ResponseLimits): http2.ClientSessionOptions {
  const { http2StreamsMax, http2WindowBytes } = peer.options
  const perStream = http2WindowBytes + limits.headBytesMax + STREAM_BYTES_MAX
  return {
    settings: {
      enablePush: false,
      headerTableSize: 4_096,
      initialWindowSize: http2WindowBytes,
      maxFrameSize: 65_536,
      maxHeaderListSize: limits.headBytesMax,
    },
    maxDeflateDynamicTableSize: 4_096,
    maxReservedRemoteStreams: 0,
    maxSendHeaderBlockLength: SENT_FIELDS_BYTES_MAX,
    // The pseudo-field comes on top of what the fields' own check allows.
    maxHeaderListPairs: limits.fieldsMax + 16,
    maxSessionMemory: Math.max(10, Math.ceil((http2StreamsMax * perStream) / 1_000_000)),
    maxSettings: 16,
    peerMaxConcurrentStreams: http2StreamsMax,
    // Fields may repeat as their sender sees fit: what must not was refused before.
    strictSingleValueFields: false,
  } as http2.ClientSessionOptions
}
