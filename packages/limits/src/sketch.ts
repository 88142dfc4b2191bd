import { COUNT_MAX, checkInteger, checkPowerOfTwo } from './check.ts'
import { KeyHasher, type LimitKey } from './key-hash.ts'
import type { Memory } from './memory.ts'

/** Size of a count-min sketch. */
export interface SketchOptions {
  /** Counters that each key is added to, an integer from 1 to 16. Default 4; more make a wrong estimate less likely. */
  readonly rows?: number
  /** Counters in a row, a power of two from 2 to 16,777,216; the default is the class's. More make the error smaller. */
  readonly columns?: number
}

const ROWS_DEFAULT = 4

/** An addition up to this may overshoot for a moment: a thousand threads at once would still not overflow 32 bits. */
const SMALL_ADDITION = 2 ** 20

/** Odd numbers that turn one 64-bit hash into an index per row (multiply-shift); any odd numbers do. */
const MULTIPLIERS: Int32Array = makeMultipliers()

/** Throws a `RangeError` for sizes out of bounds. */
export function checkSketch(
  options: SketchOptions,
  columnsDefault: number,
): { rows: number; columns: number } {
  return {
    rows: checkInteger('rows', options.rows ?? ROWS_DEFAULT, 1, 16),
    columns: checkPowerOfTwo('columns', options.columns ?? columnsDefault, 2, 2 ** 24),
  }
}

/**
 * Count-min sketches of the same size in one memory, addressed by the word where each begins.
 *
 * After `hash(key)`, `low` and `high` name the key to the other methods.
 */
export class Sketch {
  readonly hasher: KeyHasher
  readonly #cells: Int32Array
  readonly #rows: number
  readonly #columns: number
  readonly #shift: number
  readonly #shared: boolean
  readonly #saturates: boolean

  /**
   * @param saturates - True: counts stop at ± 2^30. False: they do not, so that every addition can be taken back
   * exactly; the caller then keeps them below 2^31.
   */
  constructor(memory: Memory, rows: number, columns: number, saturates: boolean) {
    this.hasher = new KeyHasher(memory.seedLow, memory.seedHigh)
    this.#cells = memory.words
    this.#rows = rows
    this.#columns = columns
    this.#shift = 32 - Math.log2(columns)
    this.#shared = memory.shared
    this.#saturates = saturates
  }

  hash(key: LimitKey): KeyHasher {
    this.hasher.hash(key)
    return this.hasher
  }

  /**
   * Adds `amount`, which may be negative, and returns the key's new count.
   *
   * Threads may add to the rows in turns, and then each would see one row without the other. So with shared memory
   * the rows are read once more: the thread whose addition ends last counts all, which `tryAcquire` and `take`
   * rely on.
   */
  add(base: number, low: number, high: number, amount: number): number {
    const count = this.addOnly(base, low, high, amount)
    return this.#shared ? this.get(base, low, high) : count
  }

  /** As `add`, for a caller that needs no count; the result is one only while no other thread adds. */
  addOnly(base: number, low: number, high: number, amount: number): number {
    let least = Number.POSITIVE_INFINITY
    let row = base
    for (let index = 0; index < this.#rows; index++) {
      const column =
        (Math.imul(low, MULTIPLIERS[2 * index] as number) +
          Math.imul(high, MULTIPLIERS[2 * index + 1] as number)) >>>
        this.#shift
      const count = this.#saturates
        ? this.#addSaturating(row + column, amount)
        : this.#addExactly(row + column, amount)
      if (count < least) least = count
      row += this.#columns
    }
    return least
  }

  /** The smallest of the counts. */
  get(base: number, low: number, high: number): number {
    return this.getSum(base, 1, 0, low, high)
  }

  /** The smallest of the counts, each summed over sketches that lie `stride` words apart. */
  getSum(base: number, sketches: number, stride: number, low: number, high: number): number {
    const cells = this.#cells
    let least = Number.POSITIVE_INFINITY
    let row = base
    for (let index = 0; index < this.#rows; index++) {
      const column =
        (Math.imul(low, MULTIPLIERS[2 * index] as number) +
          Math.imul(high, MULTIPLIERS[2 * index + 1] as number)) >>>
        this.#shift
      let count = 0
      for (let sketch = 0, cell = row + column; sketch < sketches; sketch++, cell += stride) {
        count += this.#shared ? Atomics.load(cells, cell) : (cells[cell] as number)
      }
      if (count < least) least = count
      row += this.#columns
    }
    return least
  }

  clear(base: number): void {
    this.#cells.fill(0, base, base + this.#rows * this.#columns)
  }

  #addExactly(cell: number, amount: number): number {
    const cells = this.#cells
    if (this.#shared) return Atomics.add(cells, cell, amount) + amount
    const count = (cells[cell] as number) + amount
    cells[cell] = count
    return count
  }

  #addSaturating(cell: number, amount: number): number {
    const cells = this.#cells
    if (!this.#shared) {
      const count = clamp((cells[cell] as number) + amount)
      cells[cell] = count
      return count
    }
    if (amount <= SMALL_ADDITION && amount >= -SMALL_ADDITION) {
      const count = Atomics.add(cells, cell, amount) + amount
      if (count <= COUNT_MAX && count >= -COUNT_MAX) return count
      Atomics.store(cells, cell, clamp(count))
      return clamp(count)
    }
    for (;;) {
      const before = Atomics.load(cells, cell)
      const count = clamp(before + amount)
      if (Atomics.compareExchange(cells, cell, before, count) === before) return count
    }
  }
}

function clamp(count: number): number {
  return Math.min(COUNT_MAX, Math.max(-COUNT_MAX, count))
}

function makeMultipliers(): Int32Array {
  const multipliers = new Int32Array(32)
  let state = 0x9e3779b9
  for (let index = 0; index < multipliers.length; index++) {
    state = (state + 0x9e3779b9) | 0
    let value = Math.imul(state ^ (state >>> 16), 0x21f0aaad)
    value = Math.imul(value ^ (value >>> 15), 0x735a2d97)
    multipliers[index] = (value ^ (value >>> 15)) | 1
  }
  return multipliers
}
