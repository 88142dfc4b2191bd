import { FRAME_HEAD_BYTES } from './constants.ts'

/** Memory that small frames are gathered in, for as long as they wait to be written. */
const GATHER_BYTES = 65_536
/** How much of it waits for reuse, over all connections of a thread: 1 MiB. */
const SPARE_COUNT_MAX = 16

const spare: Buffer[] = []

/**
 * Frames on their way to the transport, in order. Small ones lie together in one piece of memory, long payloads
 * pass by reference between, so that what one turn brings leaves in one write.
 */
export class OutputQueue {
  /** Bytes that wait. */
  bytes = 0
  /** Payload bytes of DATA among them. */
  dataBytes = 0
  /** Bytes of frames that the peer has made us send. */
  replyBytes = 0

  private chunks: Buffer[] = []
  private own: Buffer | null = null
  /** `own` up to here is in `chunks` already. */
  private sealedAt = 0
  private at = 0
  /** Memory of `chunks` that is ours. */
  private gathered: Buffer[] = []
  /** Where the flags of the last frame lie in `own`, and whose it is; 0 for none. */
  private lastFlagsAt = 0
  private lastStreamId = 0

  /** Room for `size` bytes in one piece. Returns where they begin in `memory`. */
  reserve(size: number): number {
    const { own } = this
    if (own === null) this.renew(size)
    else if (own.length - this.at < size) {
      this.seal()
      this.renew(size)
    }
    return this.at
  }

  private renew(size: number): void {
    this.own =
      (size <= GATHER_BYTES ? spare.pop() : undefined) ?? Buffer.allocUnsafeSlow(Math.max(size, GATHER_BYTES))
    this.gathered.push(this.own)
    this.sealedAt = 0
    this.at = 0
    this.lastStreamId = 0
  }

  /** What `reserve` has made room in. */
  get memory(): Buffer {
    return this.own as Buffer
  }

  /** Bytes left in it. */
  get room(): number {
    return this.own === null ? 0 : this.own.length - this.at
  }

  /** Counts `size` bytes that were written at the reserved place. */
  commit(size: number): void {
    this.at += size
    this.bytes += size
  }

  /** Writes a frame's head at `at` of the reserved memory. */
  writeHead(at: number, length: number, type: number, flags: number, id: number): void {
    const memory = this.own as Buffer
    memory[at] = length >>> 16
    memory[at + 1] = length >>> 8
    memory[at + 2] = length
    memory[at + 3] = type
    memory[at + 4] = flags
    memory[at + 5] = id >>> 24
    memory[at + 6] = id >>> 16
    memory[at + 7] = id >>> 8
    memory[at + 8] = id
  }

  /** The frame at `at` is the last one, and its flags may still be changed by `markLast`. */
  noteLast(at: number, id: number): void {
    this.lastFlagsAt = at + 4
    this.lastStreamId = id
  }

  /** Sets a flag of the last frame if it is one of stream `id` and still here. */
  markLast(id: number, flag: number): boolean {
    if (this.lastStreamId !== id || this.own === null) return false
    this.own[this.lastFlagsAt] = (this.own[this.lastFlagsAt] as number) | flag
    return true
  }

  /** A frame of its head alone, or with a payload of 4 bytes, or of 8; what acknowledges, resets and updates. */
  small(type: number, flags: number, id: number, size: 0 | 4 | 8, first: number, second: number): void {
    const at = this.reserve(FRAME_HEAD_BYTES + size)
    this.writeHead(at, size, type, flags, id)
    const memory = this.own as Buffer
    if (size >= 4) memory.writeUInt32BE(first >>> 0, at + FRAME_HEAD_BYTES)
    if (size === 8) memory.writeUInt32BE(second >>> 0, at + FRAME_HEAD_BYTES + 4)
    this.commit(FRAME_HEAD_BYTES + size)
    this.lastStreamId = 0
  }

  /** Appends a piece of a payload, copied. */
  copy(buffer: Buffer, start: number, end: number): void {
    let from = start
    while (from < end) {
      const at = this.reserve(1)
      const taken = buffer.copy(this.memory, at, from, end)
      this.commit(taken)
      from += taken
    }
  }

  /** Appends a piece of a payload, by reference. */
  refer(piece: Buffer): void {
    this.seal()
    this.chunks.push(piece)
    this.bytes += piece.length
  }

  private seal(): void {
    const { own, sealedAt, at } = this
    if (own === null || at === sealedAt) return
    this.chunks.push(own.subarray(sealedAt, at))
    this.sealedAt = at
  }

  /** All that waits. It counts as gone. `release` says when its memory is free. */
  take(): Buffer[] {
    this.seal()
    const { chunks } = this
    this.chunks = []
    this.bytes = 0
    this.dataBytes = 0
    this.replyBytes = 0
    this.lastStreamId = 0
    return chunks
  }

  /**
   * What was taken is written.
   *
   * @param free - Nobody refers to its memory any more.
   */
  release(free: boolean): void {
    const { gathered } = this
    if (free) {
      for (const memory of gathered) {
        if (memory.length === GATHER_BYTES && spare.length < SPARE_COUNT_MAX) spare.push(memory)
      }
    }
    gathered.length = 0
    this.own = null
    this.sealedAt = 0
    this.at = 0
  }
}
