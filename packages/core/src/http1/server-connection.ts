import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { isProxyError, type ProxyError, peerError } from '@cirque/error'
import {
  canonicalReason,
  type HeadFailure,
  type HeadMemo,
  httpDate,
  NEED_MORE,
  RequestHeadParser,
} from '@cirque/http'
import { CoarseTimer, now, type TimerOwner } from '@cirque/timeout'
import { readInto } from '../accepted-reads.ts'
import { connectionDigest } from '../connection-digest.ts'
import type { ConnectionDigest } from '../digest.ts'
import type { ResolvedHttpServerOptions } from '../http-server-options.ts'
import { sharedReadBuffer } from './read-buffer.ts'
import { Http1ServerSession } from './server-session.ts'
import { bytesTaken, encryptsAtOnce, RUNS_PER_TURN_MAX } from './wire.ts'

/** What owns HTTP/1 connections: hands each request to the application and counts. */
export interface Http1ConnectionOwner {
  readonly options: ResolvedHttpServerOptions
  /** True while the service drains: each response is its connection's last one. */
  readonly draining: boolean
  /** True while it drains but leaves connections open that were promised another request. */
  readonly keepsIdle: boolean
  /** A parser that no connection holds a partial head in; shared by all that receive whole heads. */
  spareParser: RequestHeadParser | null
  /** A request head has arrived. The owner answers it, now or later, through the session. */
  onSession(session: Http1ServerSession): void
  /** A head was refused and answered with `status`. */
  onHeadRefused(status: number, code: string): void
  /** The connection is closed and holds nothing any more. */
  onConnectionClosed(connection: Http1ServerConnection): void
}

/**
 * The connection's life. Moves go down the list, or back from `exchange` and `discard` to `idle`.
 * - `idle`: between messages; no byte of the next head has arrived.
 * - `head`: part of a head has arrived.
 * - `exchange`: a session is open.
 * - `discard`: the response is complete; the rest of its request's body is read and dropped.
 * - `tunnel`: 101 was sent; bytes pass both ways.
 * - `linger`: the last response is written and our side is closed; what still comes is dropped.
 * - `closed`: nothing moves any more.
 */
export type ServerConnectionState = 'idle' | 'head' | 'exchange' | 'discard' | 'tunnel' | 'linger' | 'closed'

const READ_TIMER = 0
const WRITE_TIMER = 1

/** One client's HTTP/1 connection: reads heads, keeps alive, pipelines one at a time, closes without losing bytes. */
export class Http1ServerConnection implements TimerOwner {
  readonly socket: Socket | TLSSocket
  readonly owner: Http1ConnectionOwner
  readonly establishedAt: number = Date.now()
  /** Writes need no memory after they return, if none was queued before. */
  readonly encryptsAtOnce: boolean
  state: ServerConnectionState = 'idle'
  requestCount = 0
  /** What the application keeps for this connection between its requests. */
  userContext: unknown = undefined

  private session: Http1ServerSession | null = null
  /** What the field lines of the last head meant: the next head tends to have the same. */
  private memo: HeadMemo | null = null
  /** Holds a partial head; null while none is there. */
  private parser: RequestHeadParser | null = null
  /** Bytes that arrived before they could be used: pipelined ones, or a body that nobody reads yet. */
  private held: Buffer | null = null
  private consuming = false
  /** The chunk being consumed lies in memory that is read into again. */
  private borrowed = false
  /** The client has ended its sending side. */
  private ended = false
  private lingered = 0
  private takenAtArm = 0
  /** When the request under way must have arrived as a whole; 0 while none of its body is awaited. */
  private requestDueAt = 0
  /** Between 60 s and 66, say: connections that began together do not end together. */
  private readonly idleMs: number
  private socketError: Error | null = null
  private readonly readTimer: CoarseTimer
  private writeTimer: CoarseTimer | null = null

