import type { HpackEncoder } from '@cirque/hpack'
import type { Http2Connection } from './connection.ts'
import {
  DEFAULT_FRAME_BYTES,
  DEFAULT_WINDOW_BYTES,
  ErrorCode,
  FLAG_END_HEADERS,
  FLAG_END_STREAM,
  FRAME_CONTINUATION,
  FRAME_DATA,
  FRAME_HEAD_BYTES,
  FRAME_HEADERS,
} from './constants.ts'
import { gather } from './gather.ts'
import { MEMORY_BYTES, takeMemory } from './memory.ts'
import { OutputQueue } from './output-queue.ts'
import { IDLE, OPEN } from './states.ts'
import {
  type Http2Stream,
  WRITE_DONE,
  WRITE_FULL,
  WRITE_PAUSE,
  WRITE_RETAINED,
  type WriteResult,
} from './stream.ts'

/** Data up to this many bytes is copied beside its frame's head; longer runs pass by reference. */
const COPY_BYTES_MAX = 16_384
/** Data that goes to the transport at once. */
const TURN_BYTES_MAX = 262_144
/** Largest frame that we send, whatever the peer would take: between two of them other streams have their turn. */
const FRAME_BYTES_MAX = 65_536
/** Pieces of a queue below this size are copied on their way out too. */
const REFER_BYTES_MIN = 4_096

/** What goes out on a connection: heads at once, data as windows allow, each stream in its turn. */
export class Http2Sender {
  /** What the peer lets us send on all streams together. */
  window: number = DEFAULT_WINDOW_BYTES
  /** The largest frame that goes out. */
  frameBytes: number = DEFAULT_FRAME_BYTES
  /** The transport has taken all it wants; `resume` ends it. */
  blocked = false
  readonly output: OutputQueue = new OutputQueue()

  private readonly connection: Http2Connection
  private readonly encoder: HpackEncoder
  private readonly queueBytesMax: number
  private firstInLine: Http2Stream | null = null
  private lastInLine: Http2Stream | null = null
  /** Those that were told to stop. */
  private waiting: Http2Stream[] = []
  private flushing = false
  /** What the last write was answered. */
  private lastWrite: WriteResult = WRITE_DONE

  constructor(connection: Http2Connection, encoder: HpackEncoder, queueBytesMax: number) {
    this.connection = connection
    this.encoder = encoder
    this.queueBytesMax = queueBytesMax
  }

  /** The peer's settings have changed what a frame may hold. */
  limitFrames(peerBytesMax: number): void {
    this.frameBytes = Math.min(peerBytesMax, FRAME_BYTES_MAX)
  }

  // --- heads -----------------------------------------------------------------------------------

  head(
    stream: Http2Stream,
    fields: readonly string[],
    endOfStream: boolean,
    neverIndexed: ReadonlySet<string> | null,
  ): void {
    if (stream.sendEnded || stream.endQueued || (stream.state === IDLE && !stream.become(OPEN))) return
    this.block(stream, fields, endOfStream, neverIndexed)
    if (endOfStream) this.connection.streams.sendEnded(stream)
  }

  private block(
    stream: Http2Stream,
    fields: readonly string[],
    endOfStream: boolean,
    neverIndexed: ReadonlySet<string> | null,
  ): void {
    const { output, encoder } = this
    let at = output.reserve(FRAME_HEAD_BYTES)
    let end = encoder.encode(fields, output.memory, at + FRAME_HEAD_BYTES, neverIndexed)
    if (end < 0) {
      at = output.reserve(FRAME_HEAD_BYTES + encoder.boundOf(fields))
      end = encoder.encode(fields, output.memory, at + FRAME_HEAD_BYTES, neverIndexed)
    }
    const size = end - at - FRAME_HEAD_BYTES
    const flags = endOfStream ? FLAG_END_STREAM : 0
    if (size <= this.frameBytes) {
      output.writeHead(at, size, FRAME_HEADERS, flags | FLAG_END_HEADERS, stream.id)
      output.commit(FRAME_HEAD_BYTES + size)
      output.noteLast(at, stream.id)
    } else this.cutBlock(stream, Buffer.from(output.memory.subarray(at + FRAME_HEAD_BYTES, end)), flags)
    this.connection.allowance.earnUpdates()
    this.connection.wantsOutput()
  }

  /** A block that is longer than a frame may be. */
  private cutBlock(stream: Http2Stream, block: Buffer, flags: number): void {
    const { output } = this
    for (let from = 0; from < block.length; from += this.frameBytes) {
      const until = Math.min(block.length, from + this.frameBytes)
      const at = output.reserve(FRAME_HEAD_BYTES + until - from)
      const last = until === block.length ? FLAG_END_HEADERS : 0
      const type = from === 0 ? FRAME_HEADERS : FRAME_CONTINUATION
      output.writeHead(at, until - from, type, last | (from === 0 ? flags : 0), stream.id)
      block.copy(output.memory, at + FRAME_HEAD_BYTES, from, until)
      output.commit(FRAME_HEAD_BYTES + until - from)
    }
    output.noteLast(0, 0)
  }

