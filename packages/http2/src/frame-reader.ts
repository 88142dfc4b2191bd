import {
  ErrorCode,
  FLAG_END_HEADERS,
  FLAG_END_STREAM,
  FLAG_PADDED,
  FLAG_PRIORITY,
  FRAME_CONTINUATION,
  FRAME_DATA,
  FRAME_HEAD_BYTES,
  FRAME_HEADERS,
  INTEGER_31_MAX,
  PREFACE,
} from './constants.ts'
import type { ResolvedHttp2Options } from './options.ts'

/** A request is work of another kind than a frame: it counts as so many. */
const HEADERS_WEIGHT = 8

/** Takes DATA frames, as they come. The memory is lent for the call. */
export interface DataSink {
  /** A DATA frame begins; `bytes` is all of its payload, with padding. */
  onDataStart(id: number, bytes: number): void
  /** A run of its data. */
  onDataRun(buffer: Buffer, start: number, end: number): void
  /** It is complete; so much of it was padding. */
  onDataEnd(flags: number, paddingBytes: number): void
}

/** Takes whole field blocks. The memory is lent for the call. */
export interface BlockSink {
  /** `dependsOn` is the stream of its priority, or -1. */
  onBlock(id: number, flags: number, dependsOn: number, buffer: Buffer, start: number, end: number): void
}

/** Takes any other frame, whole. The memory is lent for the call. */
export interface ControlSink {
  onFrame(type: number, flags: number, id: number, buffer: Buffer, start: number, end: number): void
}

/** Who takes the frames, by what they carry. */
export interface FrameSinks {
  readonly data: DataSink
  readonly blocks: BlockSink
  readonly control: ControlSink
}

const NOTHING: Buffer = Buffer.alloc(0)

/**
 * Takes bytes apart into frames, wherever a read ends. A frame that a read cut is kept until it is whole, except
 * for DATA, whose payload passes as it comes.
 */
export class FrameReader {
  /** True once bytes broke the rules, or `stop` was called: the rest is dropped. */
  stopped = false

  private readonly data: DataSink
  private readonly blocks: BlockSink
  private readonly control: ControlSink
  private readonly onBroken: (code: number, reason: string) => void
  private readonly frameBytesMax: number
  private readonly continuationsMax: number
  private readonly blockBytesMax: number
  private readonly framesAtOnceMax: number
  /** Frames that may still be used before others have their turn. */
  private framesLeft: number
  /** What waits for that. */
  private held: Buffer | null = null
  /** How much of the preface has come; its length when none is awaited any more. */
  private prefaceAt: number
  /** A cut frame, its head first; null while none is. */
  private cut: Buffer | null = null
  private cutAt = 0
  // The DATA frame under way.
  private dataLeft = 0
  private dataFlags = 0
  private inData = false
  private padAwaited = false
  private paddingBytes = 0
  /** Bytes of padding at the end of the frame that are still to come. */
  private padLeft = 0
  // The field block under way; `blockId` 0 when there is none.
  private blockId = 0
  private blockFlags = 0
  private blockDependsOn = -1
  private block: Buffer = NOTHING
  private blockAt = 0
  private continuations = 0
  // What comes behind the frame under way in the same read.
  private ahead: Buffer = NOTHING
  private aheadAt = 0
  private aheadEnd = 0

  /**
   * @param onBroken - Called at most once, when the bytes break the rules: nothing after them has a meaning.
   * @param preface - Whether the client's preface comes first.
   */
  constructor(
    sinks: FrameSinks,
    onBroken: (code: number, reason: string) => void,
    preface: boolean,
    options: ResolvedHttp2Options,
  ) {
    this.data = sinks.data
    this.blocks = sinks.blocks
    this.control = sinks.control
    this.onBroken = onBroken
    this.frameBytesMax = options.frameBytesMax
    this.continuationsMax = options.continuationsMax
    // As it is on the wire; what it decodes to has its own bound.
    this.blockBytesMax = options.headerListBytesMax + options.frameBytesMax
    this.framesAtOnceMax = options.framesAtOnceMax
    this.framesLeft = options.framesAtOnceMax
    this.prefaceAt = preface ? 0 : PREFACE.length
  }

  /** Nothing that comes has a meaning any more. */
  stop(): void {
    this.stopped = true
    this.cut = null
    this.block = NOTHING
    this.held = null
  }

  /**
   * Uses `[start, end)`. False when that has more frames than may be used at once: the rest is kept, and what comes
   * before `resume` is kept behind it.
   */
  receive(buffer: Buffer, start: number, end: number): boolean {
    if (this.held !== null) {
      this.held = Buffer.concat([this.held, buffer.subarray(start, end)])
      return false
    }
    const at = this.use(buffer, start, end)
    if (at === end) return true
    this.held = Buffer.from(buffer.subarray(at, end))
    return false
  }

  /** Within `receive` or `resume`: what follows the present frame is kept. */
  yield(): void {
    this.framesLeft = 0
  }

