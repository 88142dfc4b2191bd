import {
  type ClientSession,
  declaredLength,
  type HttpModules,
  ModuleResponse,
  type ModuleResponseSink,
  type ServerSession,
  WRITE_DONE,
  WRITE_PAUSE,
  type WriteResult,
} from '@cirque/core'
import { ProxyError } from '@cirque/error'
import { checkTrailers, type ResponseHeader, removeHopByHop } from '@cirque/http'
import { answerAtOnce, hookError, isPromise } from '../hooks/hook-answers.ts'
import { HookDeadline, type HookWaiter } from '../hooks/hook-deadline.ts'
import type { ProxyHttp } from '../proxy-http.ts'
import type { Session } from '../session.ts'
import { type ChunkFilter, FilteredBody, type FilteredBodySink } from './filtered-body.ts'
import { Gatherer } from './gather.ts'

/** The exchange, as the response's way back sees it. */
export interface ResponseFlowOwner<Ctx> {
  readonly app: ProxyHttp<Ctx>
  readonly session: Session
  readonly ctx: Ctx
  readonly downstream: ServerSession
  readonly upstream: ClientSession | null
  readonly filterTimeoutMs: number
  /** What responses pass before the hooks; null for nothing. */
  readonly upstreamModules: HttpModules | null
  /** The final head is through the upstream's filters: true to drop this response and try again. */
  retryOnStatus(status: number): boolean
  /** The attempt is lost. */
  attemptFailed(error: ProxyError): void
  /** The exchange is lost. */
  fail(error: ProxyError): void
  /** 101 was passed on: both directions are raw from now on. */
  tunnelStarted(): void
  /** The response is complete and written. */
  responseComplete(trailers: string[] | null): void
}

type ResponseEvent =
  | { readonly kind: 'head'; readonly header: ResponseHeader; readonly contentLength: number }
  | { readonly kind: 'data'; readonly chunks: Buffer[] }
  | { readonly kind: 'end'; readonly trailers: string[] | null }

const KEEP_UPGRADE = { keepUpgrade: true } as const

/**
 * A response on its way from the upstream to the client: heads through their filters, the body through its
 * own, in order, with backpressure. One per attempt.
 *
 * Without filters nothing is queued or copied. While a filter is waited for, what one read brought waits in
 * a queue and the upstream is not read.
 */
export class ResponseFlow<Ctx> implements FilteredBodySink, ModuleResponseSink, HookWaiter {
  readonly #owner: ResponseFlowOwner<Ctx>
  /** The final response's way through the modules for upstreams. */
  #modules: ModuleResponse | null = null
  /** What waits while a head's filter is waited for; null when nothing ever had to. */
  #queue: ResponseEvent[] | null = null
  #gatherer: Gatherer | null = null
  #waiting = false
  #deadline: HookDeadline | null = null
  #stopped = false
  #body: FilteredBody | null = null
  #trailers: string[] | null = null
  #full = false

  constructor(owner: ResponseFlowOwner<Ctx>) {
    this.#owner = owner
  }

  /** Nothing more goes to the client through this flow. */
  stop(): void {
    this.#stopped = true
    this.#queue = null
    this.#modules?.stop()
    this.#deadline?.stop()
    this.#body?.stop()
  }

  // --- from the upstream -------------------------------------------------------------------------

  head(header: ResponseHeader, contentLength: number): void {
    const { upstreamModules } = this.#owner
    if (upstreamModules !== null && header.status >= 200)
      this.#passModules(upstreamModules, header, contentLength)
    else this.onModuleHead(header, contentLength)
  }

  data(buffer: Buffer, start: number, end: number): WriteResult {
    return this.#modules === null
      ? this.#takeData(buffer, start, end)
      : this.#modules.data(buffer, start, end)
  }

