import { type ErrorCode, isProxyError, ProxyError } from '@cirque/error'
import { bodylessStatus, type ResponseHeader } from '@cirque/http'
import type { ConnectionDigest } from '../digest.ts'
import { ServerSession, type ServerSessionHandler } from '../downstream/server-session.ts'
import { WRITE_DONE, WRITE_PAUSE, WRITE_RETAINED, type WriteResult } from '../write-result.ts'
import type { HttpModule } from './http-module.ts'
import { closeModules, HttpModuleContext, type HttpModules } from './http-modules.ts'
import { ModuleBody, type ModuleBodySink, type ModuleBodyStage } from './module-body.ts'
import { inTime } from './module-deadline.ts'
import { declaresLength, REQUEST_FILTERS, RESPONSE_FILTERS, responseStages } from './module-stages.ts'

/** Who serves a request through modules. */
export interface ModuleSessionOwner {
  /**
   * A module failed. Answer with an error, which passes no module, if `responseStatus` is 0; else destroy the
   * session. Called at most once.
   */
  onModuleFailed(error: ProxyError): void
}

/**
 * A session seen through modules: what the client sends passes them on its way to the handler, and what the
 * handler writes on its way to the client. For a service without modules it does not exist.
 *
 * The response may still be on its way after `endResponse()`: see `whenResponseWritten`.
 */
export class ModuleSession extends ServerSession implements ServerSessionHandler {
  readonly #modules: HttpModuleContext
  readonly #inner: ServerSession
  readonly #owner: ModuleSessionOwner
  #requestBody: ModuleBody | null = null
  /** True once it is known whether the request's body has to pass modules. */
  #requestBegun = false
  #requestWanted = false
  #requestResumed: (() => void) | null = null
  #responseBody: ModuleBody | null = null
  /** What the handler still owes of a body that modules filter, in bytes; -1 when it did not say. */
  #responseOwed = -1
  /** True while a module's filter of the response's head is waited for. */
  #headPending = false
  /** What the handler wrote meanwhile. */
  #early: Buffer[] = []
  #earlyTrailers: string[] | null = null
  /** A module failed before the head was written: what follows belongs to a response that is no more. */
  #dropping = false
  /** A module failed: what it has not filtered reaches nobody. */
  #failed = false
  /** The modules have nothing more to say. */
  #bypassed = false
  #released = false
  /** What a builder threw; told by `filterRequestHeader`, where somebody can answer. */
  #initError: { readonly error: unknown } | null = null
  #drained: (() => void) | null = null
  #written: (() => void) | null = null

  /** @param filterTimeoutMs - How long a filter of what follows the request's head is waited for; 0 for ever. */
  constructor(
    inner: ServerSession,
    modules: HttpModules,
    owner: ModuleSessionOwner,
    filterTimeoutMs: number = 0,
  ) {
    super(inner.request)
    this.#inner = inner
    this.#owner = owner
    let context: HttpModuleContext
    try {
      context = modules.createContext(inner.request, filterTimeoutMs)
    } catch (error) {
      context = new HttpModuleContext(inner.request, [], [])
      this.#initError = { error }
    }
    this.#modules = context
    inner.handler = this
  }

  override get modules(): HttpModuleContext {
    return this.#modules
  }

