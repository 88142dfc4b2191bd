import type { ProxyError } from '@cirque/error'
import type { RequestHeader, ResponseHeader } from '@cirque/http'
import type { ConnectionDigest } from '../sockets/digest.ts'
import type { WriteResult } from './write-result.ts'

/**
 * Who owns one upstream exchange. Calls never overlap; none comes after `onUpstreamError`, after the session
 * was released or after it was destroyed.
 */
export interface ClientSessionHandler {
  /** A 1xx response other than 101, in order of arrival, before the final one. */
  onInformational(header: ResponseHeader): void
  /**
   * The final response's head (or 101 to an upgrade), exactly once.
   *
   * @param contentLength - The body's length in bytes; 0 where there is none by rule (HEAD, 204, 304); -1 when unknown.
   */
  onResponseHead(header: ResponseHeader, contentLength: number): void
  /**
   * A run of the response's body.
   *
   * A run of up to 2,048 bytes lies in memory that all connections read into: copy what you keep of it before
   * the call returns, whatever you answer; {@link WRITE_RETAINED} for such a run fails the exchange. The memory of a
   * longer one may be read into again when you answer {@link WRITE_DONE} or {@link WRITE_PAUSE}, and stays yours with
   * {@link WRITE_RETAINED} or {@link WRITE_FULL}. `WRITE_PAUSE` and `WRITE_FULL` also stop reading until
   * `resumeResponse()`.
   */
  onResponseData(buffer: Buffer, start: number, end: number): WriteResult
  /** The response is complete. */
  onResponseEnd(trailers: string[] | null): void
  /** No more calls follow from what was read in this turn: hand coalesced writes to the socket. */
  onResponseFlush(): void
  /** A write that answered {@link WRITE_PAUSE} or {@link WRITE_FULL} has drained. */
  onUpstreamDrain(): void
  /** The exchange failed; the session's connection is gone. */
  onUpstreamError(error: ProxyError): void
}

/** One exchange with an upstream, whatever the protocol underneath. */
export abstract class ClientSession {
  handler: ClientSessionHandler | null = null
  /** True when the connection had carried a request before this one. */
  reused = false
  /**
   * True once anything of the request was handed to the transport: a retry is no longer harmless by itself.
   * False again when an HTTP/2 peer says that it has not served it (RFC 9113 §8.7).
   */
  requestSent = false
  /** True once the first byte of a response arrived. */
  responseStarted = false
  /** True once the request is complete. */
  requestEnded = false
  /** True once the response is complete. */
  responseEnded = false
  /** Payload bytes of the response's body received. */
  responseBodyBytes = 0

  /** Facts of the connection. Built when asked for. */
  abstract digest(): ConnectionDigest
  /**
   * Sends the request's head, coalesced with what follows in the same turn.
   *
   * @param contentLength - The body's length in bytes; 0 for none; -1 for a body of unknown length.
   * @param upgrade - Whether a 101 may answer.
   */
  abstract sendHead(header: RequestHeader, contentLength: number, upgrade: boolean): void
  /** Sends payload bytes. The memory must stay untouched when the answer is not {@link WRITE_DONE}. */
  abstract writeBody(buffer: Buffer, start: number, end: number): WriteResult
  /** Completes the request. */
  abstract endRequest(trailers: string[] | null): void
  /** Hands what was coalesced to the transport. */
  abstract flush(): void
  /** Goes on reading after {@link WRITE_PAUSE} or {@link WRITE_FULL}. */
  abstract resumeResponse(): void
  /** True when both sides ended on a message boundary and the connection may carry another request. */
  abstract get reusable(): boolean
  /** Cuts the exchange at once. The handler is not called. */
  abstract destroy(): void
}