  constructor(socket: Socket | TLSSocket, owner: Http1ConnectionOwner) {
    this.socket = socket
    this.owner = owner
    this.encryptsAtOnce = encryptsAtOnce(socket)
    this.readTimer = new CoarseTimer(this, READ_TIMER)
    const isShared =
      sharedReadBuffer !== null &&
      readInto(socket, sharedReadBuffer, (count, buffer) => this.onSharedRead(count, buffer))
    if (isShared) socket.resume()
    else socket.on('data', (chunk: Buffer) => this.onData(chunk))
    socket.on('end', () => this.onEnd())
    socket.on('drain', () => this.onDrain())
    socket.on('error', (error: Error) => {
      this.socketError = error
    })
    socket.on('close', () => this.onClose())
    this.idleMs = Math.min(2 ** 31 - 1, Math.ceil(owner.options.idleTimeoutMs * (1 + Math.random() / 10)))
    this.readTimer.arm(this.idleMs)
  }

  get closed(): boolean {
    return this.state === 'closed'
  }

  /** True when closing the connection now loses nothing. */
  get idle(): boolean {
    return this.state === 'idle' && this.held === null
  }

  /** True when every byte that has come was given to whom it is for. */
  get holdsNothing(): boolean {
    return this.held === null
  }

  digest(): ConnectionDigest {
    return connectionDigest(this.socket, this.establishedAt, this.requestCount)
  }

  /**
   * Closes an idle connection at once; a busy one closes after its response. One that is new has
   * `firstRequestTimeoutMs` from its beginning: its client has hardly had the time to ask.
   */
  drain(): void {
    if (!this.idle) return
    const { firstRequestTimeoutMs } = this.owner.options
    const leftMs = this.requestCount > 0 ? 0 : this.establishedAt + firstRequestTimeoutMs - Date.now()
    if (leftMs > 0) this.readTimer.arm(Math.min(leftMs, firstRequestTimeoutMs))
    else this.close()
  }

  /** Cuts the connection; with `reset`, so that the client cannot take the end for a proper one. */
  destroy(error?: Error, reset: boolean = false): void {
    if (this.state === 'closed') return
    if (error !== undefined) this.socketError ??= error
    const { socket } = this
    // A Unix socket has no reset, and TLS says by itself that it was cut.
    if (reset && !(socket instanceof TLSSocket) && socket.remoteFamily !== undefined) socket.resetAndDestroy()
    else socket.destroy()
    this.onClose()
  }

  // --- reading ---------------------------------------------------------------------------------

  /** A read into memory that the next read overwrites: heads are read where they lie, all else is copied. */
  onSharedRead(count: number, buffer: Buffer): boolean {
    if (this.session?.bodyDoubtful === true) return !this.socket.isPaused()
    this.borrowed = true
    if (this.held !== null || this.consuming) this.hold(buffer, 0, count)
    else this.consume(buffer, 0, count)
    this.borrowed = false
    return !this.socket.isPaused()
  }

  private onData(chunk: Buffer): void {
    // The response said that the connection closes: what is no body for certain is nothing at all.
    if (this.session?.bodyDoubtful === true) return
    // What was under way when the socket was paused is held as well.
    if (this.held !== null || this.consuming) this.hold(chunk, 0, chunk.length)
    else this.consume(chunk, 0, chunk.length)
  }