  /** Runs the modules' filters of the request's head. Throws or rejects with what a module threw. */
  filterRequestHeader(): void | Promise<void> {
    if (this.#initError !== null) throw this.#initError.error
    const { modules } = this.modules
    for (let i = 0; i < modules.length; i++) {
      const pending = (modules[i] as HttpModule).requestHeaderFilter?.(this.request, this.modules)
      if (isPromise(pending)) return this.#filterRequestHeaderFrom(pending, i + 1)
    }
  }

  async #filterRequestHeaderFrom(pending: Promise<void>, from: number): Promise<void> {
    await pending
    const { modules } = this.modules
    for (let i = from; i < modules.length; i++) {
      if (this.#bypassed) return // the client has left
      await (modules[i] as HttpModule).requestHeaderFilter?.(this.request, this.modules)
    }
  }

  /** Calls `callback` once the response that was ended is written, now or later; never if the client leaves first. */
  whenResponseWritten(callback: () => void): void {
    if (!this.responseEnded || this.#inner.responseEnded || this.closed) callback()
    else this.#written = callback
  }

  // --- facts, from below -------------------------------------------------------------------------

  get connectionContext(): unknown {
    return this.#inner.connectionContext
  }

  set connectionContext(value: unknown) {
    this.#inner.connectionContext = value
  }

  digest(): ConnectionDigest {
    return this.#inner.digest()
  }

  get hasRequestBody(): boolean {
    return this.#inner.hasRequestBody
  }

  /** -1 also when a module may change the body. */
  get requestContentLength(): number {
    return this.hasRequestBody && !this.#bypassed && this.#requestStages().length > 0
      ? -1
      : this.#inner.requestContentLength
  }

  get isUpgrade(): boolean {
    return this.#inner.isUpgrade
  }

  get expectsContinue(): boolean {
    return this.#inner.expectsContinue
  }

  get isShuttingDown(): boolean {
    return this.#inner.isShuttingDown
  }

  // --- the request's body ------------------------------------------------------------------------

  resumeRequestBody(): void {
    this.#requestWanted = true
    const resumed = this.#requestResumed
    this.#requestResumed = null
    resumed?.()
    if (this.#requestBody?.busy !== true) this.#inner.resumeRequestBody()
  }

  pauseRequestBody(): void {
    this.#requestWanted = false
    this.#inner.pauseRequestBody()
  }

  onRequestData(buffer: Buffer, start: number, end: number): WriteResult {
    this.requestBodyBytes = this.#inner.requestBodyBytes
    if (this.#failed) return WRITE_DONE
    if (!this.#requestBegun) this.#beginRequestBody()
    const body = this.#requestBody
    if (body === null || this.#bypassed) {
      return this.handler?.onRequestData(buffer, start, end) ?? WRITE_RETAINED
    }
    body.push(start === 0 && end === buffer.length ? buffer : buffer.subarray(start, end))
    if (body.busy) this.#inner.pauseRequestBody()
    return WRITE_RETAINED
  }

  onRequestEnd(trailers: string[] | null): void {
    if (this.#failed) return
    if (!this.#requestBegun && this.#inner.hasRequestBody) this.#beginRequestBody()
    if (this.#requestBody !== null && !this.#bypassed) this.#requestBody.end(trailers)
    else this.#requestDone(trailers)
  }

  #requestDone(trailers: string[] | null): void {
    this.requestEnded = true
    this.handler?.onRequestEnd(trailers)
  }

  #beginRequestBody(): void {
    this.#requestBegun = true
    const stages = this.#requestStages()
    if (stages.length === 0) return
    const sink: ModuleBodySink = {
      timeoutMs: this.modules.filterTimeoutMs,
      filters: REQUEST_FILTERS,
      writeBody: (chunk) => {
        this.handler?.onRequestData(chunk, 0, chunk.length)
        if (this.#requestWanted || this.closed) return
        return new Promise((resolve) => {
          this.#requestResumed = resolve
        })
      },
      endBody: (trailers) => this.#requestDone(trailers),
      bodyIdle: () => {
        if (this.#requestWanted && !this.requestEnded && !this.closed) this.#inner.resumeRequestBody()
      },
      bodyFailed: (thrown) => this.#fail(thrown, 'requestBodyFilter'),
    }
    this.#requestBody = new ModuleBody(stages, sink)
  }

  #requestStages(): ModuleBodyStage[] {
    const context = this.modules
    return context.modules.filter(filtersRequestBody).map((module) => ({
      body: (chunk, end) => module.requestBodyFilter?.(chunk, end, context),
      trailers: null,
      done: null,
    }))
  }

  // --- the response ------------------------------------------------------------------------------

  disableKeepAlive(): void {
    this.#inner.disableKeepAlive()
  }

  writeInformational(header: ResponseHeader): void {
    if (this.responseStatus === 0) this.#inner.writeInformational(header)
  }

  writeHead(header: ResponseHeader, contentLength: number): void {
    if (this.closed) return
    if (this.responseStatus !== 0) throw new Error('The response head was already written')
    this.responseStatus = header.status
    this.#dropping = false
    if (header.status < 200) {
      // Both directions are raw from now on.
      this.#release()
      this.#inner.writeHead(header, contentLength)
      this.responseStatus = this.#inner.responseStatus
      this.requestEnded = this.#inner.requestEnded
      return
    }
    if (this.#bypassed) this.#inner.writeHead(header, contentLength)
    else this.#filterHead(header, contentLength, declaresLength(header), 0)
  }

  #filterHead(header: ResponseHeader, contentLength: number, declared: boolean, from: number): void {
    const context = this.modules
    for (let i = from; i < context.modules.length; i++) {
      let pending: void | Promise<void>
      try {
        pending = (context.modules[i] as HttpModule).responseHeaderFilter?.(header, contentLength, context)
      } catch (error) {
        this.#fail(error, 'responseHeaderFilter')
        return
      }
      if (isPromise(pending)) {
        this.#headPending = true
        Promise.resolve(inTime(pending, context.filterTimeoutMs, 'responseHeaderFilter'))
          .then(() => {
            if (!this.#bypassed && !this.closed) this.#filterHead(header, contentLength, declared, i + 1)
          })
          .catch((error: unknown) => this.#fail(error, 'responseHeaderFilter'))
        return
      }
    }
    this.#sendHead(header, contentLength, declared)
  }

  #sendHead(header: ResponseHeader, contentLength: number, declared: boolean): void {
    const waited = this.#headPending
    this.#headPending = false
    this.responseStatus = header.status
    const bodyless = this.request.method === 'HEAD' || bodylessStatus(header.status)
    const stages = bodyless ? [] : responseStages(this.modules)
    // A module that took the field away wants a body of unknown length, as does one that may change it.
    const unknown = stages.length > 0 || (declared && !declaresLength(header))
    this.#responseOwed = contentLength
    if (stages.length > 0) this.#responseBody = new ModuleBody(stages, this.#responseSink())
    this.#inner.writeHead(header, unknown && !bodyless ? -1 : contentLength)
    if (waited) this.#sendEarly()
  }

  #responseSink(): ModuleBodySink {
    return {
      timeoutMs: this.modules.filterTimeoutMs,
      filters: RESPONSE_FILTERS,
      writeBody: (chunk) => {
        const result = this.#inner.writeBody(chunk, 0, chunk.length)
        this.responseBodyBytes = this.#inner.responseBodyBytes
        if (result < WRITE_PAUSE || this.closed) return
        this.#inner.flush()
        return new Promise((resolve) => {
          this.#drained = resolve
        })
      },
      endBody: (trailers) => this.#responseDone(trailers),
      bodyIdle: () => {
        if (this.closed || this.responseEnded) return
        this.#inner.flush()
        this.handler?.onDownstreamDrain()
      },
      bodyFailed: (thrown, step) => this.#fail(thrown, RESPONSE_FILTERS[step]),
    }
  }

  /** What was written while the head was waited for. */
  #sendEarly(): void {
    const early = this.#early
    this.#early = []
    for (const chunk of early) this.#passBody(chunk)
    if (this.responseEnded) this.#passEnd(this.#earlyTrailers)
    else if (this.#responseBody?.busy !== true) {
      this.#inner.flush()
      this.handler?.onDownstreamDrain()
    }
  }

  writeBody(buffer: Buffer, start: number, end: number): WriteResult {
    if (this.closed || this.#dropping || end === start) return WRITE_DONE
    if (!this.#headPending && this.#responseBody === null) {
      const result = this.#inner.writeBody(buffer, start, end)
      this.responseBodyBytes = this.#inner.responseBodyBytes
      return result
    }
    // The writer may use its memory again.
    const chunk = Buffer.from(buffer.subarray(start, end))
    if (this.#headPending) this.#early.push(chunk)
    else this.#passBody(chunk)
    return WRITE_PAUSE
  }

  #passBody(chunk: Buffer): void {
    if (this.#responseBody !== null) {
      if (this.#responseOwed >= 0) {
        this.#responseOwed -= chunk.length
        if (this.#responseOwed < 0) {
          this.#breakOff('INTERNAL_ERROR', 'Response body exceeds its Content-Length')
          return
        }
      }
      this.#responseBody.push(chunk)
    } else {
      this.#inner.writeBody(chunk, 0, chunk.length)
      this.responseBodyBytes = this.#inner.responseBodyBytes
    }
  }

  endResponse(trailers: string[] | null): void {
    if (this.responseEnded || this.closed || this.#dropping) return
    this.responseEnded = true
    if (this.#headPending) this.#earlyTrailers = trailers
    else this.#passEnd(trailers)
  }

  #passEnd(trailers: string[] | null): void {
    if (this.#responseBody === null) this.#responseDone(trailers)
    else if (this.#responseOwed > 0) {
      // A module made chunks of it, whose end would say that the body is whole.
      this.#breakOff('PREMATURE_BODY_END', `Response body is ${this.#responseOwed} bytes short`)
    } else this.#responseBody.end(trailers)
  }

  #breakOff(code: ErrorCode, message: string): void {
    const error = new ProxyError(code, 'internal', message)
    this.destroy(error)
    this.handler?.onDownstreamAbort(error)
  }

  #responseDone(trailers: string[] | null): void {
    this.#release()
    this.#inner.endResponse(trailers)
    this.closed = this.#inner.closed
    const written = this.#written
    this.#written = null
    written?.()
  }

  flush(): void {
    if (!this.#headPending) this.#inner.flush()
  }

  onDownstreamDrain(): void {
    const drained = this.#drained
    this.#drained = null
    if (drained !== null) drained()
    else if (this.#responseBody?.busy !== true && !this.#headPending) this.handler?.onDownstreamDrain()
  }

  // --- the end -----------------------------------------------------------------------------------

  destroy(error?: ProxyError): void {
    if (this.closed) return
    this.closed = true
    this.#release()
    this.#inner.destroy(error)
  }

  onDownstreamAbort(error: ProxyError): void {
    this.closed = this.#inner.closed
    if (this.closed) this.#release()
    else this.#requestBody?.stop()
    this.handler?.onDownstreamAbort(error)
  }

  #fail(thrown: unknown, filter: keyof HttpModule): void {
    if (this.#bypassed || this.closed) return
    this.#failed = true
    this.#release()
    this.#headPending = false
    this.#early = []
    this.#written = null
    if (this.#inner.responseStatus === 0) {
      this.responseStatus = 0
      this.responseEnded = false
      this.#dropping = true
    }
    const error = isProxyError(thrown)
      ? thrown
      : new ProxyError('FILTER_FAILED', 'internal', `The ${filter} of a module failed`, { cause: thrown })
    this.#owner.onModuleFailed(error)
  }

  /** The modules are done: each is closed once, and what they still work on goes nowhere. */
  #release(): void {
    this.#bypassed = true
    if (this.#released) return
    this.#released = true
    this.#requestBody?.stop()
    this.#responseBody?.stop()
    this.#responseBody = null
    // Whoever waits for one of the sides goes on, finds that all is over, and ends.
    this.#drained?.()
    this.#drained = null
    this.#requestResumed?.()
    this.#requestResumed = null
    closeModules(this.modules.modules)
  }
}

function filtersRequestBody(module: HttpModule): boolean {
  return module.requestBodyFilter !== undefined && module.filtersRequestBody !== false
}

function isPromise(result: void | Promise<void>): result is Promise<void> {
  return typeof (result as Promise<void> | undefined)?.then === 'function'
}
