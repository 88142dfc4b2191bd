import type { ProxyError } from '@cirque/error'
import { bodylessStatus, type ResponseHeader } from '@cirque/http'
import { isPromise } from '../is-promise.ts'
import { WRITE_DONE, WRITE_PAUSE, type WriteResult } from '../sessions/write-result.ts'
import type { HttpModule } from './http-module.ts'
import { closeModules, type HttpModuleContext } from './http-modules.ts'
import { ModuleBody } from './module-body.ts'
import { inTime } from './module-deadline.ts'
import { moduleFailure } from './module-failure.ts'
import { declaresLength, RESPONSE_FILTERS, responseStages } from './module-stages.ts'

/** Where a response goes that has passed modules, and what feeds it. */
export interface ModuleResponseSink {
  /** The head as the modules left it; a length of -1 is not known. */
  onModuleHead(header: ResponseHeader, contentLength: number): void
  /** From {@link WRITE_PAUSE}: no more until `resume()`. */
  onModuleData(buffer: Buffer, start: number, end: number): WriteResult
  onModuleEnd(trailers: string[] | null): void
  /** All that has come is through: the source may go on. */
  onModulesIdle(): void
  /** A module failed; nothing more comes. `filter` is the one that did. */
  onModuleFailed(error: ProxyError, filter: keyof HttpModule): void
}

/**
 * One response on its way through modules: its head through their filters of heads, then its body, piece after piece,
 * as fast as the sink takes it. What arrives while a filter of the head is waited for waits; the source is told to
 * stop, so it is at most what one read brought.
 *
 * The owner calls `stop()` however the response ends, which closes the modules.
 */
export class ModuleResponse {
  readonly #context: HttpModuleContext
  readonly #sink: ModuleResponseSink
  #headPending = false
  #body: ModuleBody | null = null
  /** What came while a filter of the head was waited for. */
  #early: Buffer[] | null = null
  #earlyEnd: { readonly trailers: string[] | null } | null = null
  /** The sink takes more again. */
  #resumed: (() => void) | null = null
  #stopped = false

  constructor(context: HttpModuleContext, sink: ModuleResponseSink) {
    this.#context = context
    this.#sink = sink
  }

  /** True while modules filter the body: it has no length any more. Known from the head on. @internal */
  get filtersBody(): boolean {
    return this.#body !== null
  }

  /** The final head. */
  head(header: ResponseHeader, contentLength: number): void {
    this.#filterHead(header, contentLength, declaresLength(header), 0)
  }

  data(buffer: Buffer, start: number, end: number): WriteResult {
    if (this.#stopped) return WRITE_DONE
    if (!this.#headPending && this.#body === null) return this.#sink.onModuleData(buffer, start, end)
    // The memory is read into again.
    const chunk = Buffer.from(buffer.subarray(start, end))
    if (this.#headPending) {
      this.#early ??= []
      this.#early.push(chunk)
    } else this.#body?.push(chunk)
    return WRITE_PAUSE
  }

  end(trailers: string[] | null): void {
    if (this.#stopped) return
    if (this.#headPending) this.#earlyEnd = { trailers }
    else if (this.#body !== null) this.#body.end(trailers)
    else this.#finish(trailers)
  }

  /** The sink takes more. */
  resume(): void {
    if (this.#stopped) return
    const resumed = this.#resumed
    this.#resumed = null
    if (resumed !== null) resumed()
    else if (!this.#headPending && this.#body?.busy !== true) this.#sink.onModulesIdle()
  }

  /** Nothing more reaches the sink, and the modules are closed. May be called more than once. */
  stop(): void {
    if (this.#stopped) return
    this.#stopped = true
    this.#early = null
    this.#body?.stop()
    // What waits for the sink goes on, finds that all is over, and ends.
    this.#resumed?.()
    this.#resumed = null
    closeModules(this.#context.modules)
  }

  #filterHead(header: ResponseHeader, contentLength: number, declared: boolean, from: number): void {
    const context = this.#context
    this.#headPending = false
    for (let i = from; i < context.modules.length; i++) {
      let pending: void | Promise<void>
      try {
        pending = (context.modules[i] as HttpModule).responseHeaderFilter?.(header, contentLength, context)
      } catch (error) {
        this.#fail(error, 'responseHeaderFilter')
        return
      }
      if (!isPromise(pending)) continue
      this.#headPending = true
      Promise.resolve(inTime(pending, context.filterTimeoutMs, 'responseHeaderFilter'))
        .then(() => {
          if (!this.#stopped) this.#filterHead(header, contentLength, declared, i + 1)
        })
        .catch((error: unknown) => this.#fail(error, 'responseHeaderFilter'))
      return
    }
    this.#sendHead(header, contentLength, declared)
    if (from > 0) this.#sendEarly()
  }

  #sendHead(header: ResponseHeader, contentLength: number, declared: boolean): void {
    const bodyless = this.#context.request.method === 'HEAD' || bodylessStatus(header.status)
    const stages = bodyless ? [] : responseStages(this.#context)
    if (stages.length > 0) {
      header.removeHeader('Content-Length') // whoever looks at the head next must not trust it
      this.#body = new ModuleBody(stages, {
        timeoutMs: this.#context.filterTimeoutMs,
        filters: RESPONSE_FILTERS,
        writeBody: (chunk) => this.#write(chunk),
        endBody: (trailers) => this.#finish(trailers),
        bodyIdle: () => this.#sink.onModulesIdle(),
        bodyFailed: (thrown, step) => this.#fail(thrown, RESPONSE_FILTERS[step]),
      })
    }
    // A module that took the field away wants a body of unknown length, as does one that may change it.
    const unknown = stages.length > 0 || (declared && !declaresLength(header))
    this.#sink.onModuleHead(header, unknown && !bodyless ? -1 : contentLength)
  }

  #sendEarly(): void {
    const early = this.#early ?? []
    this.#early = null
    let result: WriteResult = WRITE_DONE
    for (const chunk of early) {
      if (this.#body !== null) this.#body.push(chunk)
      else if (!this.#stopped) result = this.#sink.onModuleData(chunk, 0, chunk.length)
    }
    const end = this.#earlyEnd
    if (end !== null) this.end(end.trailers)
    else if (!this.#stopped && this.#body?.busy !== true && result < WRITE_PAUSE) this.#sink.onModulesIdle()
  }

  #write(chunk: Buffer): void | Promise<void> {
    if (this.#stopped || this.#sink.onModuleData(chunk, 0, chunk.length) < WRITE_PAUSE) return
    // It may have failed, or have ended all, within the call.
    if (this.#stopped) return
    return new Promise((resolve) => {
      this.#resumed = resolve
    })
  }

  #finish(trailers: string[] | null): void {
    if (this.#stopped) return
    this.stop()
    this.#sink.onModuleEnd(trailers)
  }

  #fail(thrown: unknown, filter: keyof HttpModule): void {
    if (this.#stopped) return
    this.stop()
    this.#sink.onModuleFailed(moduleFailure(thrown, filter), filter)
  }
}
