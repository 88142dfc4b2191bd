import {
  LONG_READ_BYTES,
  returnReadBuffer,
  sharedReadBuffer,
  takeReadBuffer,
} from '../sockets/read-buffer.ts'

/** A read above this size is taken for a part of a long body. */
const LONG_RUN_BYTES = 16_384

/** Where a connection reads into: memory that all connections share, but for long bodies. */
export class ReadMemory {
  /** Memory of its own; null while it reads into the shared one. */
  private own: Buffer | null = null
  /** What the present read has brought is still in use. */
  private retained = false

  /** Where the next read goes. */
  get next(): Buffer {
    if (this.own === null && sharedReadBuffer === null) this.own = takeReadBuffer()
    return this.own ?? (sharedReadBuffer as Buffer)
  }

  /** A read is about to be used. */
  begin(): void {
    this.retained = false
  }

  /** The memory of the present read stays in use. */
  retain(): void {
    this.retained = true
  }

  /** A read of `count` bytes into `buffer` was used; `idle` says that nothing more is expected. */
  end(count: number, buffer: Buffer, idle: boolean): void {
    if (this.retained) this.own = takeReadBuffer(buffer.length)
    else if (this.own === null) {
      if (count > LONG_RUN_BYTES) this.own = takeReadBuffer()
    } else if (idle) {
      returnReadBuffer(this.own)
      this.own = null
    } else if (count === buffer.length && count < LONG_READ_BYTES) {
      // A long body: fewer and larger reads.
      returnReadBuffer(this.own)
      this.own = takeReadBuffer(LONG_READ_BYTES)
    }
  }

  /** Nothing is read any more. */
  drop(): void {
    this.own = null
  }
}
