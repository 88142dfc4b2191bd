import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { isProxyError, type ProxyError, peerError } from '@cirque/error'
import {
  errorName,
  Http2Connection,
  type Http2ConnectionHandler,
  type Http2Request,
  type Http2Stream,
  type RequestProblem,
  type ResetOrigin,
} from '@cirque/http2'
import { CoarseTimer, type TimerOwner } from '@cirque/timeout'
import type { ResolvedHttpServerOptions } from '../downstream/http-server-options.ts'
import { bytesQueued, bytesTaken, encryptsAtOnce } from '../http1/wire.ts'
import type { ServerSession } from '../sessions/server-session.ts'
import type { WriteResult } from '../sessions/write-result.ts'
import { readInto } from '../sockets/accepted-reads.ts'
import { connectionDigest } from '../sockets/connection-digest.ts'
import type { ConnectionDigest } from '../sockets/digest.ts'
import { sharedReadBuffer } from '../sockets/read-buffer.ts'
import type { Http2Counts } from './counts.ts'
import { serverEngineOptions } from './engine-options.ts'
import { FrameInput, type FrameInputOwner } from './frame-input.ts'
import { isRefusal, readRequestHead } from './request-head.ts'
import {
  CLOSED,
  CLOSING,
  HTTP2_SERVER_STATES,
  type Http2ServerConnectionState,
  LINGER,
  OPEN,
} from './server-connection-states.ts'
import { Http2ServerSession } from './server-session.ts'
import { writeChunks } from './transport.ts'
import { atTurnEnd, type TurnWriter } from './turn-end.ts'

/** What owns HTTP/2 connections: hands each request to the application and counts. */
export interface Http2ConnectionOwner {
  readonly options: ResolvedHttpServerOptions
  readonly http2Counts: Http2Counts
  /** True while the service drains: no connection takes new requests for long. */
  readonly draining: boolean
  /** A request has arrived. The owner answers it, now or later, through the session. */
  onSession(session: ServerSession): void
  /** A head was refused and answered with `status`; 0 where the connection ended for it. */
  onHeadRefused(status: number, code: string): void
  /** An invariant of a connection or of an exchange on it is broken. */
  onBroken(): void
  /** The connection is closed and holds nothing any more. */
  onConnectionClosed(connection: Http2ServerConnection): void
}

const IDLE_TIMER = 0
const LINGER_TIMER = 1
const WRITE_TIMER = 2
const DRAIN_TIMER = 3

