import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { isProxyError, type ProxyError, peerError } from '@cirque/error'
import { httpDate, type RequestHeadParser } from '@cirque/http'
import { CoarseTimer, type TimerOwner } from '@cirque/timeout'
import type { ResolvedHttpServerOptions } from '../downstream/http-server-options.ts'
import { connectionDigest } from '../sockets/connection-digest.ts'
import { cutConnection } from '../sockets/cut-connection.ts'
import type { ConnectionDigest } from '../sockets/digest.ts'
import type { Http1ServerConnection } from './server-connection.ts'
import type { Http1ServerSession } from './server-session.ts'
import {
  CLOSED,
  EXCHANGE,
  HEAD,
  IDLE,
  LINGER,
  SERVER_STATES,
  type ServerConnectionState,
  TUNNEL,
} from './server-states.ts'
import { bytesTaken, encryptsAtOnce } from './wire.ts'

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
  /** An invariant of a connection is broken. */
  onBroken(): void
  /** The connection is closed and holds nothing any more. */
  onConnectionClosed(connection: Http1ServerConnection): void
}

const READ_TIMER = 0
const WRITE_TIMER = 1

/** The life of a client's connection: the state that it is in, its timers, and how it ends without losing bytes. */
export abstract class Http1ServerLife implements TimerOwner {
  readonly socket: Socket | TLSSocket
  readonly owner: Http1ConnectionOwner
  readonly establishedAt: number = Date.now()
  /** Where the owner keeps it. */
  place = -1
  /** Reads come in TLS records. */
  readonly encrypted: boolean
  /** Writes need no memory after they return, if none was queued before. */
  readonly encryptsAtOnce: boolean
  state: ServerConnectionState = IDLE
  requestCount = 0

  protected session: Http1ServerSession | null = null
  /** Holds a partial head; null while none is there. */
  protected parser: RequestHeadParser | null = null
  /** Bytes that arrived before they could be used: pipelined ones, or a body that nobody reads yet. */
  protected held: Buffer | null = null
  /** The client has ended its sending side. */
  protected ended = false
  private takenAtArm = 0
  /** Between 60 s and 66, say: connections that began together do not end together. */
  protected readonly idleMs: number
  protected socketError: Error | null = null
  protected readonly readTimer: CoarseTimer
  protected writeTimer: CoarseTimer | null = null

  constructor(socket: Socket | TLSSocket, owner: Http1ConnectionOwner) {
    this.socket = socket
    this.owner = owner
    this.encrypted = socket instanceof TLSSocket
    this.encryptsAtOnce = encryptsAtOnce(socket)
    this.readTimer = new CoarseTimer(this, READ_TIMER)
    this.idleMs = Math.min(2 ** 31 - 1, Math.ceil(owner.options.idleTimeoutMs * (1 + Math.random() / 10)))
    this.readTimer.arm(this.idleMs)
  }

  get closed(): boolean {
    return this.state === CLOSED
  }

  /** True when closing the connection now loses nothing. */
  get idle(): boolean {
    return this.state === IDLE && this.held === null
  }

  /** True when every byte that has come was given to whom it is for. */
  get holdsNothing(): boolean {
    return this.held === null
  }

  digest(): ConnectionDigest {
    return connectionDigest(this.socket, this.establishedAt, this.requestCount)
  }

  /** The connection is closed: tells its owner. */
  protected abstract released(): void

  /** Takes the state `next`; false when that cannot be, and the connection serves nothing more. */
  protected become(next: ServerConnectionState): boolean {
    if (SERVER_STATES.allows(this.state, next)) {
      this.state = next
      return true
    }
    this.breakOff(SERVER_STATES.broken(this.state, next))
    return false
  }

  /** An invariant is broken: whoever owns the exchange answers if that can still be, and nothing follows. */
  private breakOff(error: ProxyError): void {
    this.owner.onBroken()
    const { session } = this
    if (session === null || session.closed) this.destroy(error)
    else {
      // The one move without a question: a session that is open has the right to end.
      this.state = EXCHANGE
      session.fail(error, false)
    }
  }

  /** Cuts the connection; with `reset`, so that the client cannot take the end for a proper one. */
  destroy(error?: Error, reset: boolean = false): void {
    if (this.state === CLOSED) return
    if (error !== undefined) this.socketError ??= error
    if (reset) cutConnection(this.socket)
    else this.socket.destroy()
    this.onClose()
  }

  /** A minimal answer to what never became a request. */
  protected answerAndClose(status: number, reason: string): void {
    const name = this.owner.options.serverName
    const server = name === '' ? '' : `Server: ${name}\r\n`
    this.socket.write(
      `HTTP/1.1 ${status} ${reason}\r\n${server}Date: ${httpDate()}\r\nContent-Length: 0\r\n` +
        'Cache-Control: private, no-store\r\nConnection: close\r\n\r\n',
      'latin1',
    )
    this.linger()
  }

  /** Something is queued for the client: from now on it must make progress. */
  armWriteTimer(): void {
    this.writeTimer ??= new CoarseTimer(this, WRITE_TIMER)
    if (this.writeTimer.armed) return
    this.takenAtArm = bytesTaken(this.socket)
    this.writeTimer.arm(this.owner.options.writeTimeoutMs)
  }

  /** Ends our side after what is written; reads on where closing at once could destroy it on its way (RFC 9112 §9.6). */
  protected close(expectsMore: boolean = false): void {
    const session = this.session
    const unread = expectsMore || this.held !== null || (session !== null && !session.requestComplete)
    this.session = null
    if (unread && !this.ended) {
      this.linger()
      return
    }
    if (!this.become(LINGER)) return
    this.readTimer.arm(this.owner.options.lingerTimeoutMs)
    this.socket.destroySoon()
  }

  protected linger(): void {
    this.session = null
    this.held = null
    if (!this.become(LINGER)) return
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
      case HEAD:
        this.owner.onHeadRefused(408, 'HEAD_TIMEOUT')
        this.answerAndClose(408, 'Request Timeout')
        break
      case EXCHANGE:
        ;(this.session as Http1ServerSession).fail(
          peerError(
            'REQUEST_TIMEOUT',
            'downstream',
            `Client sent nothing of its body for ${this.owner.options.bodyTimeoutMs} ms, or took too long in all`,
          ),
          false,
        )
        break
      case TUNNEL:
      case CLOSED:
        break
      case LINGER:
        if (this.socket.writableLength === 0) {
          this.destroy()
          break
        }
        // The last response is still on its way: as long as the client takes it, it may.
        this.armWriteTimer()
        this.readTimer.arm(this.owner.options.lingerTimeoutMs)
        break
      case IDLE:
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

  protected onClose(): void {
    if (this.state === CLOSED) return
    // Whatever it was: a question here could only keep it open.
    this.state = CLOSED
    this.readTimer.cancel()
    this.writeTimer?.cancel()
    this.held = null
    this.parser = null
    const session = this.session
    this.session = null
    if (session !== null) session.fail(this.closeReason(), true)
    this.released()
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
