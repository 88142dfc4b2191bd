import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { isProxyError, type ProxyError, peerError } from '@cirque/error'
import {
  ErrorCode,
  errorName,
  Http2Connection,
  type Http2ConnectionHandler,
  type Http2Stream,
  type Http2StreamHandler,
} from '@cirque/http2'
import { CoarseTimer, now, type TimerOwner } from '@cirque/timeout'
import type { ResponseLimits } from '../http1/client-life.ts'
import { encryptsAtOnce } from '../http1/wire.ts'
import { guardWrites } from '../http1/write-guard.ts'
import { WRITE_DONE, type WriteResult } from '../sessions/write-result.ts'
import { connectionDigest } from '../sockets/connection-digest.ts'
import type { ConnectionDigest } from '../sockets/digest.ts'
import type { HttpPeer } from '../upstream/peer.ts'
import {
  CLOSED,
  CLOSING,
  HTTP2_CLIENT_STATES,
  type Http2ClientConnectionState,
  OPEN,
  RETIRED,
} from './client-connection-states.ts'
import { Http2ClientSession } from './client-session.ts'
import { clientEngineOptions } from './engine-options.ts'
import { FrameInput, type FrameInputOwner } from './frame-input.ts'
import { ReadMemory } from './read-memory.ts'
import { writeChunks } from './transport.ts'
import { atTurnEnd, type TurnWriter } from './turn-end.ts'

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
  /** An invariant of a connection or of an exchange on it is broken. */
  onBroken(): void
  /** The peer takes no extended CONNECT: its upgrades go over HTTP/1.1, where it has that. */
  onNoConnectProtocol(peer: HttpPeer): void
}

const IDLE_TIMER = 0
const PING_TIMER = 1
const PONG_TIMER = 2
const CLOSE_TIMER = 3

/** How long a ping may stay unanswered, in milliseconds. */
const PONG_TIMEOUT_MS = 5_000
/** How long the last frames of a connection may take, in milliseconds. */
const CLOSE_TIMEOUT_MS = 2_000

