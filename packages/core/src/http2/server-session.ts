import { ProxyError, peerError } from '@cirque/error'
import { bodylessStatus, ResponseHeader } from '@cirque/http'
import { ErrorCode, type ResetOrigin } from '@cirque/http2'
import { CoarseTimer } from '@cirque/timeout'
import {
  BODYLESS,
  COMPLETE,
  CUT,
  FAILED,
  LENGTH,
  TUNNEL,
  TUNNEL_ENDED,
  TUNNELLED,
  UNTIL_END,
  UNWRITTEN,
} from '../sessions/session-states.ts'
import { WRITE_DONE, type WriteResult } from '../sessions/write-result.ts'
import { informationalFields, responseFields, trailerFields } from './fields.ts'
import { Http2ServerRequest } from './server-request.ts'
import { fromSwitching, notSwitched } from './websocket.ts'

/** 0 is the body's. */
const WRITE_TIMER = 1

/**
 * For how many write timeouts a stream may take nothing while its connection does: the client's other streams
 * may come first.
 */
const WRITE_PERIODS_MAX = 4

/** One HTTP/2 stream of a client: the response to its request, and how the exchange ends. */
export class Http2ServerSession extends Http2ServerRequest {
  private continued = false
  private writeTimer: CoarseTimer | null = null
  private sentAtArm = 0
  private connectionTakenAtArm = 0
  private stalledPeriods = 0

  /** Of no effect: the connection's other requests go on. */
  disableKeepAlive(): void {}

  writeInformational(header: ResponseHeader): void {
    if (this.responseState !== UNWRITTEN) return
    if (header.status === 100) {
      if (this.continued) return
      this.continued = true
    }
    const fields = informationalFields(header)
    // What a client takes no head of is no loss to it: the final one is still to come.
    if (this.connection.takesFields(fields)) this.stream.sendHead(fields, false, header.neverIndexed)
  }

  writeHead(header: ResponseHeader, contentLength: number): void {
    if (this.closed) return
    if (this.responseState !== UNWRITTEN) throw new Error('The response head was already written')
    const { status } = header
    this.responseStatus = status
    if (status === 101) {
      this.writeSwitching(header)
      return
    }
    if (this.isUpgrade && status < 300) {
      this.responseStatus = 501
      if (!this.becomeResponse(BODYLESS)) return
      this.stream.sendHead(responseFields(notSwitched(), 0, false), true)
      return
    }
    const bodyless = this.request.method === 'HEAD' || bodylessStatus(status) || status === 205
    const fields = responseFields(header, contentLength, bodyless)
    if (!this.connection.takesFields(fields)) {
      this.refuseHead()
      return
    }
    if (!this.becomeResponse(bodyless ? BODYLESS : contentLength >= 0 ? LENGTH : UNTIL_END)) return
    this.responseRemaining = bodyless || contentLength < 0 ? 0 : contentLength
    // Where nothing follows a head in this turn, the engine ends the stream with that very frame.
    this.stream.sendHead(fields, bodyless, header.neverIndexed)
  }

  /**
   * The client has said that it takes no such head (RFC 9113 §10.5.1). It is told so by one that it takes, or by a
   * reset; what it asked for counts against nobody else.
   */
  private refuseHead(): void {
    this.responseStatus = 0
    this.bodyTimer?.cancel()
    this.runs?.drop()
    const fields = responseFields(
      ResponseHeader.build(502, { 'Cache-Control': 'private, no-store' }),
      0,
      false,
    )
    if (this.connection.takesFields(fields)) {
      this.responseStatus = 502
      if (!this.becomeResponse(BODYLESS) || !this.becomeResponse(COMPLETE)) return
      this.stream.sendHead(fields, true)
      this.stream.discard()
    } else {
      this.responseState = CUT
      this.stream.reset(ErrorCode.INTERNAL_ERROR)
    }
    const act = 'Response head is larger than the client takes'
    this.handler?.onDownstreamAbort(new ProxyError('RESPONSE_TOO_LARGE', 'downstream', act, { status: 502 }))
  }

  /** The upgrade is granted: the stream is a tunnel from now on (RFC 8441 §5, RFC 9113 §8.5). */
  private writeSwitching(header: ResponseHeader): void {
    let answer: ResponseHeader | null = null
    if (this.connectWanted) {
      answer = header.clone()
      answer.setStatus(200)
      this.responseStatus = 200
    } else if (this.accept !== null) answer = fromSwitching(header, this.accept)
    if (answer === null || this.requestState === FAILED) {
      this.fail(
        new ProxyError('INTERNAL_ERROR', 'internal', 'A 101 that accepts no tunnel over HTTP/2'),
        true,
      )
      return
    }
    if (!this.becomeResponse(TUNNEL) || !this.becomeRequest(TUNNELLED)) return
    this.flowing = false
    this.stream.pause()
    this.stream.sendHead(responseFields(answer, -1, false), false, header.neverIndexed)
  }