  /** Goes on with what was kept; false when there is more of it. */
  resume(): boolean {
    const { held } = this
    if (held === null) return true
    const at = this.use(held, 0, held.length)
    // More may have come meanwhile, and all of it is dropped once nothing has a meaning any more.
    const rest = this.held === null ? 0 : this.held.length - at
    this.held = rest === 0 ? null : (this.held as Buffer).subarray(at)
    return rest === 0
  }

  /** True while frames wait for `resume`. */
  get waiting(): boolean {
    return this.held !== null
  }

  /** Uses up to so many frames since it last stopped. Returns where the rest begins; `end` for none. */
  private use(buffer: Buffer, start: number, end: number): number {
    let at = this.prefaceAt < PREFACE.length ? this.readPreface(buffer, start, end) : start
    while (at < end) {
      if (this.stopped) return end
      if (this.inData) at = this.readData(buffer, at, end)
      else if (this.framesLeft <= 0) {
        this.framesLeft = this.framesAtOnceMax
        return at
      } else if (this.cut !== null) at = this.fillCut(buffer, at, end)
      else if (end - at < FRAME_HEAD_BYTES) at = this.keep(buffer, at, end, FRAME_HEAD_BYTES)
      else at = this.readFrame(buffer, at, end)
    }
    return end
  }

  private readPreface(buffer: Buffer, start: number, end: number): number {
    let at = start
    while (at < end && this.prefaceAt < PREFACE.length) {
      if (buffer[at] !== PREFACE[this.prefaceAt]) {
        this.break(ErrorCode.PROTOCOL_ERROR, 'The preface is not the one of HTTP/2')
        return end
      }
      at++
      this.prefaceAt++
    }
    return at
  }

  private break(code: number, reason: string): void {
    if (this.stopped) return
    this.stop()
    this.onBroken(code, reason)
  }

  /** Keeps what a read cut; room for `size` bytes of the frame. */
  private keep(buffer: Buffer, at: number, end: number, size: number): number {
    this.cut = Buffer.allocUnsafe(size)
    this.cutAt = buffer.copy(this.cut, 0, at, end)
    return end
  }

  private fillCut(buffer: Buffer, at: number, end: number): number {
    let cut = this.cut as Buffer
    const taken = Math.min(cut.length - this.cutAt, end - at)
    buffer.copy(cut, this.cutAt, at, at + taken)
    this.cutAt += taken
    if (this.cutAt < cut.length) return end
    if (cut.length === FRAME_HEAD_BYTES) {
      const length = ((cut[0] as number) << 16) | ((cut[1] as number) << 8) | (cut[2] as number)
      const whole = length > 0 && cut[3] !== FRAME_DATA && length <= this.frameBytesMax
      if (whole) {
        const head = cut
        cut = Buffer.allocUnsafe(FRAME_HEAD_BYTES + length)
        head.copy(cut, 0)
        this.cut = cut
        return at + taken
      }
    }
    this.cut = null
    this.readFrame(cut, 0, cut.length)
    return at + taken
  }

  /** A frame whose head is here. Returns where the next one begins, or `end` after keeping the frame. */
  private readFrame(buffer: Buffer, at: number, end: number): number {
    this.framesLeft -= buffer[at + 3] === FRAME_HEADERS ? HEADERS_WEIGHT : 1
    const length =
      ((buffer[at] as number) << 16) | ((buffer[at + 1] as number) << 8) | (buffer[at + 2] as number)
    const type = buffer[at + 3] as number
    const flags = buffer[at + 4] as number
    const id =
      (((buffer[at + 5] as number) & 0x7f) << 24) |
      ((buffer[at + 6] as number) << 16) |
      ((buffer[at + 7] as number) << 8) |
      (buffer[at + 8] as number)
    if (length > this.frameBytesMax) {
      this.break(ErrorCode.FRAME_SIZE_ERROR, `A frame of ${length} bytes`)
      return end
    }
    const start = at + FRAME_HEAD_BYTES
    if (this.blockId !== 0 && (type !== FRAME_CONTINUATION || id !== this.blockId)) {
      // RFC 9113 §6.10: nothing may come between the frames of a block.
      this.break(ErrorCode.PROTOCOL_ERROR, 'A frame within a field block')
      return end
    }
    if (type === FRAME_DATA) {
      this.startData(id, flags, length)
      return start
    }
    if (end - start < length) return this.keep(buffer, at, end, FRAME_HEAD_BYTES + length)
    const after = start + length
    if (type === FRAME_HEADERS || type === FRAME_CONTINUATION) {
      this.ahead = buffer
      this.aheadAt = after
      this.aheadEnd = end
      if (type === FRAME_HEADERS) this.readHeaders(id, flags, buffer, start, after)
      else this.readContinuation(flags, buffer, start, after)
      this.ahead = NOTHING
      return this.aheadAt
    }
    this.control.onFrame(type, flags, id, buffer, start, after)
    return after
  }

