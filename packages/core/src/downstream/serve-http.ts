import { inspect } from 'node:util'
import { isProxyError, ProxyError, statusForError } from '@cirque/error'
import { isPromise } from '../is-promise.ts'
import type { HttpModuleBuilder } from '../modules/http-module.ts'
import { HttpModules } from '../modules/http-modules.ts'
import { ModuleSession } from '../modules/module-session.ts'
import { requireOptions } from '../option-checks.ts'
import type { ServerSession } from '../sessions/server-session.ts'
import { HttpServerApp, type HttpServerHandler } from './http-server-app.ts'
import type { HttpServerOptions } from './http-server-options.ts'
import { HttpSession } from './http-session.ts'

/** Answers one request. A throw or rejection becomes an error response, or cuts a response that has begun. */
export type ServeHttp = (session: HttpSession) => void | Promise<void>

/** Where {@link serveHttp} reports what a handler threw that was no `ProxyError`. What it throws itself is dropped. */
export type ServeHttpErrorListener = (error: unknown, session: HttpSession) => void

/** Options of {@link serveHttp}. */
export interface ServeHttpOptions extends HttpServerOptions {
  /** What requests and responses pass, such as `responseCompression()`. Default none. */
  readonly modules?: Iterable<HttpModuleBuilder>
}

/**
 * An application made of one function.
 *
 * @example
 * const app = serveHttp((session) => session.respond(200, { body: 'hello\n' }))
 */
export function serveHttp(
  serve: ServeHttp,
  options: ServeHttpOptions = {},
  onError?: ServeHttpErrorListener,
): HttpServerApp {
  if (typeof serve !== 'function')
    throw new TypeError(`Expected a handler function, received ${inspect(serve)}`)
  requireOptions(options, 'serveHttp')
  const { modules, ...serverOptions } = options
  const handler = new FunctionHandler(serve, new HttpModules(modules), onError)
  const app = new HttpServerApp(handler, serverOptions)
  handler.serverName = app.options.serverName
  return app
}

/** Calls a function for each request, behind modules if there are any, and answers for what it throws. */
class FunctionHandler implements HttpServerHandler {
  /** The `Server` field of generated responses. Set before the first request. */
  serverName = ''
  readonly #serve: ServeHttp
  readonly #modules: HttpModules
  readonly #onError: ServeHttpErrorListener | undefined

  constructor(serve: ServeHttp, modules: HttpModules, onError: ServeHttpErrorListener | undefined) {
    this.#serve = serve
    this.#modules = modules
    this.#onError = onError
  }

  onSession(downstream: ServerSession): void {
    if (this.#modules.size > 0) this.#callThroughModules(downstream)
    else this.#call(new HttpSession(downstream, this.serverName))
  }

  #callThroughModules(downstream: ServerSession): void {
    const moduled = new ModuleSession(downstream, this.#modules, {
      onModuleFailed: (error) => {
        session.onDownstreamAbort(error)
        this.#fail(session, error)
      },
    })
    const session = new HttpSession(moduled, this.serverName)
    try {
      const filtering = moduled.filterRequestHeader()
      if (filtering === undefined) this.#call(session)
      else {
        filtering.then(
          () => {
            if (session.abortError === undefined) this.#call(session)
          },
          (error: unknown) => this.#fail(session, error),
        )
      }
    } catch (error) {
      this.#fail(session, error)
    }
  }

  #call(session: HttpSession): void {
    try {
      const serve = this.#serve // called without a receiver
      const serving = serve(session)
      if (isPromise(serving)) Promise.resolve(serving).catch((error: unknown) => this.#fail(session, error))
    } catch (error) {
      this.#fail(session, error)
    }
  }

  #fail(session: HttpSession, thrown: unknown): void {
    const error = isProxyError(thrown)
      ? thrown
      : new ProxyError('INTERNAL_ERROR', 'internal', 'The handler failed', { cause: thrown })
    if (!isProxyError(thrown)) this.#report(thrown, session)
    if (session.downstream.closed) return
    const status = statusForError(error)
    if (session.responseWritten || status === 0) session.downstream.destroy(error)
    else {
      session.disableKeepAlive()
      session.respondError(status)
    }
  }

  #report(thrown: unknown, session: HttpSession): void {
    try {
      const answer: unknown = this.#onError?.(thrown, session)
      if (isPromise(answer)) Promise.resolve(answer).catch(() => undefined)
    } catch {
      // The request fails already.
    }
  }
}