/** One HTTP/2 connection to a peer; carries as many exchanges at once as both sides allow. */
export class Http2ClientConnection
  implements TimerOwner, Http2ConnectionHandler, FrameInputOwner, TurnWriter
{
  /** The peer that it was opened for; its windows, pings and idle timeout apply. */
  readonly peer: HttpPeer
  readonly owner: Http2ClientOwner
  readonly establishedAt: number = Date.now()
  openStreams = 0
  /** Exchanges carried so far, those under way included. */
  requestCount = 0

  /** On the clock that nobody sets, which its age is told by. */
  private readonly openedAt: number = now()
  private readonly socket: Duplex
  private readonly engine: Http2Connection
  private readonly input: FrameInput
  /** The peer has closed its side, and what it sent before still waits for its turn. */
  private ended = false
  private readonly encrypts: boolean
  private streamsMax: number
  private state: Http2ClientConnectionState = OPEN
  private failure: Error | null = null
  private readonly memory: ReadMemory = new ReadMemory()
  /** Sessions that were told of data in this turn. */
  private touched: Http2ClientSession[] = []
  /** Those that wait for the peer's settings. */
  private awaiting: Http2ClientSession[] | null = null
  private readonly idleTimer: CoarseTimer
  private readonly closeTimer: CoarseTimer
  private pingTimer: CoarseTimer | null = null
  private pongTimer: CoarseTimer | null = null

  /**
   * Takes over a connected transport, which speaks HTTP/2 by ALPN or by agreement.
   *
   * @param onRead - Its reads come to `read`, in memory that `readBuffer` gives; else as `data` events.
   */
  constructor(owner: Http2ClientOwner, peer: HttpPeer, socket: Duplex, onRead: boolean) {
    this.owner = owner
    this.peer = peer
    this.socket = socket
    this.streamsMax = peer.options.http2StreamsMax
    this.encrypts = encryptsAtOnce(socket)
    this.idleTimer = new CoarseTimer(this, IDLE_TIMER)
    this.closeTimer = new CoarseTimer(this, CLOSE_TIMER)
    this.engine = new Http2Connection('client', this, clientEngineOptions(peer, owner.limits))
    this.input = new FrameInput(this, socket, this.engine)
    if (socket instanceof Socket) guardWrites(socket, (error) => this.onWriteError(error))
    if (!onRead) socket.on('data', (chunk: Buffer) => this.receive(chunk, chunk.length))
    socket.on('drain', () => this.engine.resumeOutput())
    socket.on('error', (error: Error) => {
      this.failure ??= error
    })
    socket.on('close', () => this.onClose())
    socket.on('end', () => this.onEnd())
    if (peer.options.http2PingIntervalMs > 0) {
      this.pingTimer = new CoarseTimer(this, PING_TIMER)
      this.pongTimer = new CoarseTimer(this, PONG_TIMER)
    }
    socket.resume()
  }

  private become(next: Http2ClientConnectionState): boolean {
    if (HTTP2_CLIENT_STATES.allows(this.state, next)) {
      this.state = next
      return true
    }
    this.engine.breakOff(HTTP2_CLIENT_STATES.broken(this.state, next))
    return false
  }

  digest(): ConnectionDigest {
    return connectionDigest(this.socket as Socket, this.establishedAt, this.requestCount)
  }

  // --- reading -----------------------------------------------------------------------------------

  /** Where the next read goes. */
  get readBuffer(): Buffer {
    return this.memory.next
  }

  /** A read of `count` bytes into `buffer`. Returns true to read on. */
  read(count: number, buffer: Buffer): boolean {
    this.memory.begin()
    const readOn = this.receive(buffer, count)
    if (this.state === CLOSED) return false
    this.memory.end(count, buffer, this.openStreams === 0)
    return readOn
  }

  private receive(buffer: Buffer, count: number): boolean {
    const readOn = this.input.receive(buffer, count)
    this.turnOver()
    return readOn
  }

  onInputTurn(): void {
    this.turnOver()
    if (this.ended) this.onEnd()
  }

  private turnOver(): void {
    const { touched } = this
    for (let i = 0; i < touched.length; i++) (touched[i] as Http2ClientSession).turnOver()
    touched.length = 0
  }

  /** The memory of the present read stays in use. */
  retainRead(): void {
    this.memory.retain()
  }

  /** The session hears `turnOver` once this read is dealt with. */
  touch(session: Http2ClientSession): void {
    this.touched.push(session)
  }

  // --- exchanges ---------------------------------------------------------------------------------

  /** True when a request may start now. */
  get available(): boolean {
    if (this.state !== OPEN || !this.engine.available || this.socket.destroyed) return false
    return (
      this.openStreams < this.streamsMax && this.openStreams < this.engine.peerStreamsMax && !this.exhausted
    )
  }

  /** True when it has carried enough, or is too old: it takes no more requests. */
  get exhausted(): boolean {
    const { requestsPerConnectionMax, connectionAgeMaxMs } = this.owner
    if (requestsPerConnectionMax > 0 && this.requestCount >= requestsPerConnectionMax) return true
    return connectionAgeMaxMs > 0 && now() - this.openedAt > connectionAgeMaxMs
  }

  /** A session for one request of `peer`. */
  open(peer: HttpPeer): Http2ClientSession {
    this.idleTimer.cancel()
    this.openStreams++
    this.requestCount++
    if (this.pingTimer?.armed === false) this.pingTimer.arm(this.peer.options.http2PingIntervalMs)
    return new Http2ClientSession(this, peer, this.requestCount > 1)
  }

  /** The session's request begins; null when the connection takes none any more. */
  start(
    fields: readonly string[],
    endOfStream: boolean,
    handler: Http2StreamHandler,
    neverIndexed: ReadonlySet<string> | null,
  ): Http2Stream | null {
    const stream = this.engine.open(fields, endOfStream, handler, neverIndexed)
    stream?.resume()
    return stream
  }

  /** Whether the peer takes a head of these fields, as far as its settings have come. */
  takesFields(fields: readonly string[]): boolean {
    return this.engine.takesFields(fields)
  }

  /** Whether the peer takes extended CONNECT; undefined while its settings have not come. */
  get connectProtocol(): boolean | undefined {
    return this.engine.settingsReceived ? this.engine.peerConnectProtocol : undefined
  }

  /** The session hears `onSettings` once the peer's settings have come. */
  awaitSettings(session: Http2ClientSession): void {
    this.awaiting ??= []
    this.awaiting.push(session)
  }

  /** A session is over, or its stream is gone: another may take its place. */
  sessionEnded(): void {
    this.openStreams--
    if (this.state === CLOSED) return
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
    if (!this.takeNoMore()) return
    this.owner.onConnectionChanged(this)
    if (this.openStreams === 0) this.close()
  }

  /** Retires; false when it was retired before. */
  private takeNoMore(): boolean {
    return this.state === OPEN && this.become(RETIRED)
  }

  destroy(): void {
    this.socket.destroy()
    this.onClose()
  }

  private close(): void {
    if (!this.closeSoon()) return
    this.engine.finishDrain()
    this.engine.flush()
    this.socket.end()
  }

  /** The end is near, and comes by force if it does not come by itself; false when it was so before. */
  private closeSoon(): boolean {
    this.takeNoMore()
    this.idleTimer.cancel()
    if (this.state !== RETIRED || !this.become(CLOSING)) return false
    this.closeTimer.arm(CLOSE_TIMEOUT_MS)
    return true
  }

  // --- what the peer says of its streams -----------------------------------------------------------

  /** A stream was refused while others run: the peer has its limit here, whatever its settings say. */
  learnLimit(): void {
    this.streamsMax = Math.max(1, Math.min(this.streamsMax, this.openStreams - 1))
  }

  /** A response has come: the limit may have been of the moment. */
  learnSuccess(): void {
    if (this.streamsMax < this.peer.options.http2StreamsMax) this.streamsMax++
  }

  /** True when the peer broke the rules of HTTP/2, so that the connection had to end. */
  get isBroken(): boolean {
    return this.engine.failure !== null
  }

  /** Why the connection ended, if it did by an error. */
  get cause(): Error | null {
    const { failure } = this.engine
    return this.failure ?? (failure === null ? null : new Error(failure))
  }

  /** The error of this package that ended the connection, or null. */
  get ownFailure(): ProxyError | null {
    return isProxyError(this.failure) ? this.failure : null
  }

  // --- the engine's calls --------------------------------------------------------------------------

  onSettings(): void {
    const { awaiting } = this
    this.awaiting = null
    if (awaiting !== null) for (const session of awaiting) session.onSettings()
    this.owner.onConnectionChanged(this)
  }

  onGoaway(_lastStreamId: number, code: number): void {
    this.takeNoMore()
    if (code !== ErrorCode.NO_ERROR) {
      // The peer is about to close (RFC 9113 §5.4.1); should it not, nobody waits for it.
      this.failure ??= new Error(`Upstream ended the connection with ${errorName(code)}`)
      this.closeSoon()
    }
    this.owner.onConnectionChanged(this)
    if (this.openStreams === 0) this.close()
  }

  onPong(): void {
    this.pongTimer?.cancel()
    if (this.openStreams > 0) this.pingTimer?.arm(this.peer.options.http2PingIntervalMs)
  }

  onConnectionError(): void {
    this.closeSoon()
    this.engine.flush()
    this.socket.end()
    this.owner.onConnectionChanged(this)
  }

  onBroken(stream: Http2Stream | null, error: ProxyError): void {
    if (stream?.handler instanceof Http2ClientSession) {
      stream.handler.breakOff(error)
      return
    }
    this.owner.onBroken()
    if (stream === null) this.destroy()
    else this.retire()
  }

  /** What is broken that never may be, so that the connection had to end; null when nothing is. */
  get broken(): ProxyError | null {
    return this.engine.broken
  }

  onRequest(): void {}
  onRequestRefused(): void {}
  onDrained(): void {}

  onStreamClosed(stream: Http2Stream): void {
    if (stream.handler instanceof Http2ClientSession) stream.handler.streamClosed()
  }

  // --- writing -------------------------------------------------------------------------------------

  onOutputWaiting(): void {
    atTurnEnd(this)
  }

  writeTurn(): void {
    this.engine.flush()
  }

  writeOutput(chunks: readonly Buffer[]): WriteResult {
    try {
      return writeChunks(this.socket, chunks, this.encrypts)
    } catch (error) {
      // A stream that a `connect` function gave may throw where it should call back.
      this.socket.destroy(
        error instanceof Error ? error : new Error('The stream failed to write', { cause: error }),
      )
      return WRITE_DONE
    }
  }

  // --- timers, the end -----------------------------------------------------------------------------

  onTimer(tag: number): void {
    if (this.state === CLOSED) return
    switch (tag) {
      case IDLE_TIMER:
        if (this.openStreams === 0) this.close()
        break
      case PING_TIMER:
        if (this.openStreams === 0) break
        this.pongTimer?.arm(PONG_TIMEOUT_MS)
        this.engine.ping()
        break
      case PONG_TIMER:
        this.failure ??= peerError(
          'PING_TIMEOUT',
          'upstream',
          `Upstream did not answer a ping in ${PONG_TIMEOUT_MS} ms`,
        )
        this.destroy()
        break
      default:
        this.destroy()
    }
  }

  /** The peer takes nothing any more. What it has answered before may still be on its way. */
  private onWriteError(error: Error): void {
    this.failure ??= error
    this.closeSoon()
    this.owner.onConnectionChanged(this)
  }

  /** The peer has closed its side: nothing can be answered any more. */
  private onEnd(): void {
    this.takeNoMore()
    this.ended = this.input.waiting
    if (!this.ended) this.socket.destroy()
  }

  private onClose(): void {
    if (this.state === CLOSED) return
    // Whatever it was: a question here could only keep it open.
    this.state = CLOSED
    for (const timer of [this.idleTimer, this.closeTimer, this.pingTimer, this.pongTimer]) timer?.cancel()
    if (!this.socket.destroyed) this.socket.destroy()
    const { awaiting } = this
    this.awaiting = null
    this.engine.close()
    if (awaiting !== null) for (const session of awaiting) session.onSettings()
    this.memory.drop()
    this.owner.onHttp2Closed(this)
  }
}