  /** Uses up the bytes `[offset, size)`, or holds the rest. Loops, so pipelined requests do not recurse. */
  private consume(given: Buffer, offset: number, size: number): void {
    this.consuming = true
    let chunk = given
    let at = offset
    let end = size
    while (at < end) {
      switch (this.state) {
        case 'idle':
          if (this.socket.writableNeedDrain) {
            // A client that sends requests and takes no responses waits until it has.
            this.hold(chunk, at, end)
            at = end
          } else at = this.readHead(chunk, at, end)
          break
        case 'head':
          at = this.readHead(chunk, at, end)
          break
        case 'exchange':
        case 'tunnel': {
          const session = this.session as Http1ServerSession
          if (!session.flowing || (session.requestEnded && this.state === 'exchange')) {
            this.hold(chunk, at, end)
            at = end
            break
          }
          if (this.borrowed) {
            chunk = this.own(chunk, at, end)
            end = chunk.length
            at = 0
          }
          session.runCount = 0
          at = this.state === 'tunnel' ? session.feedTunnel(chunk, at, end) : session.feed(chunk, at, end)
          if (session.runCount >= RUNS_PER_TURN_MAX && this.session === session) {
            if (at < end) this.hold(chunk, at, end)
            at = end
            this.yieldTurn()
          }
          break
        }
        case 'discard':
          at = this.discard(chunk, at, end)
          break
        case 'linger':
          this.lingered += end - at
          at = end
          if (this.lingered > this.owner.options.lingerBytesMax) this.destroy()
          break
        case 'closed':
          at = end
          break
      }
    }
    this.consuming = false
  }

  /** A copy of what is left of a borrowed chunk, to be kept. */
  private own(chunk: Buffer, at: number, end: number): Buffer {
    this.borrowed = false
    return Buffer.from(chunk.subarray(at, end))
  }

  private hold(chunk: Buffer, at: number, end: number): void {
    const rest = this.borrowed ? this.own(chunk, at, end) : chunk.subarray(at, end)
    this.held = this.held === null ? rest : Buffer.concat([this.held, rest])
    this.socket.pause()
  }

  /** Chunks so small cost a thousand times what their bytes do: reads on when others had their turn. */
  private yieldTurn(): void {
    if (this.closed) return
    this.socket.pause()
    setImmediate(() => this.release())
  }

  /** Goes on with what is held, then lets the socket flow again if nothing is held any more. */
  private release(): void {
    if (this.consuming || this.state === 'closed') return
    const held = this.held
    if (held !== null) {
      this.held = null
      this.consume(held, 0, held.length)
    }
    if (this.held !== null) return
    if (this.ended) this.finishEnd()
    else if (this.socket.isPaused()) this.socket.resume()
  }

  private readHead(chunk: Buffer, at: number, end: number): number {
    const owner = this.owner
    let parser = this.parser
    if (parser === null) {
      parser = owner.spareParser ?? new RequestHeadParser(owner.options)
      owner.spareParser = null
    }
    parser.memo = this.memo
    const after = parser.execute(chunk, at, end)
    if (after >= 0) {
      this.parser = null
      this.memo = parser.memo
      const session = new Http1ServerSession(this, parser)
      owner.spareParser = parser
      this.startExchange(session)
      return after
    }
    if (after === NEED_MORE) {
      this.parser = parser
      if (this.state === 'idle' && parser.started) {
        this.state = 'head'
        this.readTimer.arm(owner.options.headTimeoutMs)
      } else if (!parser.started) {
        this.parser = null
        owner.spareParser = parser
      }
      return end
    }
    this.refuse(parser.failure as HeadFailure)
    parser.reset()
    this.parser = null
    owner.spareParser ??= parser
    // What follows a refused head has no meaning: it is dropped, like all that comes while lingering.
    return end
  }

  private startExchange(session: Http1ServerSession): void {
    this.readTimer.cancel()
    this.requestDueAt = 0
    this.state = 'exchange'
    this.session = session
    this.requestCount++
    this.owner.onSession(session)
  }

  private refuse(failure: HeadFailure): void {
    const { owner } = this
    owner.onHeadRefused(failure.status, failure.code)
    if (failure.code === 'INVALID_VERSION' && owner.options.h2c && this.requestCount === 0) {
      // RFC 9113 §3.4: it may be a broken preface, whose sender can make nothing of an answer in HTTP/1.
      this.destroy()
      return
    }
    this.answerAndClose(failure.status, canonicalReason(failure.status))
  }

