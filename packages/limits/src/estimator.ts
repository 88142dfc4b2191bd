import { checkCount, checkNames } from './check.ts'
import type { LimitKey } from './key-hash.ts'
import { HEADER_BYTES, type MemoryOptions, openMemory } from './memory.ts'
import { checkSketch, Sketch, type SketchOptions } from './sketch.ts'

/** Options of {@link Estimator}. */
export interface EstimatorOptions extends SketchOptions, MemoryOptions {}

const OPTION_NAMES: readonly string[] = ['rows', 'columns', 'memory']
const COLUMNS_DEFAULT = 1024
const BASE_WORD = HEADER_BYTES / 4

/**
 * Counts per key in fixed memory: a count-min sketch, after Pingora's `Estimator`.
 *
 * An estimate is never below the true count, as long as no key is taken down more than it was counted up and no
 * count has reached 2^30. It is above by at most e ÷ columns × (sum of all counts), except with a probability of e^−rows. Memory is
 * 64 + rows × columns × 4 bytes, 16 KiB by default. Counts stop at ± 2^30 instead of wrapping around.
 */
export class Estimator {
  readonly #sketch: Sketch

  /** Bytes of `memory` that an estimator with these options needs. */
  static byteLength(options: EstimatorOptions = {}): number {
    const { rows, columns } = checkSketch(options, COLUMNS_DEFAULT)
    return HEADER_BYTES + rows * columns * 4
  }

  /** @throws {RangeError} If an option is out of bounds or the memory does not fit. */
  constructor(options: EstimatorOptions = {}) {
    checkNames(options, OPTION_NAMES)
    const { rows, columns } = checkSketch(options, COLUMNS_DEFAULT)
    const memory = openMemory(`Estimator ${rows} ${columns}`, HEADER_BYTES + rows * columns * 4, options)
    this.#sketch = new Sketch(memory, rows, columns, true)
  }

  /**
   * Counts `key` up by `events` and returns its new estimate.
   *
   * @param events - An integer from 0, 1 by default.
   * @throws {RangeError} If `events` is no such integer.
   */
  incr(key: LimitKey, events: number = 1): number {
    checkCount('events', events)
    const { low, high } = this.#sketch.hash(key)
    return this.#sketch.add(BASE_WORD, low, high, events)
  }

  /** Counts `key` down by `events` and returns its new estimate; the opposite of `incr`. */
  decr(key: LimitKey, events: number = 1): number {
    checkCount('events', events)
    const { low, high } = this.#sketch.hash(key)
    return this.#sketch.add(BASE_WORD, low, high, -events)
  }

  /** The estimate for `key`. */
  get(key: LimitKey): number {
    const { low, high } = this.#sketch.hash(key)
    return this.#sketch.get(BASE_WORD, low, high)
  }

  /** Sets all counts to zero. What other threads add meanwhile may stay or go. */
  reset(): void {
    this.#sketch.clear(BASE_WORD)
  }
}
