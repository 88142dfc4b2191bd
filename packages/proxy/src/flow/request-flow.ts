import {
  type ClientSession,
  type ServerSession,
  WRITE_DONE,
  WRITE_PAUSE,
  WRITE_RETAINED,
  type WriteResult,
} from '@cirque/core'
import { ProxyError } from '@cirque/error'
import type { ProxyHttp } from '../proxy-http.ts'
import type { Session } from '../session.ts'
import { FilteredBody, type FilteredBodySink } from './filtered-body.ts'
import { KeptBody } from './kept-body.ts'

/** The exchange, as the request body's way sees it. */
export interface RequestFlowOwner<Ctx> {
  readonly app: ProxyHttp<Ctx>
  readonly session: Session
  readonly ctx: Ctx
  readonly downstream: ServerSession
  readonly filterTimeoutMs: number
  fail(error: ProxyError): void
}

/**
 * A request's body on its way to the upstream: what was read ahead, then what arrives, through the filter,
 * with backpressure. The first bytes are kept, so that a further attempt can send the body from its start.
 */
export class RequestFlow<Ctx> implements FilteredBodySink {
  /** True while the body goes upstream; before and between attempts it does not. */
  live = false

  readonly #owner: RequestFlowOwner<Ctx>
  #keptBytesMax: number
  #upstream: ClientSession | null = null
  /** The body so far; null once it is larger than what is kept. */
  #kept: KeptBody | null = new KeptBody()
  #keptBytes = 0
  #sourceEnded = false
  #trailers: string[] | null = null
  #filter: FilteredBody | null = null
  #flushScheduled = false
  #full = false
  #started = false

  constructor(owner: RequestFlowOwner<Ctx>, keptBytesMax: number) {
    this.#owner = owner
    this.#keptBytesMax = keptBytesMax
  }

  /** True when the whole body so far is at hand. */
  get replayable(): boolean {
    return this.#kept !== null
  }

  /** The length to announce; -1 when it is not known, as with a filter that may change it. */
  get contentLength(): number {
    return this.#owner.app.requestBodyFilter === undefined ? this.#owner.downstream.requestContentLength : -1
  }

  /** The attempt's head is on its way: sends what is kept, then lets the client go on. */
  startAttempt(upstream: ClientSession): void {
    this.#upstream = upstream
    this.live = true
    this.#full = false
    this.#filter = this.#makeFilter()
    if (!this.#started) this.#takeReadAhead()
    this.#scheduleFlush()
    const kept = this.#kept
    if (kept !== null && kept.pieces.length > 0) {
      kept.lend()
      for (const chunk of kept.pieces) {
        if (this.#upstream !== upstream) return // lost meanwhile
        this.#send(chunk, 0, chunk.length)
      }
    }
    if (this.#upstream !== upstream) return
    if (this.#sourceEnded) this.#sendEnd()
    else if (!this.#full && this.#filter?.busy !== true) this.#owner.downstream.resumeRequestBody()
  }

  /** What a hook has read of the body counts as its beginning, however much it is. */
  #takeReadAhead(): void {
    this.#started = true
    const ahead = this.#owner.session.takeReadAhead()
    if (ahead === null) return
    if (ahead.takenBytes > 0) {
      this.#owner.fail(
        new ProxyError('FILTER_FAILED', 'internal', 'A hook took the request body out and left none to send'),
      )
      return
    }
    for (const chunk of ahead.chunks) this.#kept?.pieces.push(chunk)
    this.#keptBytes = ahead.bytes
    this.#keptBytesMax = Math.max(this.#keptBytesMax, ahead.bytes)
    this.#sourceEnded = ahead.ended
    this.#trailers = ahead.trailers
  }

  #makeFilter(): FilteredBody | null {
    const { app, session, ctx } = this.#owner
    if (app.requestBodyFilter === undefined) return null
    const run = (chunk: Buffer | null, end: boolean) => app.requestBodyFilter?.(session, chunk, end, ctx)
    return new FilteredBody([{ phase: 'requestBodyFilter', run }], this, this.#owner.filterTimeoutMs)
  }

  data(buffer: Buffer, start: number, end: number): WriteResult {
    const isKept = this.#keep(buffer, start, end)
    const result = this.#send(buffer, start, end)
    this.#scheduleFlush()
    return isKept ? WRITE_RETAINED : result
  }

  end(trailers: string[] | null): void {
    this.#sourceEnded = true
    this.#trailers = trailers
    this.#sendEnd()
  }

  /** The upstream takes more again. */
  drained(): void {
    this.#full = false
    if (this.live && this.#filter?.busy !== true && !this.#sourceEnded)
      this.#owner.downstream.resumeRequestBody()
  }

  /** The attempt is over; another may follow. */
  pause(): void {
    this.#filter?.stop()
    this.#upstream = null
    if (this.live) this.#owner.downstream.pauseRequestBody()
  }

  /** No attempt follows. */
  stop(): void {
    this.pause()
    this.#dropKept()
  }

  /** True if the memory of a run is needed as it is. */
  #keep(buffer: Buffer, start: number, end: number): boolean {
    const kept = this.#kept
    if (kept === null) return false
    this.#keptBytes += end - start
    if (this.#keptBytes <= this.#keptBytesMax) return kept.add(buffer, start, end)
    this.#dropKept()
    return false
  }

  #dropKept(): void {
    this.#kept?.drop()
    this.#kept = null
  }

  #send(buffer: Buffer, start: number, end: number): WriteResult {
    const filter = this.#filter
    if (filter === null) return this.#write(buffer, start, end)
    filter.push(Buffer.from(buffer.subarray(start, end)))
    if (filter.busy || this.#full) this.#owner.downstream.pauseRequestBody()
    return WRITE_DONE
  }

  #write(buffer: Buffer, start: number, end: number): WriteResult {
    const result = this.#upstream?.writeBody(buffer, start, end) ?? WRITE_DONE
    if (result >= WRITE_PAUSE) {
      this.#full = true
      this.#owner.downstream.pauseRequestBody()
    }
    return result
  }

  #sendEnd(): void {
    if (this.#filter === null) this.#upstream?.endRequest(this.#trailers)
    else this.#filter.end()
  }

  onFiltered(chunk: Buffer): void {
    this.#write(chunk, 0, chunk.length)
  }

  onFilteredEnd(): void {
    this.#upstream?.endRequest(this.#trailers)
  }

  onFilterFailed(error: ProxyError): void {
    this.#owner.fail(error)
  }

  onFilterIdle(): void {
    this.#upstream?.flush()
    if (!this.#full && !this.#sourceEnded && this.live) this.#owner.downstream.resumeRequestBody()
  }

  /** The head and the first bytes leave together, at the end of the turn that brought them. */
  #scheduleFlush(): void {
    if (this.#flushScheduled) return
    this.#flushScheduled = true
    process.nextTick(flushRequest, this)
  }

  flush(): void {
    this.#flushScheduled = false
    this.#upstream?.flush()
  }
}

function flushRequest<Ctx>(flow: RequestFlow<Ctx>): void {
  flow.flush()
}
