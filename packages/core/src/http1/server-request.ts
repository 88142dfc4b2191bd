import { peerError } from '@cirque/error'
import { ChunkedDecoder, type ChunkSink, HEAD_FAILED, type RequestHeadParser } from '@cirque/http'
import { RequestRuns, type RequestRunsOwner } from '../sessions/request-runs.ts'
import { SessionLife } from '../sessions/session-life.ts'
import { COMING, DROPPED, ENDED, FAILED, TUNNELLED, UNWRITTEN } from '../sessions/session-states.ts'
import { isMemoryFree, type WriteResult } from '../sessions/write-result.ts'
import type { ConnectionDigest } from '../sockets/digest.ts'
import type { Http1ServerConnection } from './server-connection.ts'
import { RUNS_PER_TURN_MAX } from './wire.ts'

/** What TLS brings without a length is gathered from this size on: a message alone does not wait. */
const GATHERED_BYTES_MIN = 8_192

/** The half of an exchange with a client that takes the request. */
export abstract class Http1ServerRequest extends SessionLife implements ChunkSink, RequestRunsOwner {
  /** True while the handler wants body bytes, or they are dropped. */
  flowing = false
  /** Runs of body bytes that the present read brought. */
  runCount = 0
  /** The client means to send more after this request: it may be on its way already. */
  readonly clientKeepAlive: boolean

  protected readonly connection: Http1ServerConnection
  protected readonly chunked: boolean
  protected readonly connectWanted: boolean
  protected bodyRemaining: number
  /** 100 was sent. */
  protected continued = false
  /** What the turn has brought of the body over TLS; null until there is any. */
  protected runs: RequestRuns | null = null
  /** The present read is gathered with others of its turn. */
  private gathering = false
  private readonly contentLength: number
  private readonly upgradeWanted: boolean
  private readonly continueWanted: boolean
  private decoder: ChunkedDecoder | null = null

  constructor(connection: Http1ServerConnection, parser: RequestHeadParser) {
    super(parser.takeHeader())
    this.connection = connection
    this.contentLength = parser.contentLength
    this.chunked = parser.chunked
    this.clientKeepAlive = parser.keepAlive
    this.continueWanted = parser.expectContinue
    this.bodyRemaining = Math.max(parser.contentLength, 0)
    // A request with a body is never switched: its body would have to be read first (RFC 9110 §7.8).
    this.connectWanted = this.request.method === 'CONNECT'
    this.upgradeWanted =
      (parser.upgrade || this.connectWanted) && !parser.chunked && parser.contentLength <= 0
  }

  digest(): ConnectionDigest {
    return this.connection.digest()
  }

  get hasRequestBody(): boolean {
    return this.chunked || this.contentLength > 0
  }

  /** True when the client owes nothing more of this request. */
  get requestComplete(): boolean {
    return this.requestEnded || !this.hasRequestBody
  }

  get requestContentLength(): number {
    return this.chunked ? -1 : Math.max(this.contentLength, 0)
  }

  get isUpgrade(): boolean {
    return this.upgradeWanted
  }

  get expectsContinue(): boolean {
    return this.continueWanted
  }

  /**
   * The response has begun, no 100 went out and nothing of the body came: the client may keep the body back
   * (RFC 9110 §10.1.1), so nobody can say what its next bytes are.
   */
  get bodyDoubtful(): boolean {
    return (
      this.responseState !== UNWRITTEN && this.bodyOpen && this.hasRequestBody && this.connection.holdsNothing
    )
  }

  /** The client waits for a 100 that has not been sent, and has sent nothing of its body. */
  protected get bodyOpen(): boolean {
    return this.continueWanted && !this.continued && this.requestBodyBytes === 0 && this.decoder === null
  }

  get isShuttingDown(): boolean {
    return this.connection.owner.draining
  }

  get connectionContext(): unknown {
    return this.connection.userContext
  }

  set connectionContext(value: unknown) {
    this.connection.userContext = value
  }

  // --- the request's body ----------------------------------------------------------------------

