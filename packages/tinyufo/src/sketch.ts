/** Counters per row inside one block. */
const ROW_COUNTERS = 16
/** One row's counters as 32-bit words, times four rows. */
const BLOCK_WORDS = 16
const BLOCK_BYTES = 64
/** Euler's number × n counters per row bound the overcount to additions / n (Cormode and Muthukrishnan). */
const COUNTERS_PER_ITEM: number = Math.E
const ROWS = 4
/** All counters are halved once per this many additions per expected item. */
const AGE_FACTOR = 8
const COUNTER_MAX = 255

/**
 * Counts how often a hash was added, in fixed memory: a count-min sketch of 8-bit saturating counters.
 *
 * The four counters of a hash lie in one block of 64 bytes, so an operation touches one cache line. All counters
 * are halved every 8 × `estimatedSize` additions. The halving is lazy, block by block, when a block is next
 * touched: it never stalls the loop, and gives the same counts as halving everything at once.
 */
export class FrequencySketch {
  readonly #counters: Uint8Array
  /** The same bytes, four counters at a time, for halving. */
  readonly #words: Uint32Array
  /** Per block, the epoch up to which it has been halved. */
  readonly #epochs: Uint32Array
  readonly #blockCount: number
  readonly #additionsPerEpoch: number
  #additions = 0
  #epoch = 0

  constructor(estimatedSize: number) {
    const counterCount = Math.max(Math.ceil(COUNTERS_PER_ITEM * estimatedSize), ROW_COUNTERS) * ROWS
    this.#blockCount = Math.ceil(counterCount / BLOCK_BYTES)
    this.#counters = new Uint8Array(this.#blockCount * BLOCK_BYTES)
    this.#words = new Uint32Array(this.#counters.buffer)
    this.#epochs = new Uint32Array(this.#blockCount)
    this.#additionsPerEpoch = AGE_FACTOR * estimatedSize
  }

  /** Bytes held; they never change. */
  get byteLength(): number {
    return this.#counters.byteLength + this.#epochs.byteLength
  }

  /** Adds one for `hash` (32 bits, well mixed) and returns its count, from 1 to 255. */
  increment(hash: number): number {
    if (this.#additions === this.#additionsPerEpoch) {
      this.#additions = 0
      this.#epoch += 1
    }
    this.#additions += 1
    const block = this.#openBlock(hash)
    const positions = positionsOf(hash)
    const counters = this.#counters
    const a = block + (positions & 15)
    const b = block + ROW_COUNTERS + ((positions >>> 4) & 15)
    const c = block + 2 * ROW_COUNTERS + ((positions >>> 8) & 15)
    const d = block + 3 * ROW_COUNTERS + ((positions >>> 12) & 15)
    const countA = counters[a] as number
    const countB = counters[b] as number
    const countC = counters[c] as number
    const countD = counters[d] as number
    const least = Math.min(countA, countB, countC, countD)
    if (least === COUNTER_MAX) return COUNTER_MAX
    // Only the smallest counters grow: the larger ones already count other hashes too.
    if (countA === least) counters[a] = least + 1
    if (countB === least) counters[b] = least + 1
    if (countC === least) counters[c] = least + 1
    if (countD === least) counters[d] = least + 1
    return least + 1
  }

  /** The count of `hash`: never below the truth since the last halving, from 0 to 255. */
  estimate(hash: number): number {
    const block = this.#openBlock(hash)
    const positions = positionsOf(hash)
    const counters = this.#counters
    return Math.min(
      counters[block + (positions & 15)] as number,
      counters[block + ROW_COUNTERS + ((positions >>> 4) & 15)] as number,
      counters[block + 2 * ROW_COUNTERS + ((positions >>> 8) & 15)] as number,
      counters[block + 3 * ROW_COUNTERS + ((positions >>> 12) & 15)] as number,
    )
  }

  clear(): void {
    this.#counters.fill(0)
    this.#epochs.fill(0)
    this.#additions = 0
    this.#epoch = 0
  }

  /** Finds the block of `hash`, brings its halvings up to date, and returns the index of its first byte. */
  #openBlock(hash: number): number {
    const block = Math.floor((hash >>> 0) * 2 ** -32 * this.#blockCount)
    const missed = this.#epoch - (this.#epochs[block] as number)
    if (missed > 0) {
      this.#epochs[block] = this.#epoch
      this.#halve(block * BLOCK_WORDS, Math.min(missed, 8))
    }
    return block * BLOCK_BYTES
  }

  #halve(firstWord: number, times: number): void {
    const words = this.#words
    // Keeps what each byte's own bits become; the bits that slid in from its neighbour are cut off.
    const mask = 0x01010101 * (COUNTER_MAX >>> times)
    for (let index = firstWord; index < firstWord + BLOCK_WORDS; index++) {
      words[index] = ((words[index] as number) >>> times) & mask
    }
  }
}

/** Sixteen bits, four per row, that do not depend on the high bits which chose the block. */
function positionsOf(hash: number): number {
  const mixed = Math.imul(hash ^ (hash >>> 15), 0x9e3779b1)
  return mixed >>> 16
}