  // --- data ------------------------------------------------------------------------------------

  write(stream: Http2Stream, buffer: Buffer, start: number, end: number): WriteResult {
    const size = end - start
    if (size === 0 || stream.sendEnded || stream.endQueued) return WRITE_DONE
    const small = size <= COPY_BYTES_MAX
    if (
      small &&
      stream.queuedBytes === 0 &&
      this.firstInLine === null &&
      !this.blocked &&
      size <= stream.sendWindow &&
      size <= this.window &&
      size <= this.frameBytes &&
      this.output.dataBytes < TURN_BYTES_MAX
    ) {
      this.copyFrame(stream, buffer, start, end)
      return WRITE_DONE
    }
    stream.sendQueue ??= []
    stream.queuedBytes += size
    let retained = 0
    if (small) {
      stream.gatherRoom = gather(stream.sendQueue, stream.gatherRoom, buffer, start, end)
      this.standInLine(stream)
      this.connection.wantsOutput()
    } else {
      const run = start === 0 && end === buffer.length ? buffer : buffer.subarray(start, end)
      stream.sendQueue.push(run)
      stream.gatherRoom = 0
      this.standInLine(stream)
      // A long run leaves at once as far as it may, and what may not is copied: its memory is free again, as a rule.
      this.flush()
      retained = this.keepRest(stream, run)
    }
    if (stream.queuedBytes < this.queueBytesMax && !this.blocked)
      return retained === 0 ? WRITE_DONE : WRITE_RETAINED
    if (!stream.drainWanted) {
      stream.drainWanted = true
      this.waiting.push(stream)
    }
    return retained === 0 ? WRITE_PAUSE : WRITE_FULL
  }

  /**
   * Copies what is left of a run, the last of the queue, unless the transport has part of it.
   *
   * @returns `WRITE_RETAINED` if its memory is still in use, 0 if not.
   */
  private keepRest(stream: Http2Stream, run: Buffer): number {
    const queue = stream.sendQueue
    const last = queue === null ? undefined : queue[queue.length - 1]
    if (queue === null || last !== run) return this.lastWrite & WRITE_RETAINED
    const from = queue.length === 1 ? stream.sendAt : 0
    if (from > 0) {
      if ((this.lastWrite & WRITE_RETAINED) !== 0) return WRITE_RETAINED
      stream.sendAt = 0
    }
    queue.pop()
    stream.sendCopies ??= []
    for (let at = from; at < run.length; ) {
      if (run.length - at < MEMORY_BYTES / 2) {
        // Many of these would hold several times what they count.
        queue.push(Buffer.from(run.subarray(at)))
        break
      }
      const memory = takeMemory()
      const taken = run.copy(memory, 0, at)
      const piece = taken === memory.length ? memory : memory.subarray(0, taken)
      queue.push(piece)
      stream.sendCopies.push(piece)
      at += taken
    }
    return 0
  }

  /** A frame of its own, beside what waits in the output already. */
  private copyFrame(stream: Http2Stream, buffer: Buffer, start: number, end: number): void {
    const { output } = this
    const size = end - start
    const at = output.reserve(FRAME_HEAD_BYTES + size)
    output.writeHead(at, size, FRAME_DATA, 0, stream.id)
    buffer.copy(output.memory, at + FRAME_HEAD_BYTES, start, end)
    output.commit(FRAME_HEAD_BYTES + size)
    output.noteLast(at, stream.id)
    this.count(stream, size)
    this.connection.wantsOutput()
  }

  private count(stream: Http2Stream, size: number): void {
    this.output.dataBytes += size
    this.window -= size
    stream.sendWindow -= size
    stream.sentBytes += size
    this.connection.allowance.earnUpdates()
  }

  end(stream: Http2Stream, trailers: readonly string[] | null): void {
    if (stream.sendEnded || stream.endQueued) return
    if (stream.queuedBytes > 0) {
      stream.endQueued = true
      stream.trailersQueued = trailers
      return
    }
    this.finish(stream, trailers)
  }

  private finish(stream: Http2Stream, trailers: readonly string[] | null): void {
    if (trailers !== null && trailers.length > 0) this.block(stream, trailers, true, null)
    else if (!this.output.markLast(stream.id, FLAG_END_STREAM)) {
      this.output.small(FRAME_DATA, FLAG_END_STREAM, stream.id, 0, 0, 0)
    }
    this.connection.wantsOutput()
    this.connection.streams.sendEnded(stream)
  }

  /** What waits of the stream does not go out any more. */
  drop(stream: Http2Stream): void {
    stream.sendQueue = null
    stream.sendCopies = null
    stream.queuedBytes = 0
    stream.trailersQueued = null
    stream.drainWanted = false
  }

