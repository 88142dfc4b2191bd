import { type ErrorCode, ProxyError } from '@cirque/error'
import type { ResponseHeader } from '@cirque/http'
import { isPromise } from '../is-promise.ts'
import { ServerSession, type ServerSessionHandler } from '../sessions/server-session.ts'
import { WRITE_DONE, WRITE_PAUSE, WRITE_RETAINED, type WriteResult } from '../sessions/write-result.ts'
import type { ConnectionDigest } from '../sockets/digest.ts'
import type { HttpModule } from './http-module.ts'
import { closeModules, HttpModuleContext, type HttpModules } from './http-modules.ts'
import { moduleFailure } from './module-failure.ts'
import { ModuleRequestBody, type ModuleRequestReader } from './module-request-body.ts'
import { ModuleResponse, type ModuleResponseSink } from './module-response.ts'
import { requestStages } from './module-stages.ts'

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
export class ModuleSession
  extends ServerSession
  implements ServerSessionHandler, ModuleRequestReader, ModuleResponseSink
{
  override requestEnded = false
  override responseEnded = false
  override closed = false

  readonly #modules: HttpModuleContext
  readonly #inner: ServerSession
  readonly #owner: ModuleSessionOwner
  #requestBody: ModuleRequestBody | null = null
  /** True once it is known whether the request's body has to pass modules. */
  #requestBegun = false
  #requestWanted = false
  /** The final response's way through the modules; null before its head. */
  #response: ModuleResponse | null = null
  /** The length that the handler declared, in bytes; -1 when it did not say. */
  #lengthDeclared = -1
  /** Bytes of the response's body that the handler has written. */
  #lengthWritten = 0
  /** A module failed before the head was written: what follows belongs to a response that is no more. */
  #dropping = false
  /** A module failed: what it has not filtered reaches nobody. */
  #failed = false
  /** The modules have nothing more to say. */
  #released = false
  /** What a builder threw; told by `filterRequestHeader`, where somebody can answer. */
  #initError: { readonly error: unknown } | null = null
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

  async #filterRequestHeaderFrom(pending: PromiseLike<void>, from: number): Promise<void> {
    await pending
    const { modules } = this.modules
    for (let i = from; i < modules.length; i++) {
      if (this.#released) return // the client has left
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
    return this.hasRequestBody && !this.#released && requestStages(this.#modules).length > 0
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
    this.#requestBody?.resume()
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
    if (body === null || this.#released) {
      return this.handler?.onRequestData(buffer, start, end) ?? WRITE_RETAINED
    }
    body.push(start === 0 && end === buffer.length ? buffer : buffer.subarray(start, end))
    if (body.busy) this.#inner.pauseRequestBody()
    return WRITE_RETAINED
  }

  onRequestEnd(trailers: string[] | null): void {
    if (this.#failed) return
    if (!this.#requestBegun && this.#inner.hasRequestBody) this.#beginRequestBody()
    if (this.#requestBody !== null && !this.#released) this.#requestBody.end(trailers)
    else this.onFilteredEnd(trailers)
  }

  #beginRequestBody(): void {
    this.#requestBegun = true
    const stages = requestStages(this.#modules)
    if (stages.length > 0) {
      this.#requestBody = new ModuleRequestBody(stages, this.#modules.filterTimeoutMs, this)
    }
  }

  /** @internal */
  onFilteredData(chunk: Buffer): boolean {
    this.handler?.onRequestData(chunk, 0, chunk.length)
    return this.#requestWanted || this.closed
  }

  /** @internal */
  onFilteredEnd(trailers: string[] | null): void {
    this.requestEnded = true
    this.handler?.onRequestEnd(trailers)
  }

  /** @internal */
  onFilteredIdle(): void {
    if (this.#requestWanted && !this.requestEnded && !this.closed) this.#inner.resumeRequestBody()
  }

  /** @internal */
  onRequestFilterFailed(thrown: unknown): void {
    this.onModuleFailed(moduleFailure(thrown, 'requestBodyFilter'))
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
    if (this.#released) this.#inner.writeHead(header, contentLength)
    else {
      this.#lengthDeclared = contentLength
      this.#response = new ModuleResponse(this.#modules, this)
      this.#response.head(header, contentLength)
    }
  }

  writeBody(buffer: Buffer, start: number, end: number): WriteResult {
    if (this.closed || this.#dropping || end === start) return WRITE_DONE
    const response = this.#response
    if (response === null || this.#released) return this.#writeInner(buffer, start, end)
    this.#lengthWritten += end - start
    return this.#isLengthBroken() ? WRITE_PAUSE : response.data(buffer, start, end)
  }

  endResponse(trailers: string[] | null): void {
    if (this.responseEnded || this.closed || this.#dropping) return
    this.responseEnded = true
    const response = this.#response
    if (response === null || this.#released) this.onModuleEnd(trailers)
    else if (!this.#isLengthBroken()) response.end(trailers)
  }

  #writeInner(buffer: Buffer, start: number, end: number): WriteResult {
    const result = this.#inner.writeBody(buffer, start, end)
    this.responseBodyBytes = this.#inner.responseBodyBytes
    return result
  }

  /** A module makes chunks of a body, whose end would say that it is whole: here it is held to what was declared. */
  #isLengthBroken(): boolean {
    const missing = this.#lengthDeclared - this.#lengthWritten
    if (this.#lengthDeclared < 0 || this.#response?.filtersBody !== true) return false
    if (missing < 0) this.#breakOff('INTERNAL_ERROR', 'Response body exceeds its Content-Length')
    else if (missing > 0 && this.responseEnded) {
      this.#breakOff('PREMATURE_BODY_END', `Response body is ${missing} bytes short`)
    } else return false
    return true
  }

  #breakOff(code: ErrorCode, message: string): void {
    const error = new ProxyError(code, 'internal', message)
    this.destroy(error)
    this.handler?.onDownstreamAbort(error)
  }

  // --- the response, as modules leave it ---------------------------------------------------------

  /** @internal */
  onModuleHead(header: ResponseHeader, contentLength: number): void {
    this.responseStatus = header.status
    this.#inner.writeHead(header, contentLength)
    this.#isLengthBroken() // by what was written while the head was waited for
  }

  /** @internal */
  onModuleData(buffer: Buffer, start: number, end: number): WriteResult {
    const result = this.#writeInner(buffer, start, end)
    if (result >= WRITE_PAUSE) this.#inner.flush()
    return result
  }

  /** @internal */
  onModuleEnd(trailers: string[] | null): void {
    this.#release()
    this.#inner.endResponse(trailers)
    this.closed = this.#inner.closed
    const written = this.#written
    this.#written = null
    written?.()
  }

  /** @internal */
  onModulesIdle(): void {
    if (this.closed || this.responseEnded) return
    this.#inner.flush()
    this.handler?.onDownstreamDrain()
  }

  /** @internal */
  onModuleFailed(error: ProxyError): void {
    if (this.#released || this.closed) return
    this.#failed = true
    this.#release()
    this.#written = null
    if (this.#inner.responseStatus === 0) {
      this.responseStatus = 0
      this.responseEnded = false
      this.#dropping = true
    }
    this.#owner.onModuleFailed(error)
  }

  flush(): void {
    this.#inner.flush()
  }

  onDownstreamDrain(): void {
    if (this.#response === null || this.#released) this.handler?.onDownstreamDrain()
    else this.#response.resume()
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

  /** The modules are done: each is closed once, and what they still work on goes nowhere. */
  #release(): void {
    if (this.#released) return
    this.#released = true
    this.#requestBody?.stop()
    if (this.#response === null) closeModules(this.#modules.modules)
    else this.#response.stop() // which closes them
  }
}