  /**
   * Within `onBlock`: whether the next frame of the same read is the end of this stream and nothing else, an empty DATA.
   * If so, it is used up.
   */
  takeEmptyEnd(id: number): boolean {
    const { ahead, aheadAt: at } = this
    if (this.aheadEnd - at < FRAME_HEAD_BYTES || ahead.readUIntBE(at, 3) !== 0) return false
    if (ahead[at + 3] !== FRAME_DATA || ahead[at + 4] !== FLAG_END_STREAM) return false
    if ((ahead.readUInt32BE(at + 5) & 0x7fff_ffff) !== id) return false
    this.framesLeft--
    this.aheadAt = at + FRAME_HEAD_BYTES
    return true
  }

  // --- data ------------------------------------------------------------------------------------

  private startData(id: number, flags: number, length: number): void {
    this.padAwaited = (flags & FLAG_PADDED) !== 0
    if (id === 0) {
      this.break(ErrorCode.PROTOCOL_ERROR, 'DATA on stream 0')
      return
    }
    if (this.padAwaited && length === 0) {
      this.break(ErrorCode.FRAME_SIZE_ERROR, 'DATA without the length of its padding')
      return
    }
    this.inData = true
    this.dataFlags = flags
    this.dataLeft = length
    this.paddingBytes = 0
    this.padLeft = 0
    this.data.onDataStart(id, length)
    if (length === 0) this.endData()
  }

  private readData(buffer: Buffer, start: number, end: number): number {
    let at = start
    if (this.padAwaited) {
      const padding = buffer[at++] as number
      this.padAwaited = false
      this.dataLeft--
      if (padding > this.dataLeft) {
        this.break(ErrorCode.PROTOCOL_ERROR, 'DATA with more padding than payload')
        return end
      }
      this.padLeft = padding
      this.paddingBytes = padding + 1
    }
    const run = Math.min(end - at, this.dataLeft - this.padLeft)
    if (run > 0) {
      this.dataLeft -= run
      this.data.onDataRun(buffer, at, at + run)
      at += run
    }
    if (this.dataLeft === this.padLeft && this.padLeft > 0) {
      const skipped = Math.min(end - at, this.padLeft)
      this.padLeft -= skipped
      this.dataLeft -= skipped
      at += skipped
    }
    if (this.dataLeft === 0 && !this.stopped) this.endData()
    return at
  }

  private endData(): void {
    this.inData = false
    this.data.onDataEnd(this.dataFlags, this.paddingBytes)
  }

  // --- field blocks ----------------------------------------------------------------------------

  private readHeaders(id: number, flags: number, buffer: Buffer, start: number, end: number): void {
    let from = start
    let until = end
    if (id === 0) {
      this.break(ErrorCode.PROTOCOL_ERROR, 'HEADERS on stream 0')
      return
    }
    const padded = (flags & FLAG_PADDED) !== 0
    const prioritized = (flags & FLAG_PRIORITY) !== 0
    if (until - from < (padded ? 1 : 0) + (prioritized ? 5 : 0)) {
      this.break(ErrorCode.FRAME_SIZE_ERROR, 'HEADERS without all of its parts')
      return
    }
    if (padded) until -= buffer[from++] as number
    let dependsOn = -1
    if (prioritized) {
      dependsOn = buffer.readUInt32BE(from) & INTEGER_31_MAX
      from += 5
    }
    if (until < from) {
      this.break(ErrorCode.PROTOCOL_ERROR, 'HEADERS with more padding than payload')
      return
    }
    if ((flags & FLAG_END_HEADERS) !== 0) {
      this.blocks.onBlock(id, flags, dependsOn, buffer, from, until)
      return
    }
    this.blockId = id
    this.blockFlags = flags
    this.blockDependsOn = dependsOn
    this.blockAt = 0
    this.continuations = 0
    this.append(buffer, from, until)
  }

  private readContinuation(flags: number, buffer: Buffer, start: number, end: number): void {
    if (this.blockId === 0) {
      this.break(ErrorCode.PROTOCOL_ERROR, 'CONTINUATION without HEADERS')
      return
    }
    if (++this.continuations > this.continuationsMax) {
      this.break(ErrorCode.ENHANCE_YOUR_CALM, 'HTTP2_CONTINUATION_FLOOD')
      return
    }
    if (!this.append(buffer, start, end) || (flags & FLAG_END_HEADERS) === 0) return
    const id = this.blockId
    const block = this.block
    this.blockId = 0
    this.block = NOTHING
    this.blocks.onBlock(id, this.blockFlags, this.blockDependsOn, block, 0, this.blockAt)
  }

  private append(buffer: Buffer, start: number, end: number): boolean {
    const needed = this.blockAt + end - start
    if (needed > this.blockBytesMax) {
      this.break(ErrorCode.ENHANCE_YOUR_CALM, 'HTTP2_FIELD_BLOCK_BYTES')
      return false
    }
    if (needed > this.block.length) {
      const larger = Buffer.allocUnsafe(Math.min(this.blockBytesMax, Math.max(needed, this.block.length * 2)))
      this.block.copy(larger, 0, 0, this.blockAt)
      this.block = larger
    }
    buffer.copy(this.block, this.blockAt, start, end)
    this.blockAt = needed
    return true
  }
}
