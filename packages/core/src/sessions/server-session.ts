import type { ProxyError } from '@cirque/error'
import type { RequestHeader, ResponseHeader } from '@cirque/http'
import type { HttpModuleContext } from '../modules/http-modules.ts'
import type { ConnectionDigest } from '../sockets/digest.ts'
import type { WRITE_DONE, WRITE_FULL, WRITE_PAUSE, WriteResult } from './write-result.ts'

/**
 * Who owns one downstream exchange. The session calls it; calls never overlap, and none comes after
 * `onDownstreamAbort` or after the session has ended. None of its methods may throw: nobody is there to catch it, unlike
 * what `onSession` throws, and a handler of `serveHttp`.
 */
export interface ServerSessionHandler {
  /**
   * A run of the request's body, or of a tunnel.
   *
   * @returns {@link WRITE_DONE} or {@link WRITE_PAUSE} if the memory may be read into again; anything else, and it
   *   belongs to the handler from now on. To stop, call `pauseRequestBody()`: nothing of the answer does.
   */
  onRequestData(buffer: Buffer, start: number, end: number): WriteResult
  /** The request's body is complete; called exactly once, also for a request without a body. */
  onRequestEnd(trailers: string[] | null): void
  /** A write that answered {@link WRITE_PAUSE} or {@link WRITE_FULL} has drained. */
  onDownstreamDrain(): void
  /**
   * The client is gone, stalled or broke the protocol, or an invariant is broken (`INVARIANT_BROKEN`). If the session is
   * not `closed`, a response may still be written; then its connection closes, or with HTTP/2 takes no more requests
   * after a broken invariant. Else the session is dead, and its socket or stream destroyed or about to be.
   */
  onDownstreamAbort(error: ProxyError): void
}

/**
 * One request of a client and the response to it, whatever the protocol underneath.
 *
 * It is the lowest layer that an application sees: callbacks, no promises. `HttpSession` wraps it for
 * comfort. Nothing is read of the body before `resumeRequestBody()`, and nothing is written before
 * `writeHead()`. Exactly one of `endResponse()`, `destroy()` and `onDownstreamAbort` ends it.
 */
export abstract class ServerSession {
  /** The request as it came, in the sender's spelling and order. */
  readonly request: RequestHeader
  /** The exchange's owner; set it before the first call to `resumeRequestBody`. */
  handler: ServerSessionHandler | null = null
  /** Payload bytes of the request's body delivered so far. */
  requestBodyBytes = 0
  /** Payload bytes of the response's body accepted so far, framing excluded. */
  responseBodyBytes = 0
  /** The status of the final response once its head was written, else 0. */
  responseStatus = 0

  constructor(request: RequestHeader) {
    this.request = request
  }

  /** The modules that this request passes; undefined when the service has none. */
  get modules(): HttpModuleContext | undefined {
    return undefined
  }

  /** True once the request's body was delivered to its end (or had none). */
  abstract get requestEnded(): boolean
  /** True once the final response is complete. */
  abstract get responseEnded(): boolean
  /** True once the session can neither read nor write any more. */
  abstract get closed(): boolean
  /** What the application keeps for the connection from one request to the next; HTTP/1 only. */
  abstract get connectionContext(): unknown
  abstract set connectionContext(value: unknown)
  /** Facts of the connection: addresses, TLS, how many requests it has carried. Built when asked for. */
  abstract digest(): ConnectionDigest
  /** False when the request's framing says that it has no body. */
  abstract get hasRequestBody(): boolean
  /** The declared length of the request's body in bytes, or -1. */
  abstract get requestContentLength(): number
  /** True for an HTTP/1.1 upgrade or CONNECT, or an extended CONNECT: a 101 opens a tunnel, whatever the client sees. */
  abstract get isUpgrade(): boolean
  /** True when the client waits for a 100 before it sends the body (RFC 9110 §10.1.1). */
  abstract get expectsContinue(): boolean
  /** True while the server drains: the response should be the connection's last one. */
  abstract get isShuttingDown(): boolean

  /** Starts or continues delivery of the request's body. */
  abstract resumeRequestBody(): void
  /** Stops delivery; the client is held back by flow control. */
  abstract pauseRequestBody(): void

  /** Writes a 1xx response other than 101. HTTP/1.0 clients get none (RFC 9110 §15.2). */
  abstract writeInformational(header: ResponseHeader): void
  /**
   * Writes the final response's head. The session adds what belongs to the connection (Date when it is
   * missing, Connection, Transfer-Encoding); `header` must not carry hop-by-hop fields.
   *
   * @param contentLength - The body's exact length in bytes, or -1 when it is not known.
   */
  abstract writeHead(header: ResponseHeader, contentLength: number): void
  /**
   * Writes payload bytes `[start, end)`. Anything beyond the announced length fails the session.
   *
   * A run of up to 2,048 bytes is copied before the call returns: its memory may be reused whatever the answer.
   */
  abstract writeBody(buffer: Buffer, start: number, end: number): WriteResult
  /** Ends the response. A body shorter than announced closes the connection. */
  abstract endResponse(trailers: string[] | null): void
  /** Hands what was coalesced to the socket. Call it when no more writes follow in this turn. */
  abstract flush(): void
  /** Makes this response the connection's last one. Has effect before `writeHead` only. */
  abstract disableKeepAlive(): void
  /** Cuts the session (and, for HTTP/1, its connection) at once. */
  abstract destroy(error?: ProxyError): void
}
