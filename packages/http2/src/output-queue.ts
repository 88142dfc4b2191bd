import { FRAME_HEAD_BYTES } from './constants.ts'
import { giveMemory, MEMORY_BYTES, takeMemory } from './memory.ts'

/** Memory that is remembered until it is free; beyond that it is left to the garbage collector. 4 MiB. */
const USED_COUNT_MAX = 64

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
  /** Memory of `chunks`, and of what was taken before, that is to be given back. */
  private readonly used: Buffer[] = []
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
    if (size > MEMORY_BYTES) this.own = Buffer.allocUnsafeSlow(size)
    else {
      this.own = takeMemory()
      this.used.push(this.own)
    }
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

  /** The last of a piece of `takeMemory` is here: it is given back with the rest. */
  reclaim(piece: Buffer): void {
    this.used.push(piece)
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
   * @param free - Nobody refers to its memory any more, nor to that of what was taken before. Else it may be so later.
   */
  release(free: boolean): void {
    const { used } = this
    if (free) for (const memory of used) giveMemory(memory)
    if (free || used.length > USED_COUNT_MAX) used.length = 0
    this.own = null
    this.sealedAt = 0
    this.at = 0
  }
}
