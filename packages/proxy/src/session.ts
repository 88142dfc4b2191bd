import {
  type HttpModuleContext,
  HttpSession,
  type ReadBodyOptions,
  type RequestBody,
  type ResponseInit,
  type ServerSession,
} from '@cirque/core'
import { peerError } from '@cirque/error'
import { ResponseHeader } from '@cirque/http'
import { type Attempt, LIMIT_DECISIONS_MAX, type LimitDecision, type RequestRecord } from './record.ts'

/** Options of {@link Session.bufferRequestBody}. */
export interface BufferBodyOptions {
  /** How many bytes to hold at most. Default 1 MiB. */
  readonly maxBytes?: number
  /** What to do with a longer body: answer 413, or hold what fits and stream the rest. Default `'reject'`. */
  readonly overflow?: 'reject' | 'stream'
}

/** The exchange, as its session sees it. @internal */
export interface SessionOwner {
  /** A response that a hook wrote by itself has ended. */
  onAnswered(): void
}

const BUFFER_BYTES_MAX_DEFAULT = 1_048_576
const NO_LIMITS: readonly LimitDecision[] = Object.freeze([])

/** One request as a proxy's hooks see it: the request, the ways to answer it, and its story so far. */
export class Session extends HttpSession {
  /** The story so far: attempts, times. */
  readonly record: RequestRecord
  /**
   * Set it in `responseFilter` when your body filters keep the length as it is. Otherwise a body that filters
   * may change is sent without a Content-Length. A body that then differs from it ends the connection.
   */
  keepContentLength = false
  /** The modules of `initUpstreamModules` that the last final response passes or passed; undefined before, or without any. */
  upstreamModules: HttpModuleContext | undefined = undefined
  /** The id that the option `forwarding.requestId` gave this request, the same on every attempt; undefined before. */
  requestId: string | undefined = undefined

  readonly #owner: SessionOwner

  constructor(downstream: ServerSession, serverName: string, timed: boolean, owner: SessionOwner) {
    super(downstream, serverName)
    this.#owner = owner
    this.record = { startedAt: timed ? performance.now() : 0, endedAt: 0, attempts: [], limits: NO_LIMITS }
  }

  /** The attempt under way or the last one; undefined before the first. */
  get attempt(): Attempt | undefined {
    return this.record.attempts.at(-1)
  }

  /** True while the server drains. */
  get isProcessShuttingDown(): boolean {
    return this.downstream.isShuttingDown
  }

  /**
   * Puts what a limit said in the record, for logs and metrics.
   *
   * @param name - What the limit is called. Few values: it is a label of metrics.
   * @returns `allowed`, to be used in a condition.
   * @example
   * if (!session.noteLimit('per client', limit.take(client).allowed)) return session.respondError(429)
   */
  noteLimit(name: string, allowed: boolean): boolean {
    if (typeof name !== 'string' || name === '') throw new TypeError('A limit needs a name')
    const { record } = this
    if (record.limits.length < LIMIT_DECISIONS_MAX) record.limits = [...record.limits, { name, allowed }]
    return allowed
  }

  /**
   * Reads the request's body ahead of the choice of a peer. It is sent on from memory, on every attempt.
   *
   * @returns What is held; the whole body, unless `overflow` is `'stream'` and it is longer.
   * @throws {ProxyError} `BODY_TOO_LARGE` (413) over `maxBytes` with `overflow: 'reject'`.
   */
  async bufferRequestBody(options: BufferBodyOptions = {}): Promise<Buffer> {
    const { maxBytes = BUFFER_BYTES_MAX_DEFAULT, overflow = 'reject' } = options
    if (!Number.isInteger(maxBytes) || maxBytes < 1) {
      throw new RangeError(`maxBytes must be a positive integer, not ${maxBytes}`)
    }
    const whole = overflow === 'reject'
    this.#readAhead(!whole || this.downstream.requestContentLength <= maxBytes)
    await this.body.fill(maxBytes, whole)
    return this.body.peek()
  }

  /**
   * At least the first `bytes` of the request's body (fewer only if it ends before), without taking them.
   *
   * @throws {ProxyError} Any downstream failure.
   */
  async peekRequestBody(bytes: number): Promise<Buffer> {
    if (!Number.isInteger(bytes) || bytes < 1)
      throw new RangeError(`bytes must be a positive integer, not ${bytes}`)
    this.#readAhead(true)
    await this.body.fill(bytes, false)
    return this.body.peek()
  }

  /** The whole body, which is still sent upstream afterwards; the same as `bufferRequestBody`. */
  override readRequestBody(options: ReadBodyOptions = {}): Promise<Buffer> {
    return this.bufferRequestBody(options)
  }

  override respond(status: number, response?: ResponseInit): void {
    super.respond(status, response)
    this.#owner.onAnswered()
  }

  override respondError(status: number, body?: string | Buffer): void {
    super.respondError(status, body)
    this.#owner.onAnswered()
  }

  override endResponse(trailers: string[] | null = null): void {
    super.endResponse(trailers)
    this.#owner.onAnswered()
  }

  /** @internal What was read ahead, handed over to the request's way upstream. */
  takeReadAhead(): RequestBody | null {
    return this.bodyReadAhead
  }

  #readAhead(wanted: boolean): void {
    if (this.record.attempts.length > 0) {
      throw peerError(
        'INTERNAL_ERROR',
        'internal',
        'The request body can be read ahead only before upstreamPeer',
      )
    }
    // We want the body, so it is for us to say so, not for the upstream (RFC 9110 §10.1.1).
    if (wanted && this.downstream.expectsContinue && this.downstream.requestBodyBytes === 0) {
      this.downstream.writeInformational(ResponseHeader.build(100))
    }
  }
}
