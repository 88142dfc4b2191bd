import { ENDED, RESET_BY_US } from './closed-streams.ts'
import type { Http2Connection } from './connection.ts'
import {
  DEFAULT_WINDOW_BYTES,
  ErrorCode,
  FLAG_END_STREAM,
  FRAME_RST_STREAM,
  FRAME_WINDOW_UPDATE,
} from './constants.ts'
import type { DataSink } from './frame-reader.ts'
import { gather } from './gather.ts'
import type { Http2Stream } from './stream.ts'

/** Runs of data in one read that are handed over as they come; shorter ones after them are gathered first. */
const SINGLE_RUNS_MAX = 32
const GATHERED_RUN_BYTES_MAX = 1_024

/** The data that comes, and the windows that it comes through (RFC 9113 §5.2). */
export class DataReceiver implements DataSink {
  /** What the peer may still send on all streams together. */
  window: number

  private readonly connection: Http2Connection
  /** Given back by readers, but not announced to the peer yet. */
  private unannounced = 0
  /** The peer has acknowledged our settings: only then its windows are what we said. */
  private settingsAcknowledged = false
  // The DATA frame under way; `stream` is null when nobody wants it.
  private stream: Http2Stream | null = null
  private frameBytes = 0
  private readBytes = 0
  /** Counts the reads. */
  private readCount = 0
  /** Runs of data that this read has brought so far to streams that it had brought some before. */
  private runCount = 0
  /** Streams whose data waits for the end of the read. */
  private readonly gathering: Http2Stream[] = []

  constructor(connection: Http2Connection) {
    this.connection = connection
    this.window = connection.options.connectionWindowBytes
  }

  // --- frames ----------------------------------------------------------------------------------

  onDataStart(id: number, bytes: number): void {
    const { connection } = this
    this.stream = null
    this.frameBytes = bytes
    this.readBytes = 0
    if (!connection.checkStarted()) return
    this.window -= bytes
    if (this.window < 0) {
      connection.fail(ErrorCode.FLOW_CONTROL_ERROR, 'Data beyond the window of the connection')
      return
    }
    const { streams } = connection
    const stream = streams.open.get(id)
    if (stream === undefined) {
      this.lateData(id)
      return
    }
    if (stream.receiveEnded) {
      streams.fault(stream, ErrorCode.STREAM_CLOSED)
      return
    }
    if (!stream.headReceived) {
      streams.fault(stream, ErrorCode.PROTOCOL_ERROR)
      return
    }
    stream.receiveWindow -= bytes
    if (stream.receiveWindow < 0) {
      streams.fault(stream, ErrorCode.FLOW_CONTROL_ERROR)
      return
    }
    this.stream = stream
  }

  /** Data on a stream that is not open. */
  private lateData(id: number): void {
    const { connection } = this
    const { streams } = connection
    if (streams.isIdle(id)) {
      connection.fail(ErrorCode.PROTOCOL_ERROR, 'DATA on an idle stream')
      return
    }
    const how = streams.closed.find(id)
    if (how === ENDED) {
      connection.fail(ErrorCode.STREAM_CLOSED, 'DATA after the end of its stream')
      return
    }
    if (how !== RESET_BY_US && id <= streams.lastServedId) {
      connection.sender.reply(FRAME_RST_STREAM, 0, id, 4, ErrorCode.STREAM_CLOSED, 0)
      connection.allowance.countReset()
    } else connection.allowance.countControl()
  }

  onDataRun(buffer: Buffer, start: number, end: number): void {
    const { stream } = this
    if (stream === null || stream.closed) return
    const size = end - start
    this.readBytes += size
    if (stream.owedBytes >= 0) {
      stream.owedBytes -= size
      if (stream.owedBytes < 0) {
        this.readBytes -= size
        this.connection.streams.fault(stream, ErrorCode.PROTOCOL_ERROR)
        return
      }
    }
    if (stream.discarding) {
      this.giveBack(null, size)
    } else if (stream.flowing && stream.received === null && !this.isToGather(stream, size)) {
      this.giveBack(stream, size)
      stream.handler?.onData(buffer, start, end)
    } else {
      stream.received ??= []
      stream.receivedRoom = gather(stream.received, stream.receivedRoom, buffer, start, end)
      stream.receivedBytes += size
    }
  }