  /** A minimal answer to what never became a request. */
  private answerAndClose(status: number, reason: string): void {
    const name = this.owner.options.serverName
    const server = name === '' ? '' : `Server: ${name}\r\n`
    this.socket.write(
      `HTTP/1.1 ${status} ${reason}\r\n${server}Date: ${httpDate()}\r\nContent-Length: 0\r\n` +
        'Cache-Control: private, no-store\r\nConnection: close\r\n\r\n',
      'latin1',
    )
    this.linger()
  }

  private discard(chunk: Buffer, at: number, end: number): number {
    const session = this.session as Http1ServerSession
    const after = session.feed(chunk, at, end)
    if (session.requestEnded && this.state === 'discard') this.nextRequest()
    return after
  }

  private onEnd(): void {
    this.ended = true
    // What is held came before the end and counts first, unless the client waits for a response.
    if (this.held === null || (this.state === 'exchange' && this.session?.requestComplete === true)) {
      this.finishEnd()
    }
  }

  private finishEnd(): void {
    switch (this.state) {
      case 'exchange': {
        const session = this.session as Http1ServerSession
        if (!session.requestComplete) {
          session.fail(
            peerError('PREMATURE_BODY_END', 'downstream', 'Client closed before its request was complete'),
            false,
          )
        } else if (this.owner.options.abortOnClose) {
          session.fail(
            peerError('CONNECTION_CLOSED', 'downstream', 'Client closed while it waited for the response'),
            true,
          )
        } else if (this.held === null) {
          session.disableKeepAlive()
        }
        break
      }
      case 'tunnel':
        ;(this.session as Http1ServerSession).tunnelEnded()
        break
      case 'closed':
        break
      default:
        this.socket.destroySoon()
    }
  }

  // --- called by the session -------------------------------------------------------------------

  /** The session wants body bytes (again). */
  wantBody(): void {
    this.release()
  }

  armBodyTimer(): void {
    // What is only dropped has one timeout for all of it.
    if (this.state !== 'exchange') return
    const { bodyTimeoutMs, requestTimeoutMs } = this.owner.options
    if (this.requestDueAt === 0) this.requestDueAt = now() + requestTimeoutMs
    const leftMs = this.requestDueAt - now()
    // Set anew by each read it would never fire while bytes come.
    if (leftMs <= 0 && this.readTimer.armed) return
    this.readTimer.arm(Math.max(1, Math.min(bodyTimeoutMs, leftMs)))
  }

  /** Nobody reads the body for now: the client is not to blame, unless its time is over. */
  pauseBodyTimer(): void {
    if (this.requestDueAt === 0 || now() < this.requestDueAt) this.cancelBodyTimer()
  }

  cancelBodyTimer(): void {
    if (this.state === 'exchange') this.readTimer.cancel()
  }

  /** Something is queued for the client: from now on it must make progress. */
  armWriteTimer(): void {
    this.writeTimer ??= new CoarseTimer(this, WRITE_TIMER)
    if (this.writeTimer.armed) return
    this.takenAtArm = bytesTaken(this.socket)
    this.writeTimer.arm(this.owner.options.writeTimeoutMs)
  }

  /** 101 is written: from now on bytes pass untouched. */
  startTunnel(): void {
    this.state = 'tunnel'
    this.readTimer.cancel()
  }

  /** Both directions of a tunnel have ended. */
  endTunnel(): void {
    if (this.state === 'tunnel') this.close()
  }

  /** The session's response is complete. */
  sessionEnded(session: Http1ServerSession, keepAlive: boolean): void {
    if (this.session !== session || this.state !== 'exchange') return
    if (!keepAlive || (this.ended && this.held === null)) {
      this.close(session.clientKeepAlive)
    } else if (session.requestComplete) {
      this.nextRequest()
    } else {
      this.state = 'discard'
      session.discardBody()
      this.readTimer.arm(this.owner.options.bodyTimeoutMs)
      this.release()
    }
  }

