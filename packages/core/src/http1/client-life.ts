import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { fromSystemError, isProxyError, type ProxyError, peerError, type RetryDecision } from '@cirque/error'
import type { HttpProfile, ResponseHeadParser } from '@cirque/http'
import { CoarseTimer, type TimerOwner } from '@cirque/timeout'
import { ClientSession } from '../sessions/client-session.ts'
import { connectionDigest } from '../sockets/connection-digest.ts'
import { cutConnection } from '../sockets/cut-connection.ts'
import type { ConnectionDigest } from '../sockets/digest.ts'
import type { HttpPeer } from '../upstream/peer.ts'
import {
  BODY,
  CLIENT_STATES,
  CLOSED,
  type ClientConnectionState,
  HEAD,
  IDLE,
  TUNNEL,
} from './client-states.ts'

/** Limits on what an upstream may send as a response's head. */
export interface ResponseLimits {
  readonly headBytesMax: number
  readonly fieldsMax: number
  /** 1xx responses before a final one; one more fails the exchange. */
  readonly informationalMax: number
  readonly profile: HttpProfile
}

/** What owns upstream connections: the connector. */
export interface Http1ClientOwner {
  readonly limits: ResponseLimits
  /** A parser that no connection holds a partial head in. */
  spareParser: ResponseHeadParser | null
  /** The connection is closed, whatever it was doing. */
  onConnectionClosed(connection: ClientLife): void
  /** An idle connection received bytes that no request asked for. */
  onUnexpectedData(connection: ClientLife): void
  /** An invariant of a connection is broken. */
  onBroken(): void
}

export const READ_TIMER = 0
export const WRITE_TIMER = 1

/** The life of an HTTP/1 connection to a peer: its transport, the state that it is in, and how it ends. */
export abstract class ClientLife extends ClientSession implements TimerOwner {
  /** The peer of the exchange under way; its timeouts apply. */
  peer: HttpPeer
  state: ClientConnectionState = IDLE
  /** Exchanges carried so far, the present one included. */
  requestCount = 0
  establishedAt = 0

  protected readonly owner: Http1ClientOwner
  /** The transport itself is what is wanted: no HTTP is spoken on it. */
  protected readonly raw: boolean
  protected socket: Duplex | null = null
  /** Text that goes out with the next write: the head, small bodies, chunk framing. */
  protected text = ''
  /** The handler takes no more of the response: nothing is read. */
  protected paused = false
  /** The peer has ended its sending side. */
  protected ended = false
  protected keepAlive = false
  protected readonly readTimer: CoarseTimer
  protected writeTimer: CoarseTimer | null = null
  protected error: Error | null = null
  /** Why the connection failed while nobody could be told. */
  private untold: ProxyError | null = null

  constructor(owner: Http1ClientOwner, peer: HttpPeer, raw: boolean) {
    super()
    this.owner = owner
    this.raw = raw
    this.peer = peer
    this.readTimer = new CoarseTimer(this, READ_TIMER)
  }

  abstract onTimer(tag: number): void

  /** True once nothing moves any more. */
  get closed(): boolean {
    return this.state === CLOSED
  }

  /** True when a request may start: connected, idle, nothing unread, not half-closed. */
  get usable(): boolean {
    const socket = this.socket
    return this.state === IDLE && !this.ended && socket !== null && !socket.destroyed && socket.writable
  }

  /** Takes the state `next`; false when that cannot be, and the connection is destroyed. */
  protected become(next: ClientConnectionState): boolean {
    if (CLIENT_STATES.allows(this.state, next)) {
      this.state = next
      return true
    }
    this.owner.onBroken()
    this.fail(CLIENT_STATES.broken(this.state, next))
    return false
  }

  digest(): ConnectionDigest {
    return connectionDigest(this.socket as Socket, this.establishedAt, this.requestCount)
  }

  /**
   * A write has heard of a reset. The system tells that once, so that the read behind it finds an end like any other;
   * had there been one before the reset, the write would have failed with EPIPE.
   */
  protected get wasReset(): boolean {
    return this.error !== null && 'code' in this.error && this.error.code === 'ECONNRESET'
  }

  protected closedEarly(): ProxyError {
    // No byte of a response: the classic race of a reused connection that the peer closed meanwhile.
    const retry: RetryDecision = this.responseStarted ? 'never' : this.requestSent ? 'if-reused' : 'allowed'
    const cause = this.error
    if (isProxyError(cause)) return cause
    if (cause !== null && !('code' in cause && (cause.code === 'ECONNRESET' || cause.code === 'EPIPE'))) {
      return fromSystemError(cause, 'upstream', 'Connection to upstream failed')
    }
    return peerError('CONNECTION_CLOSED', 'upstream', 'Upstream closed the connection before it answered', {
      retry,
      ...(cause === null ? {} : { cause }),
    })
  }

  protected onClose(): void {
    if (this.state === CLOSED) return
    if (this.state === HEAD) this.fail(this.closedEarly())
    else if (this.state === TUNNEL && this.requestEnded && this.responseEnded) this.close()
    else if (this.state === BODY || this.state === TUNNEL) this.fail(this.closedWithin())
    else this.close()
  }

  protected closedWithin(): ProxyError {
    const cause = this.error
    const options = cause === null ? {} : { cause }
    return peerError(
      'CONNECTION_CLOSED',
      'upstream',
      'Upstream closed the connection within its response',
      options,
    )
  }

  protected fail(error: ProxyError): void {
    const handler = this.handler
    this.handler = null
    this.close()
    if (handler === null) this.untold = error
    else handler.onUpstreamError(error)
  }

  /** The connection was lost between its acquisition and the request: the handler hears of it now. */
  protected tellLater(): void {
    const error = this.untold
    this.untold = null
    if (error === null) return
    queueMicrotask(() => {
      const handler = this.handler
      this.handler = null
      handler?.onUpstreamError(error)
    })
  }

  protected close(): void {
    if (this.state === CLOSED) return
    const cut = this.state === TUNNEL && !this.requestEnded
    // Whatever it was: a question here could only keep it open.
    this.state = CLOSED
    this.text = ''
    this.readTimer.cancel()
    this.writeTimer?.cancel()
    const { socket } = this
    // In a tunnel an orderly end is the client's own: only a reset says that it was cut.
    if (cut && socket instanceof Socket) cutConnection(socket)
    else socket?.destroy()
    this.owner.onConnectionClosed(this)
  }

  destroy(): void {
    this.handler = null
    this.close()
  }
}