  writeBody(buffer: Buffer, start: number, end: number): WriteResult {
    const size = end - start
    if (!this.takesBody(size)) return WRITE_DONE
    const result = this.stream.write(buffer, start, end)
    if (this.stream.queuedBytes > 0) this.armWriteTimer()
    return result
  }

  endResponse(trailers: string[] | null): void {
    if (this.responseEnded || this.closed) return
    const problem = this.endProblem()
    if (problem !== null) {
      this.destroy(problem)
      return
    }
    const { stream } = this
    if (this.responseState === TUNNEL) {
      if (this.becomeResponse(this.requestEnded ? COMPLETE : TUNNEL_ENDED)) stream.end()
      return
    }
    if (!this.becomeResponse(COMPLETE)) return
    this.bodyTimer?.cancel()
    this.runs?.drop()
    stream.end(trailerFields(trailers))
    // What is left of the request is of no use: the client is told so, and what is on its way is dropped.
    stream.discard()
  }

  /** Nothing is coalesced here: the connection writes once per turn. */
  flush(): void {}

  onDrain(): void {
    if (!this.closed) this.handler?.onDownstreamDrain()
  }

  // --- timers ----------------------------------------------------------------------------------

  private armWriteTimer(): void {
    this.writeTimer ??= new CoarseTimer(this, WRITE_TIMER)
    if (this.writeTimer.armed) return
    this.stalledPeriods = 0
    this.watchWrites(this.writeTimer)
  }

  private watchWrites(timer: CoarseTimer): void {
    this.sentAtArm = this.stream.sentBytes
    this.connectionTakenAtArm = this.connection.taken
    timer.arm(this.connection.owner.options.writeTimeoutMs)
  }

  onTimer(tag: number): void {
    const { bodyTimeoutMs, writeTimeoutMs } = this.connection.owner.options
    if (tag === WRITE_TIMER) this.onWriteTimer(writeTimeoutMs)
    else {
      const act = `Client sent nothing of its body for ${bodyTimeoutMs} ms, or took too long in all`
      this.fail(peerError('REQUEST_TIMEOUT', 'downstream', act), false)
    }
  }

  private onWriteTimer(ms: number): void {
    const { stream, writeTimer } = this
    if (stream.queuedBytes === 0 || writeTimer === null) return
    if (stream.sentBytes !== this.sentAtArm) this.stalledPeriods = 0
    else {
      const othersMove = this.connection.taken !== this.connectionTakenAtArm
      if (++this.stalledPeriods >= (othersMove ? WRITE_PERIODS_MAX : 1)) {
        const error = peerError('WRITE_TIMEOUT', 'downstream', `Client took nothing for ${ms} ms`)
        if (this.closed) stream.reset(ErrorCode.CANCEL)
        else this.fail(error, true)
        return
      }
    }
    this.watchWrites(writeTimer)
  }

  // --- the end ---------------------------------------------------------------------------------

  /**
   * The client broke the exchange, or we cannot go on with it. `dead` says that the stream is of no use any
   * more; otherwise a response may still be written.
   */
  fail(error: ProxyError, dead: boolean): void {
    if (this.closed) return
    const known = this.requestState === FAILED
    // Whatever it was: a question here could only keep it going.
    this.requestState = FAILED
    this.flowing = false
    this.bodyTimer?.cancel()
    this.runs?.drop()
    // An exchange whose response has begun cannot be answered any more: it ends here.
    if (dead || this.responseState !== UNWRITTEN) {
      this.responseState = CUT
      this.reset(error)
    } else this.stream.pause()
    if (!known) this.handler?.onDownstreamAbort(error)
  }

  /** An invariant of this exchange is broken: it is answered if it can be, and its connection takes no others. */
  breakOff(error: ProxyError): void {
    this.connection.owner.onBroken()
    this.connection.drain()
    if (this.closed) this.stream.reset(ErrorCode.INTERNAL_ERROR)
    else this.fail(error, false)
  }

  destroy(error?: ProxyError): void {
    if (this.closed) return
    this.responseState = CUT
    this.bodyTimer?.cancel()
    this.runs?.drop()
    this.reset(error)
  }

  private reset(error: ProxyError | undefined): void {
    this.writeTimer?.cancel()
    const theirs = error === undefined || error.source === 'downstream'
    if (theirs) this.stream.reset(ErrorCode.CANCEL)
    else this.stream.reset(this.connectWanted ? ErrorCode.CONNECT_ERROR : ErrorCode.INTERNAL_ERROR)
  }

  onReset(code: number, origin: ResetOrigin): void {
    this.bodyTimer?.cancel()
    this.writeTimer?.cancel()
    // What came before the reset counts.
    if (this.wantsRuns) this.runs?.pass()
    this.fail(this.connection.closeReason(code, origin), true)
  }
}