  // --- turns -----------------------------------------------------------------------------------

  /** The stream has data to send, or a larger window. */
  standInLine(stream: Http2Stream): void {
    if (stream.inLine || stream.queuedBytes === 0) return
    stream.inLine = true
    stream.nextInLine = null
    if (this.lastInLine === null) this.firstInLine = stream
    else this.lastInLine.nextInLine = stream
    this.lastInLine = stream
  }

  private nextInLine(): Http2Stream | null {
    const stream = this.firstInLine
    if (stream === null) return null
    this.firstInLine = stream.nextInLine
    if (this.firstInLine === null) this.lastInLine = null
    stream.nextInLine = null
    stream.inLine = false
    return stream
  }

  /** True when data waits that a window of its own does not hold back. */
  get hasWork(): boolean {
    return this.firstInLine !== null && this.window > 0
  }

  /** Moves data into the output, a frame of each stream in turn. */
  private pump(): void {
    while (this.window > 0 && this.output.dataBytes < TURN_BYTES_MAX) {
      const stream = this.nextInLine()
      if (stream === null) return
      if (stream.queuedBytes === 0) continue // reset meanwhile
      const size = Math.min(stream.queuedBytes, stream.sendWindow, this.window, this.frameBytes)
      if (size <= 0) continue // its window brings it back
      this.queuedFrame(stream, size)
      if (stream.queuedBytes > 0) this.standInLine(stream)
      else if (stream.endQueued && !stream.sendEnded) this.finish(stream, stream.trailersQueued)
    }
  }

  private queuedFrame(stream: Http2Stream, size: number): void {
    const { output } = this
    const at = output.reserve(FRAME_HEAD_BYTES)
    output.writeHead(at, size, FRAME_DATA, 0, stream.id)
    output.commit(FRAME_HEAD_BYTES)
    output.noteLast(at, stream.id)
    const queue = stream.sendQueue as Buffer[]
    let left = size
    let done = 0
    while (left > 0) {
      const piece = queue[done] as Buffer
      const from = stream.sendAt
      const until = Math.min(piece.length, from + left)
      if (until - from < REFER_BYTES_MIN) output.copy(piece, from, until)
      else output.refer(from === 0 && until === piece.length ? piece : piece.subarray(from, until))
      left -= until - from
      if (until < piece.length) stream.sendAt = until
      else {
        stream.sendAt = 0
        if (stream.sendCopies !== null && stream.sendCopies[0] === piece) {
          output.reclaim(piece)
          stream.sendCopies.shift()
        }
        done++
      }
    }
    if (done === queue.length) {
      stream.sendQueue = null
      stream.gatherRoom = 0
    } else if (done > 0) queue.splice(0, done)
    stream.queuedBytes -= size
    this.count(stream, size)
  }

  /** Hands over what waits, until nothing does or the transport wants no more. */
  flush(): void {
    const { output, connection } = this
    connection.outputHeard()
    if (this.flushing) return
    this.flushing = true
    while (!this.blocked) {
      if (this.firstInLine !== null) this.pump()
      if (output.bytes > 0) {
        connection.streams.outputTaken()
        this.lastWrite = connection.handler.writeOutput(output.take())
        output.release((this.lastWrite & WRITE_RETAINED) === 0)
        this.blocked = this.lastWrite >= WRITE_PAUSE
      }
      if (this.waiting.length > 0) this.tellDrained()
      if (output.bytes === 0 && !this.hasWork) break
    }
    this.flushing = false
  }

  /** The transport takes more again. */
  resume(): void {
    this.blocked = false
    this.flush()
  }

  private tellDrained(): void {
    if (this.blocked) return
    const { waiting } = this
    this.waiting = []
    for (const stream of waiting) {
      if (!stream.drainWanted) continue
      if (stream.queuedBytes * 2 > this.queueBytesMax) this.waiting.push(stream)
      else {
        stream.drainWanted = false
        stream.handler?.onDrain()
      }
    }
  }

  /** Takes back all that waits: the transport is gone. */
  clear(): void {
    this.firstInLine = null
    this.lastInLine = null
    this.waiting = []
    this.output.take()
    this.output.release(false)
    this.blocked = true
  }

  /** A stream error towards the peer, or an acknowledgement: what it costs is counted. */
  reply(type: number, flags: number, id: number, size: 0 | 4 | 8, first: number, second: number): void {
    this.output.small(type, flags, id, size, first, second)
    this.output.replyBytes += FRAME_HEAD_BYTES + size
    this.connection.wantsOutput()
    if (this.output.replyBytes > this.connection.options.replyBytesMax) {
      this.connection.fail(ErrorCode.ENHANCE_YOUR_CALM, 'HTTP2_REPLY_FLOOD')
    }
  }
}
