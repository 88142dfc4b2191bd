import type { Http2Connection } from './connection.ts'
import type { Http2Response } from './message-fields.ts'
import { CLOSED, IDLE, LOCAL_ENDED, REMOTE_ENDED, STREAM_STATES, type StreamState } from './states.ts'

/** The bytes were copied or handed over: their memory may be reused. */
export const WRITE_DONE = 0
/** The bytes wait, by reference: go on, but leave their memory alone. */
export const WRITE_RETAINED = 1
/** The bytes were copied, so that their memory may be reused, but the queue is full: stop until `onDrain`. */
export const WRITE_PAUSE = 2
/** The bytes wait, by reference, and the queue is full: stop until `onDrain`, and leave their memory alone. */
export const WRITE_FULL = 3

/**
 * What a write tells, in two bits: whether the memory is still in use ({@link WRITE_RETAINED}, {@link WRITE_FULL}), and
 * whether to stop (`>=` {@link WRITE_PAUSE}). Neither: {@link WRITE_DONE}.
 */
export type WriteResult = typeof WRITE_DONE | typeof WRITE_RETAINED | typeof WRITE_PAUSE | typeof WRITE_FULL

/**
 * Who ended a stream: the peer reset it; the peer broke a rule, so that it was reset; the connection ended; or the
 * peer has said that it did nothing with it (GOAWAY, RFC 9113 §6.8).
 */
export type ResetOrigin = 'peer' | 'rules' | 'connection' | 'unprocessed'

/** Who owns a stream. Calls never overlap; none comes after `onReset`, nor after the stream's own `reset`. */
export interface Http2StreamHandler {
  /** Client: a response's head, informational ones first. */
  onResponse(response: Http2Response, endOfStream: boolean): void
  /** A run of data. The memory is lent for the call. Nothing comes while the stream is paused. */
  onData(buffer: Buffer, start: number, end: number): void
  /** The peer's message is complete; exactly once, and not while the stream is paused. */
  onEnd(trailers: string[] | null): void
  /** The stream ended before both sides had. Nothing can be sent any more. */
  onReset(code: number, origin: ResetOrigin): void
  /** A write that answered {@link WRITE_PAUSE} or {@link WRITE_FULL} has drained. */
  onDrain(): void
}

/** One stream: a message each way. Made by its connection. */
export class Http2Stream {
  /** 1 to 2^31-1; odd ones are the client's. */
  readonly id: number
  handler: Http2StreamHandler | null = null
  /** Bytes of data that wait to be sent. */
  queuedBytes = 0
  /** Bytes of data that were taken from the queue, or never had to wait. */
  sentBytes = 0

  /** @internal */
  readonly connection: Http2Connection
  /** @internal */
  state: StreamState = IDLE
  /** @internal */
  sendWindow: number
  /** @internal */
  receiveWindow: number
  /** Delivered, but not given back to the peer yet. @internal */
  unannounced = 0
  /** Bytes that the peer's content-length still owes; -1 when none was given. @internal */
  owedBytes = -1
  /** A final head was received (client), or the request's (server). @internal */
  headReceived = false
  /** The response has no body whatever its length says. @internal */
  bodyless = false
  /** @internal */
  flowing = false
  /** The rest of the peer's message is of no interest. @internal */
  discarding = false
  /** Received while paused. @internal */
  received: Buffer[] | null = null
  /** What the memory of the last piece has left. @internal */
  receivedRoom = 0
  /** @internal */
  receivedBytes = 0
  /** @internal */
  receivedTrailers: string[] | null = null
  /** The connection's read that brought data last. @internal */
  dataInRead = -1
  /** `onEnd` was called. @internal */
  endDelivered = false
  /** @internal */
  sendQueue: Buffer[] | null = null
  /** Those of its pieces that lie in memory of `takeMemory`. @internal */
  sendCopies: Buffer[] | null = null
  /** How much of the queue's first piece is gone. @internal */
  sendAt = 0
  /** Memory of the queue's last piece that small pieces are gathered in. @internal */
  gatherRoom = 0
  /** @internal */
  endQueued = false
  /** @internal */
  trailersQueued: readonly string[] | null = null
  /** @internal */
  drainWanted = false
  /** It stands in the line of those that have data to send. @internal */
  inLine = false
  /** @internal */
  nextInLine: Http2Stream | null = null

  /** @internal */
  constructor(connection: Http2Connection, id: number) {
    this.connection = connection
    this.id = id
    this.sendWindow = connection.peer.windowBytes
    this.receiveWindow = connection.data.windowOfStream
  }

  /** True when nothing more goes out: END_STREAM was sent, or the stream was reset. */
  get sendEnded(): boolean {
    return (this.state & LOCAL_ENDED) !== 0
  }

  /** True when nothing more comes: END_STREAM was received, or the stream was reset. */
  get receiveEnded(): boolean {
    return (this.state & REMOTE_ENDED) !== 0
  }

  /** True once the connection has forgotten it. What was received before may still be delivered. */
  get closed(): boolean {
    return this.state === CLOSED
  }

  /** Takes the state `next`; false when that cannot be, and the stream is over. @internal */
  become(next: StreamState): boolean {
    if (STREAM_STATES.allows(this.state, next)) {
      this.state = next
      return true
    }
    this.connection.breakStream(this, STREAM_STATES.broken(this.state, next))
    return false
  }

  // --- sending ---------------------------------------------------------------------------------

  /**
   * Sends a head: a server's response, final or informational.
   *
   * @param fields - Flat, the pseudo-field first, names in lower case; checked by the caller.
   * @param neverIndexed - Names of fields that no table of the peer's may keep (RFC 7541 §6.2.3).
   */
  sendHead(
    fields: readonly string[],
    endOfStream: boolean,
    neverIndexed: ReadonlySet<string> | null = null,
  ): void {
    this.connection.sender.head(this, fields, endOfStream, neverIndexed)
  }

  /** Sends data. Up to 16,384 bytes are copied: their memory may be reused whatever the answer. */
  write(buffer: Buffer, start: number, end: number): WriteResult {
    return this.connection.sender.write(this, buffer, start, end)
  }

  /** Ends our message, after what is queued. */
  end(trailers: readonly string[] | null = null): void {
    this.connection.sender.end(this, trailers)
  }

  /** Ends the stream at once, both ways. The handler is not called. Not counted against the peer. */
  reset(code: number): void {
    this.connection.streams.reset(this, code)
  }

  // --- receiving -------------------------------------------------------------------------------

  /** Delivers what has come and what comes. */
  resume(): void {
    if (this.flowing) return
    this.flowing = true
    this.connection.data.deliver(this)
  }

  /** Delivers nothing more; the peer is held back by the stream's window. */
  pause(): void {
    this.flowing = false
  }

  /**
   * Nothing that still comes is wanted. It is dropped, and no more is let in than the window allows; once our
   * message is complete, the peer is told with `NO_ERROR` (RFC 9113 §8.1).
   */
  discard(): void {
    this.connection.streams.discard(this)
  }
}
