import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { peerError } from '@cirque/error'
import { canonicalReason, type HeadFailure, type HeadMemo, NEED_MORE, RequestHeadParser } from '@cirque/http'
import { now } from '@cirque/timeout'
import { readInto } from '../sockets/accepted-reads.ts'
import { returnReadBuffer, sharedReadBuffer, takeRunBuffer } from '../sockets/read-buffer.ts'
import { type Http1ConnectionOwner, Http1ServerLife } from './server-life.ts'
import { Http1ServerSession } from './server-session.ts'
import { CLOSED, DISCARD, EXCHANGE, HEAD, IDLE, LINGER, TUNNEL } from './server-states.ts'
import { RUNS_PER_TURN_MAX } from './wire.ts'

/** One client's HTTP/1 connection: reads heads, keeps alive, pipelines one at a time, closes without losing bytes. */
export class Http1ServerConnection extends Http1ServerLife {
  /** What the application keeps for this connection between its requests. */
  userContext: unknown = undefined

  /** What the field lines of the last head meant: the next head tends to have the same. */
  private memo: HeadMemo | null = null
  private consuming = false
  /** The chunk being consumed lies in memory that is read into again. */
  private borrowed = false
  /** Memory that the chunk being consumed was copied to. */
  private lent: Buffer | null = null
  private lentIsKept = false
  private lingered = 0
  /** When the request under way must have arrived as a whole; 0 while none of its body is awaited. */
  private requestDueAt = 0

  constructor(socket: Socket | TLSSocket, owner: Http1ConnectionOwner) {
    super(socket, owner)
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
        case IDLE:
          if (this.socket.writableNeedDrain) {
            // A client that sends requests and takes no responses waits until it has.
            this.hold(chunk, at, end)
            at = end
          } else at = this.readHead(chunk, at, end)
          break
        case HEAD:
          at = this.readHead(chunk, at, end)
          break
        case EXCHANGE:
        case TUNNEL: {
          const session = this.session as Http1ServerSession
          if (!session.flowing || (session.requestEnded && this.state === EXCHANGE)) {
            this.hold(chunk, at, end)
            at = end
            break
          }
          if (this.borrowed && !session.gathers(end - at)) {
            chunk = this.lend(chunk, at, end)
            end = chunk.length
            at = 0
          }
          session.runCount = 0
          at = this.state === TUNNEL ? session.feedTunnel(chunk, at, end) : session.feed(chunk, at, end)
          if (session.runCount >= RUNS_PER_TURN_MAX && this.session === session) {
            if (at < end) this.hold(chunk, at, end)
            at = end
            this.yieldTurn()
          }
          break
        }
        case DISCARD:
          at = this.discard(chunk, at, end)
          break
        case LINGER:
          this.lingered += end - at
          at = end
          if (this.lingered > this.owner.options.lingerBytesMax) this.destroy()
          break
        case CLOSED:
          at = end
          break
      }
    }
    this.consuming = false
    const { lent } = this
    if (lent === null) return
    this.lent = null
    if (!this.lentIsKept) returnReadBuffer(lent)
  }

  /** A copy of what is left of a borrowed chunk, to be kept. */
  private own(chunk: Buffer, at: number, end: number): Buffer {
    this.borrowed = false
    return Buffer.from(chunk.subarray(at, end))
  }

  /** A copy of what is left of a borrowed chunk, to be handed on; `consume` gives its memory back if nobody keeps it. */
  private lend(chunk: Buffer, at: number, end: number): Buffer {
    const memory = takeRunBuffer(end - at)
    if (memory === null) return this.own(chunk, at, end)
    this.borrowed = false
    this.lent = memory
    this.lentIsKept = false
    return memory.subarray(0, chunk.copy(memory, 0, at, end))
  }

  /** Who was handed bytes of the chunk under way keeps them. */
  keepChunk(): void {
    this.lentIsKept = true
  }

  private hold(chunk: Buffer, at: number, end: number): void {
    const rest = this.borrowed ? this.own(chunk, at, end) : chunk.subarray(at, end)
    this.lentIsKept = true
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
    if (this.consuming || this.state === CLOSED) return
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
      if (this.state === IDLE && parser.started) {
        if (!this.become(HEAD)) return end
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
    if (!this.become(EXCHANGE)) return
    this.readTimer.cancel()
    this.requestDueAt = 0
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

  private discard(chunk: Buffer, at: number, end: number): number {
    const session = this.session as Http1ServerSession
    const after = session.feed(chunk, at, end)
    if (session.requestEnded && this.state === DISCARD) this.nextRequest()
    return after
  }

  private onEnd(): void {
    this.ended = true
    // What is held came before the end and counts first, unless the client waits for a response.
    if (this.held === null || (this.state === EXCHANGE && this.session?.requestComplete === true)) {
      this.finishEnd()
    }
  }

  private finishEnd(): void {
    switch (this.state) {
      case EXCHANGE: {
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
      case TUNNEL:
        ;(this.session as Http1ServerSession).tunnelEnded()
        break
      case CLOSED:
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
    if (this.state !== EXCHANGE) return
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
    if (this.state === EXCHANGE) this.readTimer.cancel()
  }

  /** 101 is written: from now on bytes pass untouched. */
  startTunnel(): void {
    if (this.become(TUNNEL)) this.readTimer.cancel()
  }

  /** Both directions of a tunnel have ended. */
  endTunnel(): void {
    if (this.state === TUNNEL) this.close()
  }

  /** The session's response is complete. */
  sessionEnded(session: Http1ServerSession, keepAlive: boolean): void {
    if (this.session !== session || this.state !== EXCHANGE) return
    if (!keepAlive || (this.ended && this.held === null)) {
      this.close(session.clientKeepAlive)
    } else if (session.requestComplete) {
      this.nextRequest()
    } else if (this.become(DISCARD)) {
      session.discardBody()
      this.readTimer.arm(this.owner.options.bodyTimeoutMs)
      this.release()
    }
  }

  private nextRequest(): void {
    if (!this.become(IDLE)) return
    this.session = null
    if (this.owner.draining && !this.owner.keepsIdle && this.held === null) {
      this.close()
      return
    }
    this.readTimer.arm(this.idleMs)
    // A pipelined request waits until the one before has ended altogether, its logging included.
    if (this.held !== null) setImmediate(() => this.release())
  }

  protected released(): void {
    this.owner.onConnectionClosed(this)
  }

  private onDrain(): void {
    this.writeTimer?.cancel()
    if (this.state === IDLE && this.held !== null) this.release()
    else this.session?.drained()
  }
}
