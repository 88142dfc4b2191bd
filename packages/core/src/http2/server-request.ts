import { peerError } from '@cirque/error'
import type { Http2Stream, Http2StreamHandler, ResetOrigin } from '@cirque/http2'
import { CoarseTimer, now, type TimerOwner } from '@cirque/timeout'
import { RequestRuns, type RequestRunsOwner } from '../sessions/request-runs.ts'
import { SessionLife } from '../sessions/session-life.ts'
import { COMING, COMPLETE, ENDED, FAILED, TUNNEL_ENDED, TUNNELLED } from '../sessions/session-states.ts'
import type { WriteResult } from '../sessions/write-result.ts'
import type { ConnectionDigest } from '../sockets/digest.ts'
import { type Http2RequestHead, passedTrailers } from './request-head.ts'
import type { Http2ServerConnection } from './server-connection.ts'
import { toUpgrade } from './websocket.ts'

const BODY_TIMER = 0

/** The half of an exchange with a client that takes the request. */
export abstract class Http2ServerRequest
  extends SessionLife
  implements TimerOwner, Http2StreamHandler, RequestRunsOwner
{
  protected readonly connection: Http2ServerConnection
  protected readonly stream: Http2Stream
  /** For an extended CONNECT: what accepts it; else null. */
  protected readonly accept: string | null
  /** A CONNECT without content: a tunnel is asked for (RFC 9113 §8.5). */
  protected readonly connectWanted: boolean
  protected flowing = false
  /** What the turn has brought of the request's body; null until there is any. */
  protected runs: RequestRuns | null = null
  protected bodyTimer: CoarseTimer | null = null
  private readonly contentLength: number
  private readonly bodied: boolean
  private readonly continueWanted: boolean
  /** When the request must have arrived as a whole; 0 until its body is awaited. */
  private requestDueAt = 0

  constructor(
    connection: Http2ServerConnection,
    stream: Http2Stream,
    head: Http2RequestHead,
    endOfStream: boolean,
  ) {
    super(head.header)
    this.connection = connection
    this.stream = stream
    this.accept = head.webSocket ? toUpgrade(head.header) : null
    this.connectWanted = head.header.method === 'CONNECT' && head.contentLength <= 0
    const isTunnel = head.webSocket || this.connectWanted
    this.contentLength = endOfStream || isTunnel ? 0 : head.contentLength
    this.bodied = !endOfStream && head.contentLength !== 0 && !isTunnel
    this.continueWanted = head.expectContinue && this.bodied
  }

  abstract onReset(code: number, origin: ResetOrigin): void
  abstract onDrain(): void
  abstract onTimer(tag: number): void

  digest(): ConnectionDigest {
    return this.connection.digest()
  }

  get hasRequestBody(): boolean {
    return this.bodied
  }

  get requestContentLength(): number {
    return this.contentLength
  }

  get isUpgrade(): boolean {
    return this.accept !== null || this.connectWanted
  }

  get expectsContinue(): boolean {
    return this.continueWanted
  }

  get isShuttingDown(): boolean {
    return this.connection.isDraining
  }

  /** HTTP/2 connections carry requests side by side, so nothing is handed from one to the next. */
  get connectionContext(): unknown {
    return undefined
  }

  set connectionContext(_value: unknown) {}

  // --- the request's body ----------------------------------------------------------------------

  resumeRequestBody(): void {
    if (this.closed || this.flowing || this.requestState === FAILED) return
    this.flowing = true
    if (this.requestEnded) return
    this.runs?.pass()
    if (!this.wantsRuns) return
    if (this.requestState === TUNNELLED) this.stream.resume()
    else if (this.bodied) {
      this.armBodyTimer()
      this.stream.resume()
    } else if (this.becomeRequest(ENDED)) this.handler?.onRequestEnd(null)
  }

  pauseRequestBody(): void {
    if (!this.flowing) return
    this.flowing = false
    if (now() < this.requestDueAt) this.bodyTimer?.cancel()
    this.stream.pause()
  }

  onData(buffer: Buffer, start: number, end: number): void {
    this.requestBodyBytes += end - start
    if (this.requestState !== TUNNELLED) {
      const limit = this.connection.owner.options.requestBodyBytesMax
      if (limit > 0 && this.requestBodyBytes > limit) {
        this.fail(peerError('BODY_TOO_LARGE', 'downstream', `Request body exceeds ${limit} bytes`), false)
        return
      }
      this.armBodyTimer()
    }
    this.runs ??= new RequestRuns(this)
    this.runs.add(buffer, start, end)
  }

  get wantsRuns(): boolean {
    return this.flowing && !this.closed
  }

  passRun(buffer: Buffer, start: number, end: number): WriteResult | undefined {
    return this.handler?.onRequestData(buffer, start, end)
  }

  onEnd(trailers: string[] | null): void {
    this.bodyTimer?.cancel()
    this.runs?.pass()
    const isTunnel = this.requestState === TUNNELLED
    if (this.closed || (!isTunnel && this.requestState !== COMING) || !this.becomeRequest(ENDED)) return
    this.handler?.onRequestEnd(isTunnel ? null : passedTrailers(trailers))
    if (this.responseState === TUNNEL_ENDED) this.becomeResponse(COMPLETE)
  }

  onResponse(): void {}

  private armBodyTimer(): void {
    const { bodyTimeoutMs, requestTimeoutMs } = this.connection.owner.options
    if (this.requestDueAt === 0) this.requestDueAt = now() + requestTimeoutMs
    const leftMs = this.requestDueAt - now()
    this.bodyTimer ??= new CoarseTimer(this, BODY_TIMER)
    // Set anew by each frame it would never fire while bytes come.
    if (leftMs <= 0 && this.bodyTimer.armed) return
    this.bodyTimer.arm(Math.max(1, Math.min(bodyTimeoutMs, leftMs)))
  }
}