  end(trailers: string[] | null): void {
    if (this.#modules === null) this.onModuleEnd(trailers)
    else this.#modules.end(trailers)
  }

  /** The client takes more again. */
  drained(): void {
    this.#full = false
    if (!this.#waiting && this.#body?.busy !== true) this.#resume()
  }

  /** Whatever feeds this flow may go on. */
  #resume(): void {
    if (this.#modules === null) this.#owner.upstream?.resumeResponse()
    else this.#modules.resume()
  }

  // --- through modules ---------------------------------------------------------------------------

  #passModules(modules: HttpModules, header: ResponseHeader, contentLength: number): void {
    const { app, session, ctx } = this.#owner
    removeHopByHop(header)
    let phase = 'init of a module for upstreams'
    try {
      const context = modules.createContext(session.request, this.#owner.filterTimeoutMs)
      session.upstreamModules = context
      this.#modules = new ModuleResponse(context, this)
      phase = 'adjustUpstreamModules'
      answerAtOnce(app.adjustUpstreamModules?.(session, header, ctx), phase)
    } catch (error) {
      this.#hookFailed(error, phase)
      return
    }
    if (!this.#stopped && !this.#hasAnswered(phase)) this.#modules.head(header, contentLength)
  }

  onModuleHead(header: ResponseHeader, contentLength: number): void {
    if (this.#waiting) this.#enqueue({ kind: 'head', header, contentLength })
    else this.#filterUpstreamHead(header, contentLength)
  }

  onModuleData(buffer: Buffer, start: number, end: number): WriteResult {
    const result = this.#takeData(buffer, start, end)
    // Nobody else says so: the upstream's turn is long over.
    if (result >= WRITE_PAUSE) this.#owner.downstream.flush()
    return result
  }

  onModulesIdle(): void {
    this.#owner.downstream.flush()
    this.#owner.upstream?.resumeResponse()
  }

  onModuleFailed(error: ProxyError, filter: string): void {
    this.#hookFailed(error, `${filter} of a module for upstreams`)
  }

  #takeData(buffer: Buffer, start: number, end: number): WriteResult {
    if (this.#stopped) return WRITE_DONE
    const body = this.#body
    if (!this.#waiting && body === null) return this.#owner.downstream.writeBody(buffer, start, end)
    // The memory is read into again: what filters may keep, or what has to wait, is copied.
    const chunk = Buffer.from(buffer.subarray(start, end))
    if (this.#waiting) {
      this.#enqueueData(chunk)
      return WRITE_PAUSE
    }
    this.#full = false
    body?.push(chunk)
    return this.#full || body?.busy === true ? WRITE_PAUSE : WRITE_DONE
  }

  onModuleEnd(trailers: string[] | null): void {
    if (this.#stopped) return
    if (this.#waiting) this.#enqueue({ kind: 'end', trailers })
    else if (this.#body !== null) {
      this.#trailers = trailers
      this.#body.end()
    } else this.#filterTrailers(trailers)
  }

  // --- heads -------------------------------------------------------------------------------------

  #filterUpstreamHead(header: ResponseHeader, contentLength: number): void {
    const { app, session, ctx } = this.#owner
    removeHopByHop(header, header.status === 101 ? KEEP_UPGRADE : undefined)
    const sent = header.status
    if (app.upstreamResponseFilter === undefined) this.#filterHead(header, contentLength, sent)
    else {
      this.#invoke(
        'upstreamResponseFilter',
        () => app.upstreamResponseFilter?.(session, header, ctx),
        () => {
          if (!this.#hasAnswered('upstreamResponseFilter')) this.#filterHead(header, contentLength, sent)
        },
      )
    }
  }

  /** `sent` is the status that the upstream gave. */
  #filterHead(header: ResponseHeader, contentLength: number, sent: number): void {
    const owner = this.#owner
    if (sent >= 200 && owner.retryOnStatus(header.status)) return
    const { app, session, ctx } = owner
    if (app.responseFilter === undefined) this.#writeHead(header, contentLength, sent)
    else {
      this.#invoke(
        'responseFilter',
        () => app.responseFilter?.(session, header, ctx),
        () => {
          if (!this.#hasAnswered('responseFilter')) this.#writeHead(header, contentLength, sent)
        },
      )
    }
  }

  /** True when a head's filter has written a response of its own: then the upstream's has no place any more. */
  #hasAnswered(phase: string): boolean {
    if (this.#owner.downstream.responseStatus === 0) return false
    const fault = new Error('A response was written while another is proxied')
    this.#hookFailed(fault, phase)
    return true
  }

  #writeHead(header: ResponseHeader, contentLength: number, sent: number): void {
    const { downstream, session, app } = this.#owner
    const status = header.status
    if (status !== sent && (sent < 200 || status < 200)) {
      // What follows on the wire depends on it: a 1xx, a final response and a tunnel are not each other.
      this.#owner.fail(
        new ProxyError('FILTER_FAILED', 'internal', `A filter turned the status ${sent} into ${status}`),
      )
      return
    }
    if (status < 200 && status !== 101) {
      downstream.writeInformational(header)
      return
    }
    if (downstream.responseStatus !== 0 || downstream.closed) {
      // A hook answered by itself although the exchange goes on.
      this.#owner.fail(
        new ProxyError('FILTER_FAILED', 'internal', 'A response was written while another is proxied'),
      )
      return
    }
    // A tunnel's bytes are no body.
    const filters = status === 101 ? null : this.#bodyFilters()
    if (filters !== null) this.#body = new FilteredBody(filters, this, this.#owner.filterTimeoutMs)
    let length = contentLength
    const bodyless = session.request.method === 'HEAD' || status === 204 || status === 304
    if (!bodyless && status !== 101) {
      if (filters !== null && !session.keepContentLength) length = -1
      else if (filters !== null) length = declaredLength(header)
      else if (app.responseFilter !== undefined || app.upstreamResponseFilter !== undefined) {
        // A filter that took the field away wants a body of unknown length.
        if (length >= 0 && !header.has('content-length')) length = -1
      }
    }
    if (status !== 101 && downstream.isUpgrade) downstream.disableKeepAlive()
    downstream.writeHead(header, length)
    if (status === 101) this.#owner.tunnelStarted()
  }

  #bodyFilters(): ChunkFilter[] | null {
    const { app, session, ctx } = this.#owner
    if (app.upstreamResponseBodyFilter === undefined && app.responseBodyFilter === undefined) return null
    const filters: ChunkFilter[] = []
    if (app.upstreamResponseBodyFilter !== undefined) {
      filters.push({
        phase: 'upstreamResponseBodyFilter',
        run: (chunk, end) => app.upstreamResponseBodyFilter?.(session, chunk, end, ctx),
      })
    }
    if (app.responseBodyFilter !== undefined) {
      filters.push({
        phase: 'responseBodyFilter',
        run: (chunk, end) => app.responseBodyFilter?.(session, chunk, end, ctx),
      })
    }
    return filters
  }

  // --- the filtered body -------------------------------------------------------------------------

  onFiltered(chunk: Buffer): void {
    if (this.#owner.downstream.writeBody(chunk, 0, chunk.length) >= WRITE_PAUSE) this.#full = true
  }

  onFilteredEnd(): void {
    this.#filterTrailers(this.#trailers)
  }

  onFilterFailed(error: ProxyError): void {
    this.#owner.fail(error)
  }

  onFilterIdle(): void {
    this.#owner.downstream.flush()
    if (!this.#full) this.#resume()
  }

  // --- trailers ----------------------------------------------------------------------------------

  #filterTrailers(trailers: string[] | null): void {
    const { app, session, ctx } = this.#owner
    if (
      trailers === null ||
      (app.upstreamResponseTrailerFilter === undefined && app.responseTrailerFilter === undefined)
    ) {
      this.#owner.responseComplete(trailers)
      return
    }
    this.#invoke(
      'upstreamResponseTrailerFilter',
      () => app.upstreamResponseTrailerFilter?.(session, trailers, ctx),
      () =>
        this.#invoke(
          'responseTrailerFilter',
          () => app.responseTrailerFilter?.(session, trailers, ctx),
          (bytes) => {
            if (bytes !== undefined && bytes !== null && !Buffer.isBuffer(bytes)) {
              const fault = new TypeError(
                `A trailer filter must give a Buffer or nothing, not ${typeof bytes}`,
              )
              this.#hookFailed(fault, 'responseTrailerFilter')
              return
            }
            if (Buffer.isBuffer(bytes)) this.#owner.downstream.writeBody(bytes, 0, bytes.length)
            else if (!this.#areSound(trailers)) return
            this.#owner.responseComplete(Buffer.isBuffer(bytes) ? null : trailers)
          },
        ),
    )
  }

  /** Whether hooks have left trailers that can be written. */
  #areSound(trailers: string[]): boolean {
    try {
      checkTrailers(trailers)
      return true
    } catch (error) {
      this.#hookFailed(error, 'responseTrailerFilter')
      return false
    }
  }

