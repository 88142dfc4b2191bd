import type { ProxyError } from '@cirque/error'
import type { FieldsProblem, Http2Request } from './message-fields.ts'
import type { Http2Stream, ResetOrigin, WriteResult } from './stream.ts'

/** Why a request is not handed over: malformed, or over a limit of its head. */
export type RequestProblem = FieldsProblem | 'HTTP2_HEAD_BYTES'

/** Who owns a connection. Calls never overlap. */
export interface Http2ConnectionHandler {
  /**
   * Writes what goes out, in order and as one write where it can.
   *
   * @returns Whether the memory of this or an earlier write is still in use, and whether the transport wants no more
   * before `resumeOutput()`.
   */
  writeOutput(chunks: readonly Buffer[]): WriteResult
  /** Something waits to be written: call `flush()` before long, best once a turn. Called once until then. */
  onOutputWaiting(): void
  /** Server: a request has come. Set `stream.handler`; its data waits until `stream.resume()`. */
  onRequest(stream: Http2Stream, request: Http2Request, endOfStream: boolean): void
  /**
   * Server: a request that is not to be served. It may be answered with a head that ends the stream; whatever is
   * still open when this returns is reset.
   */
  onRequestRefused(stream: Http2Stream, problem: RequestProblem): void
  /** The peer's settings have come, for the first time or again. */
  onSettings(): void
  /** The peer takes no stream above `lastStreamId` (RFC 9113 §6.8). */
  onGoaway(lastStreamId: number, code: number): void
  /** A `ping()` was answered. */
  onPong(): void
  /** A drain has named its last stream: the connection ends with the open ones. */
  onDrained(): void
  /** A stream that was handed over, or opened, is closed. */
  onStreamClosed(stream: Http2Stream, origin: ResetOrigin | null): void
  /**
   * The peer broke the protocol or a limit. Its streams are reset already; GOAWAY with `code` waits to be flushed,
   * after which the transport is to be closed.
   *
   * @param reason - For people; a limit's has the form `HTTP2_RESET_FLOOD`.
   */
  onConnectionError(code: number, reason: string): void
  /**
   * A state of ours changed as it never may (`INVARIANT_BROKEN`): a defect, which no peer has a part in. Best take no
   * more streams on this connection.
   *
   * @param stream - May be answered before this returns, if nothing was; then it is reset without a call of its
   *   handler. Null for the connection as a whole: its streams are reset already, as after `onConnectionError`.
   */
  onBroken(stream: Http2Stream | null, error: ProxyError): void
}

/**
 * - `open`: takes and opens streams.
 * - `draining`: the peer was warned; streams that it begins are still served.
 * - `closing`: GOAWAY has named the last stream; open ones go on.
 * - `closed`: nothing has a meaning any more.
 */
export type Http2State = 'open' | 'draining' | 'closing' | 'closed'