/** One client's HTTP/2 connection: opens a session per stream, ends floods, closes without losing requests. */
export class Http2ServerConnection
  implements TimerOwner, Http2ConnectionHandler, FrameInputOwner, TurnWriter
{
  readonly socket: Socket | TLSSocket
  readonly owner: Http2ConnectionOwner
  readonly establishedAt: number = Date.now()
  /** Where the owner keeps it. */
  place = -1
  state: Http2ServerConnectionState = OPEN
  requestCount = 0

  private readonly engine: Http2Connection
  private readonly input: FrameInput
  /** The client has ended its sending side, and what it sent before still waits for its turn. */
  private ended = false
  private readonly encrypts: boolean
  private socketError: Error | null = null
  private takenAtLinger = 0
  private lingeredMs = 0
  private takenAtArm = 0
  private readonly idleTimer: CoarseTimer
  private lingerTimer: CoarseTimer | null = null
  private writeTimer: CoarseTimer | null = null
  private drainTimer: CoarseTimer | null = null

  /** Takes the socket over. What was read of it before is to be handed to `onSharedRead`. */
  constructor(socket: Socket | TLSSocket, owner: Http2ConnectionOwner) {
    this.socket = socket
    this.owner = owner
    this.encrypts = encryptsAtOnce(socket)
    this.idleTimer = new CoarseTimer(this, IDLE_TIMER)
    this.engine = new Http2Connection('server', this, serverEngineOptions(owner.options))
    this.input = new FrameInput(this, socket, this.engine)
    const isShared =
      sharedReadBuffer !== null &&
      readInto(socket, sharedReadBuffer, (count, buffer) => this.onSharedRead(count, buffer))
    if (isShared) socket.resume()
    else socket.on('data', (chunk: Buffer) => this.input.receive(chunk, chunk.length))
    socket.on('end', () => this.onEnd())
    socket.on('drain', () => this.engine.resumeOutput())
    socket.on('error', (error: Error) => {
      this.socketError = error
    })
    socket.on('close', () => this.onClose())
    this.idleTimer.arm(owner.options.idleTimeoutMs)
  }

  /** A read into memory that the next read overwrites: what is kept of it is copied. */
  onSharedRead(count: number, buffer: Buffer): boolean {
    return this.input.receive(buffer, count)
  }

  onInputTurn(): void {
    if (this.ended && !this.input.waiting && this.state !== CLOSED) this.onEnd()
  }

  private become(next: Http2ServerConnectionState): boolean {
    if (HTTP2_SERVER_STATES.allows(this.state, next)) {
      this.state = next
      return true
    }
    this.engine.breakOff(HTTP2_SERVER_STATES.broken(this.state, next))
    return false
  }

  digest(): ConnectionDigest {
    return connectionDigest(this.socket, this.establishedAt, this.requestCount)
  }

  /** True when no new request is wanted on this connection. */
  get isDraining(): boolean {
    return this.engine.state !== 'open' || this.owner.draining
  }

  /**
   * Ends the connection after its open requests. GOAWAY with the highest id warns the client; once it has answered a
   * ping, another names the last request, and what it sent in between is served (RFC 9113 §6.8).
   */
  drain(): void {
    if (this.engine.state !== 'open') return
    this.owner.http2Counts.goAways++
    this.engine.drain()
    this.drainTimer = new CoarseTimer(this, DRAIN_TIMER)
    this.drainTimer.arm(this.owner.options.lingerTimeoutMs)
  }

  /** Cuts the connection and all its requests at once. */
  destroy(): void {
    this.socket.destroy()
    this.onClose()
  }

  // --- the engine's calls ------------------------------------------------------------------------

  onRequest(stream: Http2Stream, request: Http2Request, endOfStream: boolean): void {
    this.idleTimer.cancel()
    this.input.onRequest()
    const { owner } = this
    const head = readRequestHead(request, owner.options)
    if (isRefusal(head)) {
      owner.onHeadRefused(head.status, head.code)
      this.refuse(stream, head.status)
      stream.discard()
      return
    }
    const session = new Http2ServerSession(this, stream, head, endOfStream)
    stream.handler = session
    if (++this.requestCount === owner.options.requestsPerConnectionMax) this.drain()
    owner.onSession(session)
  }

  onRequestRefused(stream: Http2Stream, problem: RequestProblem): void {
    const status = problem === 'HTTP2_HEAD_BYTES' ? 431 : 400
    this.owner.onHeadRefused(status, problem)
    this.refuse(stream, status)
  }

  /** A minimal answer to what never became a request. */
  private refuse(stream: Http2Stream, status: number): void {
    const name = this.owner.options.serverName
    const fields = [':status', `${status}`, 'cache-control', 'private, no-store']
    if (name !== '') fields.push('server', name)
    stream.sendHead(fields, true)
  }

  onStreamClosed(_stream: Http2Stream, origin: ResetOrigin | null): void {
    if (origin === 'peer' || origin === 'rules') this.owner.http2Counts.resets++
    if (this.engine.openStreams > 0) return
    if (this.state === CLOSING) this.linger()
    else if (this.state === OPEN) this.idleTimer.arm(this.owner.options.idleTimeoutMs)
  }

  onConnectionError(_code: number, reason: string): void {
    const { http2Counts } = this.owner
    if (this.drainTimer === null) http2Counts.goAways++
    if (reason.endsWith('_FLOOD')) http2Counts.floods++
    // A limit's reason is its name; the others are for people.
    this.owner.onHeadRefused(0, reason.startsWith('HTTP2_') ? reason : 'HTTP2_PROTOCOL')
    this.linger()
  }

  onDrained(): void {
    if (!this.become(CLOSING)) return
    if (this.drainTimer === null) this.owner.http2Counts.goAways++ // else it was warned before
    if (this.engine.openStreams === 0) this.linger()
  }

  onBroken(stream: Http2Stream | null, error: ProxyError): void {
    const session = stream?.handler
    if (session instanceof Http2ServerSession) {
      session.breakOff(error)
      // What was not answered at once cannot be any more.
      session.destroy(error)
      return
    }
    this.owner.onBroken()
    if (stream === null) this.destroy()
    else this.drain()
  }

  onSettings(): void {}
  onGoaway(): void {}
  onPong(): void {}

  // --- writing -----------------------------------------------------------------------------------

  onOutputWaiting(): void {
    atTurnEnd(this)
  }

  writeTurn(): void {
    this.engine.flush()
  }

  writeOutput(chunks: readonly Buffer[]): WriteResult {
    const result = writeChunks(this.socket, chunks, this.encrypts)
    if (this.socket.writableLength > 0 && this.state !== CLOSED) this.watchWrites()
    return result
  }

  private watchWrites(): void {
    this.writeTimer ??= new CoarseTimer(this, WRITE_TIMER)
    if (this.writeTimer.armed) return
    this.takenAtArm = bytesTaken(this.socket)
    this.writeTimer.arm(this.owner.options.writeTimeoutMs)
  }

  /** Whether the client takes a head of these fields, as far as its settings have come. */
  takesFields(fields: readonly string[]): boolean {
    return this.engine.takesFields(fields)
  }

  /** Bytes that the client has taken so far, whatever the stream. */
  get taken(): number {
    return bytesTaken(this.socket)
  }

  // --- timers, errors, the end -------------------------------------------------------------------

  onTimer(tag: number): void {
    switch (tag) {
      case LINGER_TIMER:
        this.lingerOn()
        break
      case DRAIN_TIMER:
        this.engine.finishDrain()
        break
      case WRITE_TIMER:
        this.onWriteTimer()
        break
      default:
        if (this.engine.openStreams === 0) this.engine.finishDrain()
    }
  }

  private onWriteTimer(): void {
    if (this.socket.writableLength === 0 || this.state === CLOSED) return
    if (bytesTaken(this.socket) !== this.takenAtArm) {
      this.watchWrites()
      return
    }
    const { writeTimeoutMs } = this.owner.options
    this.socketError ??= peerError(
      'WRITE_TIMEOUT',
      'downstream',
      `Client took nothing for ${writeTimeoutMs} ms`,
    )
    this.destroy()
  }

  /** The client has ended its sending side: it can open no window any more, so it has gone. */
  private onEnd(): void {
    this.ended = this.input.waiting
    if (this.ended) return
    if (this.state === LINGER) this.socket.destroySoon()
    else if (this.engine.openStreams === 0 || this.owner.options.abortOnClose) this.destroy()
    else this.engine.finishDrain()
  }

  /** The last frames are on their way: the client is given time to take them and to close. */
  private linger(): void {
    if (this.state >= LINGER || !this.become(LINGER)) return
    this.idleTimer.cancel()
    this.drainTimer?.cancel()
    this.engine.flush()
    this.socket.end()
    this.takenAtLinger = bytesTaken(this.socket)
    this.lingerTimer = new CoarseTimer(this, LINGER_TIMER)
    this.lingerTimer.arm(this.owner.options.lingerTimeoutMs)
  }

  private lingerOn(): void {
    const { lingerTimeoutMs, writeTimeoutMs } = this.owner.options
    const taken = bytesTaken(this.socket)
    this.lingeredMs = taken === this.takenAtLinger ? this.lingeredMs + lingerTimeoutMs : 0
    this.takenAtLinger = taken
    if (bytesQueued(this.socket) === 0 || this.lingeredMs >= writeTimeoutMs) this.destroy()
    else this.lingerTimer?.arm(lingerTimeoutMs)
  }

  private onClose(): void {
    if (this.state === CLOSED) return
    // Whatever it was: a question here could only keep it open.
    this.state = CLOSED
    this.idleTimer.cancel()
    this.lingerTimer?.cancel()
    this.writeTimer?.cancel()
    this.drainTimer?.cancel()
    this.engine.close()
    this.owner.onConnectionClosed(this)
  }

  /** Why a stream ended that nobody had ended here. */
  closeReason(code: number, origin: ResetOrigin): ProxyError {
    const cause = this.socketError
    if (origin === 'connection' && this.engine.broken !== null) return this.engine.broken
    if (origin === 'connection' && isProxyError(cause)) return cause
    if (origin === 'rules') {
      return peerError('H2_ERROR', 'downstream', `Client broke the rules of its stream (${errorName(code)})`)
    }
    const act =
      origin === 'peer' ? `Client reset the stream (${errorName(code)})` : 'Client closed the connection'
    return peerError('CONNECTION_CLOSED', 'downstream', act, cause === null ? {} : { cause })
  }
}