  private nextRequest(): void {
    this.session = null
    this.state = 'idle'
    if (this.owner.draining && !this.owner.keepsIdle && this.held === null) {
      this.close()
      return
    }
    this.readTimer.arm(this.idleMs)
    // A pipelined request waits until the one before has ended altogether, its logging included.
    if (this.held !== null) setImmediate(() => this.release())
  }

  /** Ends our side after what is written; reads on where closing at once could destroy it on its way (RFC 9112 §9.6). */
  private close(expectsMore: boolean = false): void {
    const session = this.session
    const unread = expectsMore || this.held !== null || (session !== null && !session.requestComplete)
    this.session = null
    if (unread && !this.ended) {
      this.linger()
      return
    }
    this.state = 'linger'
    this.readTimer.arm(this.owner.options.lingerTimeoutMs)
    this.socket.destroySoon()
  }

  private linger(): void {
    this.session = null
    this.held = null
    this.state = 'linger'
    this.readTimer.arm(this.owner.options.lingerTimeoutMs)
    this.socket.end()
    if (this.ended) this.socket.destroySoon()
    else this.socket.resume()
  }

  // --- timers, errors, the end -----------------------------------------------------------------

  onTimer(tag: number): void {
    if (tag === WRITE_TIMER) {
      this.onWriteStalled()
      return
    }
    switch (this.state) {
      case 'head':
        this.owner.onHeadRefused(408, 'HEAD_TIMEOUT')
        this.answerAndClose(408, 'Request Timeout')
        break
      case 'exchange':
        ;(this.session as Http1ServerSession).fail(
          peerError(
            'REQUEST_TIMEOUT',
            'downstream',
            `Client sent nothing of its body for ${this.owner.options.bodyTimeoutMs} ms, or took too long in all`,
          ),
          false,
        )
        break
      case 'tunnel':
      case 'closed':
        break
      case 'linger':
        if (this.socket.writableLength === 0) {
          this.destroy()
          break
        }
        // The last response is still on its way: as long as the client takes it, it may.
        this.armWriteTimer()
        this.readTimer.arm(this.owner.options.lingerTimeoutMs)
        break
      case 'idle':
        if (this.socket.writableLength === 0) {
          this.destroy()
          break
        }
        // The client is not idle: it still takes the response before, at the pace that the write timer demands.
        this.armWriteTimer()
        this.readTimer.arm(this.idleMs)
        break
      default:
        this.destroy()
    }
  }

  private onWriteStalled(): void {
    if (this.socket.writableLength === 0) return
    const { writeTimeoutMs, sendBytesPerSecondMin } = this.owner.options
    const taken = bytesTaken(this.socket) - this.takenAtArm
    if (taken > 0 && taken * 1_000 >= sendBytesPerSecondMin * writeTimeoutMs) {
      this.armWriteTimer()
      return
    }
    this.destroy(
      peerError('WRITE_TIMEOUT', 'downstream', `Client took ${taken} bytes within ${writeTimeoutMs} ms`),
    )
  }

  private onDrain(): void {
    this.writeTimer?.cancel()
    if (this.state === 'idle' && this.held !== null) this.release()
    else this.session?.drained()
  }

  private onClose(): void {
    if (this.state === 'closed') return
    this.state = 'closed'
    this.readTimer.cancel()
    this.writeTimer?.cancel()
    this.held = null
    this.parser = null
    const session = this.session
    this.session = null
    if (session !== null) session.fail(this.closeReason(), true)
    this.owner.onConnectionClosed(this)
  }

  private closeReason(): ProxyError {
    const error = this.socketError
    if (isProxyError(error)) return error
    return peerError(
      'CONNECTION_CLOSED',
      'downstream',
      'Client closed the connection',
      error === null ? {} : { cause: error },
    )
  }
}
