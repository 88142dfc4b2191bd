import http2, { type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { type ProxyError, peerError } from '@cirque/error'
import { CoarseTimer, type TimerOwner } from '@cirque/timeout'
import { connectionDigest } from '../connection-digest.ts'
import type { ConnectionDigest } from '../digest.ts'
import type { ResolvedHttpServerOptions } from '../http-server-options.ts'
import { bytesQueued, bytesTaken } from '../http1/wire.ts'
import type { ServerSession } from '../server-session.ts'
import { isRefusal, readRequestHead } from './request-head.ts'
import { Http2ServerSession } from './server-session.ts'
import { TokenBucket } from './token-bucket.ts'

/** What owns HTTP/2 connections: hands each request to the application and counts. */
export interface Http2ConnectionOwner {
  readonly options: ResolvedHttpServerOptions
  /** True while the service drains: no connection takes new requests for long. */
  readonly draining: boolean
  /** A request has arrived. The owner answers it, now or later, through the session. */
  onSession(session: ServerSession): void
  /** A head was refused and answered with `status`. */
  onHeadRefused(status: number, code: string): void
  /** The connection is closed and holds nothing any more. */
  onConnectionClosed(connection: Http2ServerConnection): void
}

/**
 * The connection's life; moves go down the list only.
 * - `open`: takes requests.
 * - `closing`: GOAWAY named the last request that is served; open ones finish.
 * - `closed`: nothing moves any more.
 */
export type Http2ConnectionState = 'open' | 'closing' | 'closed'

const { NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_NO_ERROR, NGHTTP2_FLAG_END_STREAM } = http2.constants

const IDLE_TIMER = 0
const LINGER_TIMER = 1

/** The connection's own receive window, in bytes. Node gives it back at once; only streams hold data back. */
const CONNECTION_WINDOW_BYTES = 1_048_576
/** Pings and settings at once per connection, as a multiple of what is allowed per second. */
const CONTROL_BURST_SECONDS = 10
/** Longest block of fields that we send, in bytes; more than any upstream's head may hold. */
const SENT_FIELDS_BYTES_MAX = 1_048_576
/** What one stream may hold in either direction besides its window, for the library's own limit. */
const STREAM_BYTES_MAX = 262_144
/** Frames against the rules, and streams over the limit, before the library ends the connection. */
const INVALID_FRAMES_MAX = 100
/** HTTP/2 settings in one frame; the protocol knows seven. */
const SETTINGS_PER_FRAME_MAX = 16

/** One client's HTTP/2 connection: opens a session per stream, watches for floods, closes without losing requests. */
export class Http2ServerConnection implements TimerOwner {
  readonly socket: Socket | TLSSocket
  readonly owner: Http2ConnectionOwner
  readonly establishedAt: number = Date.now()
  state: Http2ConnectionState = 'open'
  requestCount = 0

  private readonly session: ServerHttp2Session
  private openStreams = 0
  private socketError: Error | null = null
  private takenAtLinger = 0
  private lingeredMs = 0
  private readonly resets: TokenBucket
  private readonly controls: TokenBucket
  private readonly idleTimer: CoarseTimer
  private readonly lingerTimer: CoarseTimer

  /** Takes the socket over. What was read of it may be put back before with `unshift`. */
  constructor(socket: Socket | TLSSocket, owner: Http2ConnectionOwner) {
    const { options } = owner
    this.socket = socket
    this.owner = owner
    this.resets = new TokenBucket(options.http2ResetBurstMax, options.http2ResetsPerSecondMax)
    const perSecond = options.http2ControlFramesPerSecondMax
    this.controls = new TokenBucket(perSecond * CONTROL_BURST_SECONDS, perSecond)
    this.idleTimer = new CoarseTimer(this, IDLE_TIMER)
    this.lingerTimer = new CoarseTimer(this, LINGER_TIMER)
    socket.on('error', (error: Error) => {
      this.socketError = error
    })
    socket.on('close', () => this.onClose())
    socket.on('end', () => this.onEnd())
    const session = http2.performServerHandshake(socket, sessionOptions(options))
    this.session = session
    session.on('error', () => undefined) // told by 'close', and by each stream
    session.on('close', () => this.onSessionClosed())
    session.on('ping', () => this.onControlFrame())
    session.on('remoteSettings', () => this.onControlFrame())
    session.on('stream', (stream, _headers, flags, raw) => this.onStream(stream, flags, raw))
    session.setLocalWindowSize(Math.max(CONNECTION_WINDOW_BYTES, options.http2WindowBytes))
    this.idleTimer.arm(options.idleTimeoutMs)
  }

  digest(): ConnectionDigest {
    return connectionDigest(this.socket, this.establishedAt, this.requestCount)
  }

  /** True when no new request is wanted on this connection. */
  get isDraining(): boolean {
    return this.state !== 'open' || this.owner.draining
  }

  /**
   * Ends the connection after its open requests. GOAWAY names the last one; a client may send what it had sent
   * after that to somebody else (RFC 9113 §6.8). The library takes no request after any GOAWAY, so there is no
   * warning with the highest id before.
   */
  drain(): void {
    if (this.state === 'open') this.close()
  }

  /** Cuts the connection and all its requests at once. */
  destroy(): void {
    this.socket.destroy()
  }

  /** Tells the client which request is the last one; the connection ends with the last of the open ones. */
  private close(): void {
    this.state = 'closing'
    this.session.close()
    if (this.openStreams === 0) this.linger()
  }

  // --- requests --------------------------------------------------------------------------------

  private onStream(stream: ServerHttp2Stream, flags: number, raw: string[]): void {
    stream.on('error', ignore)
    if (stream.destroyed || stream.closed) {
      // Reset within the read that brought it.
      this.countReset()
      return
    }
    this.openStreams++
    this.idleTimer.cancel()
    const { owner } = this
    const head = readRequestHead(raw, owner.options)
    if (isRefusal(head)) {
      owner.onHeadRefused(head.status, head.code)
      this.refuse(stream, head.status)
      return
    }
    const session = new Http2ServerSession(this, stream, head, (flags & NGHTTP2_FLAG_END_STREAM) !== 0)
    if (++this.requestCount === owner.options.requestsPerConnectionMax) this.drain()
    owner.onSession(session)
  }

  /** A minimal answer to what never became a request. */
  private refuse(stream: ServerHttp2Stream, status: number): void {
    stream.on('close', () => this.streamClosed(true))
    const name = this.owner.options.serverName
    const fields: (string | number)[] = [':status', status, 'cache-control', 'private, no-store']
    if (name !== '') fields.push('server', name)
    // The library resets a stream whose body nobody has asked for, once the response is out.
    stream.respond(fields as unknown as readonly string[], { endStream: true })
  }

  /**
   * A stream is gone.
   *
   * @param whole - False when it ended before its response did, by a reset or for what the client did.
   */
  streamClosed(whole: boolean): void {
    this.openStreams--
    if (this.state === 'closed') return
    if (!whole) this.countReset()
    if (this.openStreams > 0) return
    if (this.state === 'closing' || this.session.closed || this.session.destroyed) this.linger()
    else this.idleTimer.arm(this.owner.options.idleTimeoutMs)
  }

  // --- floods ----------------------------------------------------------------------------------

  /** Resets by the client and those it provokes from us cost us work and it nothing. */
  private countReset(): void {
    if (!this.resets.take()) this.flooded('HTTP2_RESET_FLOOD')
  }

  private onControlFrame(): void {
    if (!this.controls.take()) this.flooded('HTTP2_CONTROL_FLOOD')
  }

  private flooded(code: string): void {
    if (this.session.destroyed) return
    this.owner.onHeadRefused(0, code)
    this.state = 'closing'
    this.session.destroy(
      peerError('H2_ERROR', 'downstream', `Client floods its connection (${code})`),
      NGHTTP2_ENHANCE_YOUR_CALM,
    )
    this.linger()
  }

  // --- timers, errors, the end -----------------------------------------------------------------

  onTimer(tag: number): void {
    if (this.state === 'closed') return
    if (tag === LINGER_TIMER) this.lingerOn()
    else if (this.openStreams === 0 && this.state !== 'closing') this.close()
  }

  /** The client has ended its sending side: it can open no window any more, so it has gone. */
  private onEnd(): void {
    if (this.openStreams === 0 || this.owner.options.abortOnClose) this.destroy()
    else this.close()
  }

  /** The last frames are on their way: the client is given time to take them and to close. */
  private linger(): void {
    this.idleTimer.cancel()
    this.takenAtLinger = bytesTaken(this.socket)
    this.lingeredMs = 0
    this.lingerTimer.arm(this.owner.options.lingerTimeoutMs)
  }

  private lingerOn(): void {
    const { lingerTimeoutMs, writeTimeoutMs } = this.owner.options
    const taken = bytesTaken(this.socket)
    this.lingeredMs = taken === this.takenAtLinger ? this.lingeredMs + lingerTimeoutMs : 0
    this.takenAtLinger = taken
    if (bytesQueued(this.socket) === 0 || this.lingeredMs >= writeTimeoutMs) this.destroy()
    else this.lingerTimer.arm(lingerTimeoutMs)
  }

  /** The protocol is over, by whosever will. The socket may still have its last bytes to send. */
  private onSessionClosed(): void {
    if (this.state === 'closed') return
    this.state = 'closing'
    this.destroy()
  }

  private onClose(): void {
    if (this.state === 'closed') return
    this.state = 'closed'
    this.idleTimer.cancel()
    this.lingerTimer.cancel()
    this.owner.onConnectionClosed(this)
  }

  /** Why a stream ended that nobody had ended here. */
  closeReason(stream: ServerHttp2Stream): ProxyError {
    const cause = this.socketError
    const code = stream.rstCode ?? NGHTTP2_NO_ERROR
    const act = this.socket.destroyed
      ? 'Client closed the connection'
      : `Client reset the stream (code ${code})`
    return peerError('CONNECTION_CLOSED', 'downstream', act, cause === null ? {} : { cause })
  }
}

function sessionOptions(options: ResolvedHttpServerOptions): http2.ServerSessionOptions {
  const streams = options.http2StreamsMax
  const perStream = options.http2WindowBytes + options.headBytesMax + STREAM_BYTES_MAX
  return {
    settings: {
      enablePush: false,
      headerTableSize: 4_096,
      maxConcurrentStreams: streams,
      initialWindowSize: options.http2WindowBytes,
      maxFrameSize: 16_384,
      maxHeaderListSize: options.headBytesMax,
      enableConnectProtocol: true,
    },
    maxDeflateDynamicTableSize: 4_096,
    maxSendHeaderBlockLength: SENT_FIELDS_BYTES_MAX,
    // The pseudo-fields come on top of what the fields' own check allows.
    maxHeaderListPairs: options.fieldsMax + 16,
    maxSessionMemory: Math.max(10, Math.ceil((streams * perStream) / 1_000_000)),
    maxSettings: SETTINGS_PER_FRAME_MAX,
    maxSessionInvalidFrames: INVALID_FRAMES_MAX,
    maxSessionRejectedStreams: INVALID_FRAMES_MAX,
    streamResetBurst: options.http2ResetBurstMax,
    streamResetRate: options.http2ResetsPerSecondMax,
    // Fields may repeat as their sender sees fit: what must not was refused before.
    strictSingleValueFields: false,
  }
}

function ignore(): void {}
