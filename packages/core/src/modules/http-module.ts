import type { RequestHeader, ResponseHeader } from '@cirque/http'
import type { HttpModuleContext } from './http-modules.ts'

/**
 * What a module makes of a piece of a body: `undefined` leaves it as it is, a Buffer replaces it, `null`
 * drops it. An async iterable replaces it by many pieces; the next one is asked for when the other side has
 * taken the last, so that a small piece that unfolds into a large one needs no memory for it.
 */
export type ModuleBodyResult =
  | Buffer
  | AsyncIterable<Buffer>
  | null
  | undefined
  // biome-ignore lint/suspicious/noConfusingVoidType: TypeScript infers void for a method without a return
  | void

/** Bytes that a module adds to a body, or nothing. */
// biome-ignore lint/suspicious/noConfusingVoidType: as above
export type ModuleBytes = Buffer | undefined | void

/**
 * A part of a service that looks at requests and responses and may change them, whatever the service is: a
 * proxy or an application of its own. One instance serves one request.
 *
 * Every method is optional and called in the order given here. Each may return a promise; only a promise is
 * waited for, and nothing overtakes it. What a method throws ends the request: with an error response while
 * nothing was written, else by cutting the connection.
 */
export interface HttpModule {
  /**
   * False: this request's body passes by untouched, and keeps its length. Read once, when the body begins.
   * Default: true if there is a `requestBodyFilter`.
   */
  readonly filtersRequestBody?: boolean
  /**
   * False: this response passes by untouched from its head on, and keeps its length. Read once, after
   * `responseHeaderFilter`. Default: true if there is any filter of what follows the head.
   */
  readonly filtersResponseBody?: boolean

  /** Called once per request, before anything else looks at it. Edits are seen by all that follows. */
  requestHeaderFilter?(request: RequestHeader, context: HttpModuleContext): void | Promise<void>

  /**
   * Called for each piece of the request's body and once with `null` and true at its end. A request is
   * filtered once, however often a proxy sends it. The piece is the module's to keep.
   */
  requestBodyFilter?(
    chunk: Buffer | null,
    endOfStream: boolean,
    context: HttpModuleContext,
  ): ModuleBodyResult | Promise<ModuleBodyResult>

  /**
   * Called once with the head of the final response, its own or a generated one; not for 1xx and 101.
   *
   * @param contentLength - The length of the body in bytes, or -1 when it is not known.
   */
  responseHeaderFilter?(
    response: ResponseHeader,
    contentLength: number,
    context: HttpModuleContext,
  ): void | Promise<void>

  /**
   * Called for each piece of the response's body and once with `null` and true at its end; not when the
   * response has none (HEAD, 204, 304). The piece is the module's to keep.
   */
  responseBodyFilter?(
    chunk: Buffer | null,
    endOfStream: boolean,
    context: HttpModuleContext,
  ): ModuleBodyResult | Promise<ModuleBodyResult>

  /**
   * Called after the body when the response has trailers, flat `[name, value, …]`; edit in place.
   *
   * @returns Bytes that go out as the last of the body, in place of the trailers.
   */
  responseTrailerFilter?(trailers: string[], context: HttpModuleContext): ModuleBytes | Promise<ModuleBytes>

  /**
   * Called when the response is complete.
   *
   * @returns Bytes that go out as the last of the body.
   */
  responseDoneFilter?(context: HttpModuleContext): ModuleBytes | Promise<ModuleBytes>

  /** Called exactly once when the module is no longer needed, however the request ended. What it throws is dropped. */
  close?(): void
}

/** The class of a module, by which it is found. */
// biome-ignore lint/suspicious/noExplicitAny: only a constructor's result matters, whatever it takes
export type HttpModuleClass<M extends HttpModule = HttpModule> = abstract new (...args: any[]) => M

/** Makes a module for each request, and holds what all of them share. */
export interface HttpModuleBuilder<M extends HttpModule = HttpModule> {
  /** The module's class: one of each kind per service, and what `context.get` finds it by. */
  readonly module: HttpModuleClass<M>
  /** Modules of a higher order run first, in both directions; equal ones as they were added. Default 0. */
  readonly order?: number
  /** Called once per request. What it throws ends the request as a failed `requestHeaderFilter` does. */
  init(): M
}
