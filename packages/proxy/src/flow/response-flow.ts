import {
  type HttpModules,
  ModuleResponse,
  type ModuleResponseSink,
  WRITE_DONE,
  WRITE_PAUSE,
  type WriteResult,
} from '@cirque/core'
import type { ProxyError } from '@cirque/error'
import { type ResponseHeader, removeHopByHop } from '@cirque/http'
import { answerAtOnce, hookError, isPromise } from '../hooks/hook-answers.ts'
import { HookDeadline, type HookWaiter } from '../hooks/hook-deadline.ts'
import { type ChunkFilter, FilteredBody, type FilteredBodySink } from './filtered-body.ts'
import {
  hasAnswered,
  type ResponseFlowOwner,
  type ResponsePhasesFlow,
  runHeadPhases,
  runTrailerPhases,
} from './response-phases.ts'
import { ResponseQueue } from './response-queue.ts'

/**
 * A response on its way from the upstream to the client: heads through their filters, the body through its
 * own, in order, with backpressure. One per attempt.
 *
 * Without filters nothing is queued or copied. While a filter is waited for, what one read brought waits in
 * a queue and the upstream is not read.
 */
export class ResponseFlow<Ctx>
  implements ResponsePhasesFlow<Ctx>, FilteredBodySink, ModuleResponseSink, HookWaiter
{
  readonly owner: ResponseFlowOwner<Ctx>
  /** The final response's way through the modules for upstreams. */
  #modules: ModuleResponse | null = null
  /** What waits while a head's filter is waited for; null when nothing ever had to. */
  #queue: ResponseQueue | null = null
  #waiting = false
  #deadline: HookDeadline | null = null
  #stopped = false
  #body: FilteredBody | null = null
  #trailers: string[] | null = null
  #full = false

  constructor(owner: ResponseFlowOwner<Ctx>) {
    this.owner = owner
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
    const { upstreamModules } = this.owner
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
    if (this.#modules === null) this.owner.upstream?.resumeResponse()
    else this.#modules.resume()
  }

  // --- through modules ---------------------------------------------------------------------------

  #passModules(modules: HttpModules, header: ResponseHeader, contentLength: number): void {
    const { app, session, ctx } = this.owner
    removeHopByHop(header)
    let phase = 'init of a module for upstreams'
    try {
      const context = modules.createContext(session.request, this.owner.filterTimeoutMs)
      session.upstreamModules = context
      this.#modules = new ModuleResponse(context, this)
      phase = 'adjustUpstreamModules'
      answerAtOnce(app.adjustUpstreamModules?.(session, header, ctx), phase)
    } catch (error) {
      this.hookFailed(error, phase)
      return
    }
    if (!this.#stopped && !hasAnswered(this, phase)) this.#modules.head(header, contentLength)
  }

  onModuleHead(header: ResponseHeader, contentLength: number): void {
    if (this.#waiting) this.#openQueue().add({ kind: 'head', header, contentLength })
    else runHeadPhases(this, header, contentLength)
  }

  onModuleData(buffer: Buffer, start: number, end: number): WriteResult {
    const result = this.#takeData(buffer, start, end)
    // Nobody else says so: the upstream's turn is long over.
    if (result >= WRITE_PAUSE) this.owner.downstream.flush()
    return result
  }

  onModulesIdle(): void {
    this.owner.downstream.flush()
    this.owner.upstream?.resumeResponse()
  }

  onModuleFailed(error: ProxyError, filter: string): void {
    this.hookFailed(error, `${filter} of a module for upstreams`)
  }

  #takeData(buffer: Buffer, start: number, end: number): WriteResult {
    if (this.#stopped) return WRITE_DONE
    const body = this.#body
    if (!this.#waiting && body === null) return this.owner.downstream.writeBody(buffer, start, end)
    // The memory is read into again: what filters may keep, or what has to wait, is copied.
    const chunk = Buffer.from(buffer.subarray(start, end))
    if (this.#waiting) {
      this.#openQueue().addData(chunk)
      return WRITE_PAUSE
    }
    this.#full = false
    body?.push(chunk)
    return this.#full || body?.busy === true ? WRITE_PAUSE : WRITE_DONE
  }

  onModuleEnd(trailers: string[] | null): void {
    if (this.#stopped) return
    if (this.#waiting) this.#openQueue().add({ kind: 'end', trailers })
    else if (this.#body !== null) {
      this.#trailers = trailers
      this.#body.end()
    } else runTrailerPhases(this, trailers)
  }

  // --- the filtered body -------------------------------------------------------------------------

  filterBody(filters: readonly ChunkFilter[]): void {
    this.#body = new FilteredBody(filters, this, this.owner.filterTimeoutMs)
  }

  onFiltered(chunk: Buffer): void {
    if (this.owner.downstream.writeBody(chunk, 0, chunk.length) >= WRITE_PAUSE) this.#full = true
  }

  onFilteredEnd(): void {
    runTrailerPhases(this, this.#trailers)
  }

  onFilterFailed(error: ProxyError): void {
    this.owner.fail(error)
  }

  onFilterIdle(): void {
    this.owner.downstream.flush()
    if (!this.#full) this.#resume()
  }

  // --- waiting -----------------------------------------------------------------------------------

  invoke<T>(phase: string, hook: () => T | Promise<T>, next: (value: T) => void): void {
    let result: T | Promise<T>
    let waits: boolean
    try {
      result = hook()
      waits = isPromise(result)
    } catch (error) {
      this.hookFailed(error, phase)
      return
    }
    if (!waits) {
      if (!this.#stopped) next(result as T)
      return
    }
    this.#waiting = true
    this.#deadline ??= new HookDeadline(this.owner.filterTimeoutMs, this)
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
        this.hookFailed(error, phase)
      })
  }

  onHookTimeout(phase: string, error: ProxyError): void {
    this.hookFailed(error, phase)
  }

  hookFailed(thrown: unknown, phase: string): void {
    if (this.#stopped) return
    const error = hookError(thrown, phase)
    // A head's filter may ask for another attempt; everything later is too late for one.
    if (error.retry !== 'never' && this.owner.downstream.responseStatus === 0) this.owner.attemptFailed(error)
    else this.owner.fail(error)
  }

  #openQueue(): ResponseQueue {
    this.#queue ??= new ResponseQueue()
    return this.#queue
  }

  #passQueued(chunks: readonly Buffer[]): void {
    for (const chunk of chunks) {
      // With body filters `#takeData` notes PAUSE itself, and it may only mean that a filter is busy.
      if (this.#takeData(chunk, 0, chunk.length) >= WRITE_PAUSE && this.#body === null) this.#full = true
    }
  }

  /** Deals with what arrived while a filter was waited for, then reads on. */
  #catchUp(): void {
    while (!this.#waiting && !this.#stopped) {
      const event = this.#queue?.shift()
      if (event === undefined) break
      if (event.kind === 'head') runHeadPhases(this, event.header, event.contentLength)
      else if (event.kind === 'end') this.onModuleEnd(event.trailers)
      else this.#passQueued(event.chunks)
    }
    if (this.#waiting || this.#stopped) return
    this.owner.downstream.flush()
    if (!this.#full && this.#body?.busy !== true) this.#resume()
  }
}
