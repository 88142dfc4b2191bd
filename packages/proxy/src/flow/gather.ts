/** Pieces below this size are copied together. */
const SMALL_BYTES = 1_024

/** Into memory of this size. */
const GATHER_BYTES = 16_384

/**
 * Adds pieces of a body to a list, and copies neighbours together that are small: a body in chunks of one byte
 * would else cost a hundred times what it holds. A piece that stands alone is kept as it lies.
 */
export class Gatherer {
  /** The list's last piece, when it lies in `#memory`. */
  #last: Buffer | null = null
  #memory: Buffer | null = null
  #used = 0

  /** Adds `[start, end)`, which must stay as it is from now on. */
  add(pieces: Buffer[], buffer: Buffer, start: number, end: number): void {
    const size = end - start
    const before = pieces.at(-1)
    if (size >= SMALL_BYTES || before === undefined || !this.#joins(before, size)) {
      pieces.push(start === 0 && end === buffer.length ? buffer : buffer.subarray(start, end))
      return
    }
    let memory = this.#memory
    if (memory === null || this.#last !== before) {
      memory = Buffer.allocUnsafeSlow(GATHER_BYTES)
      this.#memory = memory
      this.#used = before.copy(memory)
    }
    this.#used += buffer.copy(memory, this.#used, start, end)
    this.#last = memory.subarray(0, this.#used)
    pieces[pieces.length - 1] = this.#last
  }

  #joins(before: Buffer, size: number): boolean {
    if (before === this.#last) return this.#used + size <= GATHER_BYTES
    return before.length < SMALL_BYTES
  }
}
