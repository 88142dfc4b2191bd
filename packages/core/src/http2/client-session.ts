import { ProxyError, peerError } from '@cirque/error'
import { bodylessStatus, type RequestHeader, ResponseHeader } from '@cirque/http'
import {
  ErrorCode,
  type Http2Response,
  type Http2Stream,
  type Http2StreamHandler,
  type ResetOrigin,
} from '@cirque/http2'
import { CoarseTimer, type TimerOwner } from '@cirque/timeout'
import { TEXT_BODY_BYTES_MAX } from '../http1/wire.ts'
import { ClientSession } from '../sessions/client-session.ts'
import { WRITE_DONE, WRITE_PAUSE, WRITE_RETAINED, type WriteResult } from '../sessions/write-result.ts'
import type { ConnectionDigest } from '../sockets/digest.ts'
import { handOnRun, sharedReadBuffer } from '../sockets/read-buffer.ts'
import type { HttpPeer } from '../upstream/peer.ts'
import type { Http2ClientConnection } from './client-connection.ts'
import { connectionError, resetError, upgradeRefusal } from './client-failures.ts'
import {
  BODY,
  CLOSED,
  COMPLETE,
  DONE,
  HEAD,
  HTTP2_SESSION_STATES,
  type Http2ClientSessionState,
  LINGER,
  NEW,
  TUNNEL,
  WHOLE,
} from './client-session-states.ts'
import { requestFields, trailerFields } from './fields.ts'
import { passedTrailers } from './request-head.ts'
import { acceptOf, asSwitching, toExtendedConnect } from './websocket.ts'

const READ_TIMER = 0
const WRITE_TIMER = 1

/** How long the end of a stream is waited for whose response is whole by its Content-Length, before the client goes on. */
const END_WAIT_MS = 100
/** And how much longer before the stream is reset: an origin may have work to do between its last byte and its end. */
const END_LINGER_MS = 1_000

/** One HTTP/2 stream to a peer: a request and its response. */
export class Http2ClientSession extends ClientSession implements TimerOwner, Http2StreamHandler {
  private readonly connection: Http2ClientConnection
  private readonly peer: HttpPeer
  private stream: Http2Stream | null = null
  private state: Http2ClientSessionState = NEW
  private method = ''
  private informationalCount = 0
  /** The upgrade that is asked for; null when there is none, or it is answered. */
  private upgrade: RequestHeader | null = null
  /** Bytes of the announced request body still to come; -1 when its length is not known. */
  private requestRemaining = 0
  /** Bytes of the response's body still to come; -1 when its length is not known, or trailers are to follow. */
  private responseRemaining = -1
  private paused = false
  private touched = false
  private readonly readTimer: CoarseTimer
  private writeTimer: CoarseTimer | null = null
  private sentAtArm = 0

  constructor(connection: Http2ClientConnection, peer: HttpPeer, reused: boolean) {
    super()
    this.connection = connection
    this.peer = peer
    this.reused = reused
    this.readTimer = new CoarseTimer(this, READ_TIMER)
  }

  digest(): ConnectionDigest {
    return this.connection.digest()
  }

  /** True once its owner has let go of it. */
  private get closed(): boolean {
    return this.state >= LINGER
  }

  /** Takes the state `next`; false when that cannot be, and the exchange is over. */
  private become(next: Http2ClientSessionState): boolean {
    if (HTTP2_SESSION_STATES.allows(this.state, next)) {
      this.state = next
      return true
    }
    this.breakOff(HTTP2_SESSION_STATES.broken(this.state, next))
    return false
  }

  /** An invariant of this exchange is broken: it ends, and its connection takes no others. */
  breakOff(error: ProxyError): void {
    this.connection.owner.onBroken()
    this.connection.retire()
    this.fail(error)
  }

  // --- the request -----------------------------------------------------------------------------

  sendHead(header: RequestHeader, contentLength: number, upgrade: boolean): void {
    if (this.closed) return
    this.method = header.method
    this.requestRemaining = contentLength
    if (upgrade) {
      this.upgrade = header
      this.armReadTimer()
      if (this.connection.connectProtocol === undefined) this.connection.awaitSettings(this)
      else this.askForTunnel(header)
      return
    }
    this.begin(header, contentLength, null, contentLength === 0)
    // The peer owes an answer (100 or a final one) before any body: wait for it with a limit.
    if (contentLength !== 0 && header.has('expect')) this.armReadTimer()
  }

  private get scheme(): 'http' | 'https' {
    return this.peer.options.tls ? 'https' : 'http'
  }

  /** For a request without `Host`. */
  private get authority(): string {
    const { address } = this.peer
    return address?.kind === 'tcp' ? address.text : 'localhost'
  }