  resumeRequestBody(): void {
    if (this.closed || this.flowing || this.requestState === FAILED) return
    this.flowing = true
    if (this.wantsRuns) this.runs?.pass()
    if (this.closed || !this.flowing) return
    if (!this.hasRequestBody && this.requestState === COMING) {
      this.endRequest(null)
      return
    }
    if (!this.requestEnded) this.connection.armBodyTimer()
    this.connection.wantBody()
  }

  pauseRequestBody(): void {
    // The timer may be the next request's already.
    if (!this.flowing || this.closed) return
    this.flowing = false
    this.connection.pauseBodyTimer()
  }

  /**
   * True if the `size` bytes of a read that come next are copied together with others of their turn. TLS hands over 16
   * KiB at a time, too little to write each upstream by itself.
   */
  gathers(size: number): boolean {
    if (!this.connection.encrypted) return false
    const goesOn = this.bodyRemaining > size || (size >= GATHERED_BYTES_MIN && this.contentLength <= 0)
    this.gathering = goesOn || this.runs?.isEmpty === false
    return this.gathering
  }

  get wantsRuns(): boolean {
    return this.flowing && !this.closed && (this.requestState === COMING || this.requestState === TUNNELLED)
  }

  passRun(buffer: Buffer, start: number, end: number): WriteResult | undefined {
    return this.handler?.onRequestData(buffer, start, end)
  }

  /** Hands on body bytes, now or at the end of the turn. */
  protected handOn(chunk: Buffer, start: number, end: number): void {
    if (this.gathering) {
      this.runs ??= new RequestRuns(this)
      this.runs.add(chunk, start, end)
    } else if (!isMemoryFree(this.handler?.onRequestData(chunk, start, end))) this.connection.keepChunk()
  }

  /** Takes body bytes from `[at, end)`; returns the offset after those that belong to this request. */
  feed(chunk: Buffer, at: number, end: number): number {
    if (this.chunked) return this.feedChunked(chunk, at, end)
    const after = Math.min(end, at + this.bodyRemaining)
    this.bodyRemaining -= after - at
    if (after > at) this.onChunkData(chunk, at, after)
    if (this.bodyRemaining === 0) this.endRequest(null)
    else if (!this.closed && this.flowing) this.connection.armBodyTimer()
    return after
  }

  private feedChunked(chunk: Buffer, at: number, end: number): number {
    this.decoder ??= new ChunkedDecoder()
    const decoder = this.decoder
    const after = decoder.execute(chunk, at, end, this, RUNS_PER_TURN_MAX)
    if (after === HEAD_FAILED) {
      const code = decoder.failure?.code ?? 'INVALID_CHUNK'
      this.fail(
        peerError('INVALID_CHUNK', 'downstream', `Request body is not valid chunked coding (${code})`),
        false,
      )
      return end
    }
    if (after >= 0) {
      this.endRequest(decoder.trailers)
      return after
    }
    if (!this.closed && this.flowing) this.connection.armBodyTimer()
    return decoder.stoppedAt < 0 ? end : decoder.stoppedAt
  }

  /** Called for each run of payload, also by the chunk decoder. */
  onChunkData(chunk: Buffer, start: number, end: number): void {
    this.runCount++
    if (this.closed || this.requestState !== COMING) return
    this.requestBodyBytes += end - start
    const limit = this.connection.owner.options.requestBodyBytesMax
    if (limit > 0 && this.requestBodyBytes > limit) {
      this.fail(peerError('BODY_TOO_LARGE', 'downstream', `Request body exceeds ${limit} bytes`), false)
      return
    }
    this.handOn(chunk, start, end)
  }

  private endRequest(trailers: string[] | null): void {
    if (this.requestState === COMING && !this.closed) this.runs?.pass()
    const isDropped = this.requestState === DROPPED
    if (!isDropped && (this.closed || this.requestState !== COMING)) return
    if (!this.becomeRequest(ENDED)) return
    this.connection.cancelBodyTimer()
    if (!isDropped) this.handler?.onRequestEnd(trailers)
  }

  /** The response is complete: what is left of the body is dropped. */
  discardBody(): void {
    if (this.becomeRequest(DROPPED)) this.flowing = true
  }
}
