import { Gatherer } from './gather.ts'

/** Runs from this size on are copied; shorter ones lie in memory of their own size, and stay in it. */
const COPIED_BYTES_MIN = 8_192

/** Memory for copies: the smallest that a run fits into, so that at least half of it is used. */
const SIZES = [16_384, 32_768, 65_536] as const

/** Copies of each size that wait for reuse: 7 MiB in all. */
const SPARE_COUNT_MAX = 64

const spares: ReadonlyMap<number, Buffer[]> = new Map(SIZES.map((size) => [size, []]))

/**
 * The beginning of a request's body, kept so that a further attempt can send it again. Most uploads outgrow it or need
 * no further attempt, and then the memory that it was copied to serves the next one.
 */
export class KeptBody {
  /** What there is, in order. Whoever passes any of it on calls `lend` first. */
  readonly pieces: Buffer[] = []
  #gatherer: Gatherer | null = null
  #copies: Buffer[] | null = null

  /** Adds `[start, end)`. True if it is kept where it lies, and must stay as it is. */
  add(buffer: Buffer, start: number, end: number): boolean {
    const size = end - start
    const memory = size < COPIED_BYTES_MIN ? null : takeCopy(size)
    if (memory === null) {
      this.#gatherer ??= new Gatherer()
      this.#gatherer.add(this.pieces, buffer, start, end)
      return true
    }
    this.#copies ??= []
    this.#copies.push(memory)
    this.pieces.push(memory.subarray(0, buffer.copy(memory, 0, start, end)))
    return false
  }

  /** Somebody may refer to the pieces from now on: their memory is not used again. */
  lend(): void {
    this.#copies = null
  }

  /** Nothing of it is needed any more. */
  drop(): void {
    const copies = this.#copies
    this.#copies = null
    this.pieces.length = 0
    if (copies !== null) for (const copy of copies) giveCopy(copy)
  }
}

function takeCopy(bytes: number): Buffer | null {
  for (const size of SIZES) {
    if (bytes <= size) return spares.get(size)?.pop() ?? Buffer.allocUnsafeSlow(size)
  }
  return null
}

function giveCopy(memory: Buffer): void {
  const spare = spares.get(memory.length)
  if (spare !== undefined && spare.length < SPARE_COUNT_MAX) spare.push(memory)
}
