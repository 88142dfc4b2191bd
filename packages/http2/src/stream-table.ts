import { ClosedStreams, ENDED, FORGOTTEN, RESET_BY_PEER, RESET_BY_US } from './closed-streams.ts'
import type { Http2Connection } from './connection.ts'
import { ErrorCode, FRAME_RST_STREAM, INTEGER_31_MAX } from './constants.ts'
import { CLOSED, HALF_CLOSED_LOCAL, HALF_CLOSED_REMOTE } from './states.ts'
import type { Http2Stream, ResetOrigin } from './stream.ts'
import { StreamMap } from './stream-map.ts'

/** The streams of a connection: those that are open, what is remembered of the others, and how each ends. */
export class StreamTable {
  readonly open: StreamMap = new StreamMap()
  readonly closed: ClosedStreams
  /** The last stream that the peer has begun. */
  lastPeerId = 0
  /** What our GOAWAY says of it. */
  lastServedId: number = INTEGER_31_MAX
  /** Client: what the next stream is called. */
  nextId = 1

  private readonly connection: Http2Connection
  /** Streams that are over, but whose last frames the transport has not taken yet. */
  private endedUnsent = 0

  constructor(connection: Http2Connection, streamsMax: number) {
    this.connection = connection
    this.closed = new ClosedStreams(streamsMax)
  }

  /** Streams of the peer that count against what it may have at once. */
  get countedSize(): number {
    return this.open.size + this.endedUnsent
  }

  /** True for a stream that nobody has begun yet (RFC 9113 §5.1). */
  isIdle(id: number): boolean {
    const { isServer } = this.connection
    const own = (id & 1) === 1 ? !isServer : isServer
    return own ? id >= this.nextId || isServer : id > this.lastPeerId
  }

  /** All that waited for the transport is on its way. */
  outputTaken(): void {
    this.endedUnsent = 0
  }

  // --- how streams end -------------------------------------------------------------------------

  /** The stream is over: its place is free, and only its number is remembered for a while. */
  private forget(stream: Http2Stream, how: number, origin: ResetOrigin | null): void {
    const { connection } = this
    // Whatever it was: a question here could only keep it open.
    stream.state = CLOSED
    this.open.delete(stream.id)
    this.closed.add(stream.id, how)
    if (connection.sender.output.bytes > 0) this.endedUnsent++
    connection.handler.onStreamClosed(stream, origin)
  }

  /** Our message is complete. */
  sendEnded(stream: Http2Stream): void {
    if (stream.closed) return
    const next = stream.receiveEnded ? CLOSED : HALF_CLOSED_LOCAL
    if (!stream.become(next)) return
    if (next === CLOSED) this.forget(stream, ENDED, null)
    else if (stream.discarding) this.reset(stream, ErrorCode.NO_ERROR)
  }

  /** The peer's message is complete. */
  receiveEnded(stream: Http2Stream): void {
    const next = stream.sendEnded ? CLOSED : HALF_CLOSED_REMOTE
    if (stream.become(next) && next === CLOSED) this.forget(stream, ENDED, null)
  }

  /** We end the stream, both ways and at once. */
  reset(stream: Http2Stream, code: number): void {
    const { connection } = this
    stream.handler = null
    connection.sender.drop(stream)
    if (!stream.closed) {
      connection.sender.output.small(FRAME_RST_STREAM, 0, stream.id, 4, code, 0)
      this.forget(stream, RESET_BY_US, null)
      connection.wantsOutput()
    }
    // Last: the window that it gives back may be one reply too many, which ends the connection.
    connection.data.drop(stream)
  }

  /** The rest of the peer's message is of no interest. */
  discard(stream: Http2Stream): void {
    if (stream.discarding) return
    stream.discarding = true
    stream.endDelivered = true
    this.connection.data.drop(stream)
    if (stream.state === HALF_CLOSED_LOCAL) this.reset(stream, ErrorCode.NO_ERROR)
  }

  /** The peer has ended the stream, or has never begun with it. */
  closedByPeer(stream: Http2Stream, code: number, origin: 'peer' | 'unprocessed'): void {
    this.close(stream, code, origin, RESET_BY_PEER)
  }

  /** The peer broke a rule of one stream (RFC 9113 §5.4.2). It costs the peer one of its resets. */
  fault(stream: Http2Stream, code: number): void {
    const { connection } = this
    connection.sender.reply(FRAME_RST_STREAM, 0, stream.id, 4, code, 0)
    if (!stream.closed) this.close(stream, code, 'rules', RESET_BY_US)
    connection.allowance.countReset()
  }

  /** A stream that was not handed over to anybody. */
  refuse(id: number, code: number): void {
    const { connection } = this
    this.closed.add(id, RESET_BY_US)
    connection.sender.reply(FRAME_RST_STREAM, 0, id, 4, code, 0)
    connection.allowance.countReset()
  }

  /** The connection has ended. */
  closeAll(code: number): void {
    for (const stream of this.open.values()) this.close(stream, code, 'connection', FORGOTTEN)
  }

  private close(stream: Http2Stream, code: number, origin: ResetOrigin, how: number): void {
    const { connection } = this
    // What came before is not to depend on where a read ends.
    if (stream.flowing && stream.received !== null) connection.data.deliver(stream)
    if (stream.closed) return
    const { handler } = stream
    connection.sender.drop(stream)
    // A client that has the whole response loses nothing (RFC 9113 §8.1): it is still delivered.
    if (stream.receiveEnded && !connection.isServer && origin === 'peer') {
      this.forget(stream, how, origin)
      return
    }
    stream.handler = null
    stream.endDelivered = true
    this.forget(stream, how, origin)
    connection.data.drop(stream)
    handler?.onReset(code, origin)
  }
}