  private begin(
    header: RequestHeader,
    contentLength: number,
    protocol: string | null,
    endOfStream: boolean,
  ): void {
    const fields = requestFields(header, contentLength, this.scheme, this.authority, protocol)
    if (!this.connection.takesFields(fields)) {
      const act = 'Request head is larger than the upstream takes'
      const error = new ProxyError('INVALID_HTTP_HEADER', 'downstream', act, { status: 431 })
      queueMicrotask(() => this.fail(error))
      return
    }
    const stream = this.connection.start(fields, endOfStream, this, header.neverIndexed)
    if (stream === null) {
      // The connection was lost, or told to take no more, between its choice and now.
      const error = peerError('CONNECTION_CLOSED', 'upstream', 'Upstream takes no more requests here', {
        retry: 'allowed',
      })
      queueMicrotask(() => this.fail(error))
      return
    }
    this.stream = stream
    if (this.become(HEAD)) this.requestSent = true
  }

  /** The peer's settings have come, or the connection has ended without them. */
  onSettings(): void {
    if (this.state !== NEW || this.upgrade === null) return
    if (this.connection.connectProtocol === undefined) {
      this.fail(connectionError(this, this.connection))
    } else this.askForTunnel(this.upgrade)
  }

  /** RFC 8441: the HTTP/1.1 upgrade that everything above knows becomes an extended CONNECT. */
  private askForTunnel(upgrade: RequestHeader): void {
    const refusal = upgradeRefusal(this.connection, this.peer, upgrade)
    if (refusal !== null) {
      queueMicrotask(() => this.fail(refusal))
      return
    }
    this.begin(toExtendedConnect(upgrade), -1, 'websocket', false)
  }

  writeBody(buffer: Buffer, start: number, end: number): WriteResult {
    const size = end - start
    const { stream } = this
    if (this.closed || stream === null || size === 0) return WRITE_DONE
    if (this.state === HEAD) this.readTimer.cancel()
    if (this.requestRemaining >= 0) {
      this.requestRemaining -= size
      if (this.requestRemaining < 0) {
        this.fail(new ProxyError('INTERNAL_ERROR', 'internal', 'Request body exceeds its Content-Length'))
        return WRITE_DONE
      }
    }
    const result = stream.write(buffer, start, end)
    if (stream.queuedBytes > 0) this.armWriteTimer()
    return result
  }

  endRequest(trailers: string[] | null): void {
    if (this.requestEnded || this.closed) return
    this.requestEnded = true
    // What asks for a tunnel is not ended: the tunnel's bytes follow.
    if (this.upgrade !== null) return
    if (this.requestRemaining > 0) {
      this.fail(
        new ProxyError('INTERNAL_ERROR', 'internal', `Request body is ${this.requestRemaining} bytes short`),
      )
      return
    }
    this.stream?.end(trailerFields(trailers))
    if (!this.paused && (this.state === HEAD || this.state === BODY)) this.armReadTimer()
  }

  /** Nothing is coalesced here: the connection writes once per turn. */
  flush(): void {}

  onDrain(): void {
    if (!this.closed) this.handler?.onUpstreamDrain()
  }

  // --- the response ----------------------------------------------------------------------------

  onResponse(response: Http2Response, endOfStream: boolean): void {
    if (this.closed) return
    this.responseStarted = true
    const { status, fields, contentLength } = response
    if (fields.length > this.connection.owner.limits.fieldsMax * 2) {
      this.fail(peerError('INVALID_HTTP_HEADER', 'upstream', 'Upstream sent too many fields'))
      return
    }
    const header = new ResponseHeader(status, '', 'HTTP/2', fields)
    header.neverIndexed = response.neverIndexed
    if (status < 200) {
      this.onInformational(header)
      return
    }
    const { upgrade } = this
    this.upgrade = null
    if (upgrade !== null && status < 300) {
      this.openTunnel(upgrade, header)
      return
    }
    if (!this.become(BODY)) return
    // No tunnel's bytes follow what asked for one.
    if (upgrade !== null && this.requestEnded) this.stream?.end()
    const bodyless = this.method === 'HEAD' || bodylessStatus(status)
    if (!header.has('trailer')) this.responseRemaining = bodyless ? 0 : contentLength
    this.armReadTimer()
    this.touch()
    this.handler?.onResponseHead(header, bodyless || endOfStream ? 0 : contentLength)
  }

  private onInformational(header: ResponseHeader): void {
    const { informationalMax } = this.connection.owner.limits
    if (++this.informationalCount > informationalMax) {
      const act = `Upstream sent more than ${informationalMax} informational responses`
      this.fail(peerError('INVALID_HTTP_HEADER', 'upstream', act))
      return
    }
    // While the request is under way, whose turn it is depends on the client.
    if (this.requestEnded) this.armReadTimer()
    else this.readTimer.cancel()
    this.touch()
    this.handler?.onInformational(header)
  }

  private openTunnel(upgrade: RequestHeader, header: ResponseHeader): void {
    if (!this.become(TUNNEL)) return
    this.requestEnded = false
    this.requestRemaining = -1
    this.readTimer.cancel()
    this.touch()
    this.handler?.onResponseHead(asSwitching(header, acceptOf(upgrade)), -1)
  }