  onDataEnd(flags: number, paddingBytes: number): void {
    const { connection, stream } = this
    this.stream = null
    if (connection.ended) return
    // What nobody read is given back at once: padding, and data of a stream that has ended.
    const rest = this.frameBytes - this.readBytes
    const live = stream !== null && !stream.closed
    if (rest > 0) this.giveBack(live && rest === paddingBytes ? stream : null, rest)
    const last = (flags & FLAG_END_STREAM) !== 0
    if (!last && this.frameBytes === paddingBytes) connection.allowance.countControl()
    if (live && last) this.end(stream, null)
  }

  /** The peer's message is complete. */
  end(stream: Http2Stream, trailers: string[] | null): void {
    const { streams } = this.connection
    if (stream.owedBytes > 0) {
      streams.fault(stream, ErrorCode.PROTOCOL_ERROR)
      return
    }
    stream.receivedTrailers = trailers
    streams.receiveEnded(stream)
    this.deliver(stream)
  }

  // --- delivery --------------------------------------------------------------------------------

  /**
   * A read with many short runs: what they carry is handed over together, for each has a way through all that stands
   * on this.
   */
  private isToGather(stream: Http2Stream, size: number): boolean {
    if (stream.dataInRead !== this.readCount) {
      // Its only one, as a rule: many small requests in one read have nothing to gather.
      stream.dataInRead = this.readCount
      return false
    }
    if (++this.runCount <= SINGLE_RUNS_MAX || size > GATHERED_RUN_BYTES_MAX) return false
    this.gathering.push(stream)
    return true
  }

  /** A read is dealt with. */
  onReadEnd(): void {
    const { gathering } = this
    this.readCount++
    this.runCount = 0
    if (gathering.length === 0) return
    for (let i = 0; i < gathering.length; i++) this.deliver(gathering[i] as Http2Stream)
    gathering.length = 0
  }

  /** Hands over what waits, as long as the handler wants it. */
  deliver(stream: Http2Stream): void {
    while (stream.flowing && stream.received !== null) {
      const piece = stream.received.shift() as Buffer
      if (stream.received.length === 0) {
        stream.received = null
        stream.receivedRoom = 0
      }
      stream.receivedBytes -= piece.length
      stream.handler?.onData(piece, 0, piece.length)
      this.giveBack(stream, piece.length)
    }
    if (stream.flowing && stream.receiveEnded && !stream.endDelivered && stream.received === null) {
      stream.endDelivered = true
      stream.handler?.onEnd(stream.receivedTrailers)
    }
  }

  /** What waits for the handler is of no use any more. */
  drop(stream: Http2Stream): void {
    const bytes = stream.receivedBytes
    stream.received = null
    stream.receivedRoom = 0
    stream.receivedBytes = 0
    if (bytes > 0) this.giveBack(null, bytes)
  }

  // --- windows ---------------------------------------------------------------------------------

  /** What the peer may send on a stream that begins now. */
  get windowOfStream(): number {
    const { windowBytes } = this.connection.options
    return this.settingsAcknowledged ? windowBytes : Math.max(windowBytes, DEFAULT_WINDOW_BYTES)
  }

  /** The peer's windows are what our settings say from now on. False when it has said so before. */
  onAcknowledged(): boolean {
    if (this.settingsAcknowledged) return false
    const moved = this.connection.options.windowBytes - this.windowOfStream
    this.settingsAcknowledged = true
    if (moved !== 0) for (const stream of this.connection.streams.open.values()) stream.receiveWindow += moved
    return true
  }

  /** Bytes were used: the peer may send as many more, of this stream too if it is given. */
  private giveBack(stream: Http2Stream | null, bytes: number): void {
    const { connection } = this
    if (connection.ended) return
    const { options, sender } = connection
    this.unannounced += bytes
    if (this.unannounced * 2 >= options.connectionWindowBytes) {
      sender.reply(FRAME_WINDOW_UPDATE, 0, 0, 4, this.unannounced, 0)
      this.window += this.unannounced
      this.unannounced = 0
    }
    if (stream === null || stream.receiveEnded || stream.discarding) return
    stream.unannounced += bytes
    if (stream.unannounced * 2 < options.windowBytes) return
    sender.reply(FRAME_WINDOW_UPDATE, 0, stream.id, 4, stream.unannounced, 0)
    stream.receiveWindow += stream.unannounced
    stream.unannounced = 0
  }
}
