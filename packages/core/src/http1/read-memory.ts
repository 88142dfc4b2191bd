import {
  LONG_READ_BYTES,
  READ_BYTES,
  returnReadBuffer,
  SHORT_READ_BYTES,
  sharedReadBuffer,
  takeReadBuffer,
} from '../sockets/read-buffer.ts'

/** The memory that one connection reads into: the one that all share, or its own while a long body passes. */
export class ReadMemory {
  /** Its own, for the next read; null while it reads into the shared one. */
  #own: Buffer | null = null
  /** False when reads come as `data` events, in memory that belongs to nobody else. */
  #needed = true

  /** Reads go into memory of ours from now on. */
  open(): void {
    if (sharedReadBuffer === null) this.#own = takeReadBuffer()
  }

  /** Reads come as `data` events. */
  disown(): void {
    this.#needed = false
    if (this.#own !== null) returnReadBuffer(this.#own)
    this.#own = null
  }

  /** Where the next read goes. */
  get next(): Buffer {
    return this.#own ?? (sharedReadBuffer as Buffer)
  }

  /** A long body passes: the next read goes into memory that no other connection reads into. */
  useOwn(): void {
    if (this.#needed && this.#own === null) this.#own = takeReadBuffer()
  }

  /** The long body is over. */
  useShared(): void {
    const own = this.#own
    if (own === null || sharedReadBuffer === null) return
    this.#own = null
    returnReadBuffer(own)
  }

  /** The body fills its memory in one read: more at a time costs less. */
  grow(): void {
    const own = this.#own
    if (own === null || own.length !== READ_BYTES) return
    returnReadBuffer(own)
    this.#own = takeReadBuffer(LONG_READ_BYTES)
  }

  /** The body comes in thousands of chunks: less at a time keeps others waiting less. */
  shrink(): void {
    const own = this.#own
    if (own === null || own.length === SHORT_READ_BYTES) return
    returnReadBuffer(own)
    this.#own = Buffer.allocUnsafeSlow(SHORT_READ_BYTES)
  }

  /** Somebody still refers to `buffer`: nothing is read into it any more. */
  giveAway(buffer: Buffer): void {
    if (buffer === this.#own) this.#own = takeReadBuffer(buffer.length)
  }
}