  onData(buffer: Buffer, start: number, end: number): void {
    const { handler } = this
    if (handler === null) return
    const size = end - start
    this.responseBodyBytes += size
    if (this.responseRemaining > 0) this.responseRemaining -= size
    if (this.state === BODY) this.armReadTimer()
    this.touch()
    const result = handOnRun(handler, buffer, start, end)
    if ((result & WRITE_RETAINED) !== 0 && size > TEXT_BODY_BYTES_MAX && buffer !== sharedReadBuffer)
      this.connection.retainRead()
    if (result >= WRITE_PAUSE && !this.closed) {
      this.paused = true
      this.readTimer.cancel()
      this.stream?.pause()
    }
  }

  onEnd(trailers: string[] | null): void {
    if (this.state >= COMPLETE) return
    const isTunnel = this.state === TUNNEL
    if (!this.become(COMPLETE)) return
    this.responseEnded = true
    this.connection.learnSuccess()
    this.readTimer.cancel()
    this.handler?.onResponseEnd(isTunnel ? null : passedTrailers(trailers))
    if (this.stream?.closed === true) this.streamClosed()
  }

  /** What one read brings leaves together: the connection tells when it is dealt with. */
  private touch(): void {
    if (this.touched) return
    this.touched = true
    this.connection.touch(this)
  }

  turnOver(): void {
    this.touched = false
    if (!this.closed) this.handler?.onResponseFlush()
  }

  resumeResponse(): void {
    if (!this.paused || this.closed) return
    this.paused = false
    if (this.state === BODY) this.armReadTimer()
    this.stream?.resume()
  }

  /** The stream ends with its exchange; the pool keeps the connection. */
  get reusable(): boolean {
    return false
  }

  // --- timers ----------------------------------------------------------------------------------

  private armReadTimer(): void {
    const { readTimeoutMs } = this.peer.options
    const isWhole = this.responseRemaining === 0
    this.readTimer.arm(isWhole ? Math.min(END_WAIT_MS, readTimeoutMs) : readTimeoutMs)
  }

  /** All that was announced has come, and the end of the stream has not: nobody shall wait for that. */
  private endWithoutStream(): void {
    if (!this.become(this.requestEnded ? WHOLE : COMPLETE)) return
    this.responseEnded = true
    this.connection.learnSuccess()
    this.handler?.onResponseEnd(null)
  }

  private armWriteTimer(): void {
    this.writeTimer ??= new CoarseTimer(this, WRITE_TIMER)
    if (this.writeTimer.armed) return
    this.sentAtArm = this.stream?.sentBytes ?? 0
    this.writeTimer.arm(this.peer.options.writeTimeoutMs)
  }

  onTimer(tag: number): void {
    if (this.state === LINGER) this.close(ErrorCode.CANCEL)
    if (this.closed) return
    const { readTimeoutMs, writeTimeoutMs } = this.peer.options
    if (tag === READ_TIMER) {
      if (this.responseRemaining === 0) {
        this.endWithoutStream()
        return
      }
      // Whatever holds it up may hold up what comes after it, too.
      this.connection.retire()
      this.fail(peerError('READ_TIMEOUT', 'upstream', `Upstream sent nothing for ${readTimeoutMs} ms`))
      return
    }
    const { stream } = this
    if (stream === null || stream.queuedBytes === 0) return
    if (stream.sentBytes !== this.sentAtArm) this.armWriteTimer()
    else this.fail(peerError('WRITE_TIMEOUT', 'upstream', `Upstream took nothing for ${writeTimeoutMs} ms`))
  }

  // --- the end ---------------------------------------------------------------------------------

  destroy(): void {
    this.handler = null
    this.end()
  }

  private fail(error: ProxyError): void {
    if (this.closed) return
    const { handler } = this
    this.handler = null
    this.end()
    handler?.onUpstreamError(error)
  }

  private end(): void {
    if (this.closed) return
    this.readTimer.cancel()
    this.writeTimer?.cancel()
    const { stream } = this
    if (this.state === WHOLE && stream !== null && !stream.closed) {
      if (this.become(LINGER)) this.readTimer.arm(END_LINGER_MS)
      return
    }
    // What both sides have ended goes out by itself, a tunnel's last bytes too; what is not whole ends here.
    if (stream === null || (this.responseEnded && this.requestEnded)) this.close(null)
    else this.close(this.responseEnded ? ErrorCode.NO_ERROR : ErrorCode.CANCEL)
  }

  /** Another exchange may take its place. With `code`, its stream is reset. */
  private close(code: number | null): void {
    const { state, stream } = this
    // Whatever it was: a question here could only keep it open.
    this.state = CLOSED
    this.readTimer.cancel()
    if (code !== null && stream?.closed === false) stream.reset(code)
    if (state !== DONE) this.connection.sessionEnded()
  }

  /** Both sides have ended; what came may still have to be delivered. */
  streamClosed(): void {
    if (this.state === LINGER) this.close(null)
    else if ((this.state === COMPLETE || this.state === WHOLE) && this.become(DONE)) {
      this.readTimer.cancel()
      this.connection.sessionEnded()
    }
  }

  onReset(code: number, origin: ResetOrigin): void {
    if (this.responseEnded) {
      this.streamClosed()
      return
    }
    if (this.closed) return
    const { connection, peer } = this
    if (origin === 'connection') this.fail(connectionError(this, connection))
    else this.fail(resetError(this, connection, peer, code, origin))
  }
}