  // --- waiting -----------------------------------------------------------------------------------

  #invoke<T>(phase: string, hook: () => T | Promise<T>, next: (value: T) => void): void {
    let result: T | Promise<T>
    let waits: boolean
    try {
      result = hook()
      waits = isPromise(result)
    } catch (error) {
      this.#hookFailed(error, phase)
      return
    }
    if (!waits) {
      if (!this.#stopped) next(result as T)
      return
    }
    this.#waiting = true
    this.#deadline ??= new HookDeadline(this.#owner.filterTimeoutMs, this)
    this.#deadline.start(phase)
    Promise.resolve(result)
      .then((value) => {
        this.#waiting = false
        if (this.#stopped) return
        this.#deadline?.stop()
        next(value)
        this.#catchUp()
      })
      .catch((error: unknown) => {
        this.#waiting = false
        this.#hookFailed(error, phase)
      })
  }

  onHookTimeout(phase: string, error: ProxyError): void {
    this.#hookFailed(error, phase)
  }

  #hookFailed(thrown: unknown, phase: string): void {
    if (this.#stopped) return
    const error = hookError(thrown, phase)
    // A head's filter may ask for another attempt; everything later is too late for one.
    if (error.retry !== 'never' && this.#owner.downstream.responseStatus === 0)
      this.#owner.attemptFailed(error)
    else this.#owner.fail(error)
  }

  #enqueue(event: ResponseEvent): void {
    this.#queue ??= []
    this.#queue.push(event)
  }

  #passQueued(chunks: readonly Buffer[]): void {
    for (const chunk of chunks) {
      // With body filters `#takeData` notes PAUSE itself, and it may only mean that a filter is busy.
      if (this.#takeData(chunk, 0, chunk.length) >= WRITE_PAUSE && this.#body === null) this.#full = true
    }
  }

  #enqueueData(chunk: Buffer): void {
    const last = this.#queue?.at(-1)
    if (last?.kind !== 'data') {
      this.#enqueue({ kind: 'data', chunks: [chunk] })
      return
    }
    this.#gatherer ??= new Gatherer()
    this.#gatherer.add(last.chunks, chunk, 0, chunk.length)
  }

  /** Deals with what arrived while a filter was waited for, then reads on. */
  #catchUp(): void {
    while (!this.#waiting && !this.#stopped) {
      const event = this.#queue?.shift()
      if (event === undefined) break
      if (event.kind === 'head') this.#filterUpstreamHead(event.header, event.contentLength)
      else if (event.kind === 'end') this.onModuleEnd(event.trailers)
      else this.#passQueued(event.chunks)
    }
    if (this.#waiting || this.#stopped) return
    this.#owner.downstream.flush()
    if (!this.#full && this.#body?.busy !== true) this.#resume()
  }
}
