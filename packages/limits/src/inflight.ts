import { COUNT_MAX, checkCount, checkInteger, checkNames } from './check.ts'
import type { LimitKey } from './key-hash.ts'
import { HEADER_BYTES, type MemoryOptions, openMemory } from './memory.ts'
import { checkSketch, Sketch, type SketchOptions } from './sketch.ts'

/** Options of {@link Inflight}. */
export interface InflightOptions extends SketchOptions, MemoryOptions {
  /**
   * Threads that count in the same memory, an integer from 1 to 256. Default 1. Each has its own counters, so that
   * those of a dead thread can be cleared with `releaseLane`; the price is this factor in memory.
   */
  readonly lanes?: number
  /** Which of the lanes this thread counts in, from 0. Default 0. */
  readonly lane?: number
}

const OPTION_NAMES: readonly string[] = ['rows', 'columns', 'lanes', 'lane', 'memory']
const COLUMNS_DEFAULT = 8192
const BASE_WORD = HEADER_BYTES / 4

/** With this the additions of a thousand threads at once cannot take a count from 2^30 over 2^31. */
const UNITS_MAX = 2 ** 20

// A guard releases by hash; nobody else should.
let addByHash: (inflight: Inflight, low: number, high: number, amount: number) => number
let subtractByHash: (inflight: Inflight, low: number, high: number, amount: number) => void
let getByHash: (inflight: Inflight, low: number, high: number) => number

/**
 * Counts what is under way per key (requests, connections) in fixed memory, after Pingora's `Inflight`.
 *
 * A count may be above the truth when keys share counters, never below it. Memory is
 * 64 + lanes × rows × columns × 4 bytes: 128 KiB by default.
 *
 * @example
 * using guard = inflight.tryAcquire(clientIp, 20)
 * if (guard === undefined) return session.respondError(429)
 */
export class Inflight {
  readonly #sketch: Sketch
  readonly #lanes: number
  readonly #laneWords: number
  readonly #base: number

  /** Bytes of `memory` that these options need. */
  static byteLength(options: InflightOptions = {}): number {
    const { rows, columns } = checkSketch(options, COLUMNS_DEFAULT)
    return HEADER_BYTES + checkInteger('lanes', options.lanes ?? 1, 1, 256) * rows * columns * 4
  }

  /** @throws {RangeError} If an option is out of bounds or the memory does not fit. */
  constructor(options: InflightOptions = {}) {
    checkNames(options, OPTION_NAMES)
    const { rows, columns } = checkSketch(options, COLUMNS_DEFAULT)
    this.#lanes = checkInteger('lanes', options.lanes ?? 1, 1, 256)
    const lane = checkInteger('lane', options.lane ?? 0, 0, this.#lanes - 1)
    this.#laneWords = rows * columns
    this.#base = BASE_WORD + lane * this.#laneWords
    const memory = openMemory(
      `Inflight ${rows} ${columns} ${this.#lanes}`,
      HEADER_BYTES + this.#lanes * rows * columns * 4,
      options,
    )
    this.#sketch = new Sketch(memory, rows, columns, false)
  }

  /**
   * Counts `key` up until the guard is released.
   *
   * @param units - An integer from 0 to 2^20, 1 by default.
   * @throws {RangeError} If `units` is no such integer, or more than 2^30 units would be under way.
   */
  acquire(key: LimitKey, units: number = 1): InflightGuard {
    checkInteger('units', units, 0, UNITS_MAX)
    const { low, high } = this.#sketch.hash(key)
    return new InflightGuard(this, low, high, units, this.#addOrThrow(low, high, units))
  }

  /**
   * As `acquire`, but `undefined`, with nothing counted, if that would take the count above `unitsMax`.
   *
   * Threads that ask at the same moment may refuse each other where one would have fitted; they never let in
   * more than `unitsMax`.
   *
   * @param unitsMax - An integer from 0 to 2^30.
   * @param units - An integer from 0, 1 by default; more than 2^20 never fit.
   * @throws {RangeError} If one of them is no such integer.
   */
  tryAcquire(key: LimitKey, unitsMax: number, units: number = 1): InflightGuard | undefined {
    checkInteger('unitsMax', unitsMax, 0, COUNT_MAX)
    checkCount('units', units)
    if (units > unitsMax || units > UNITS_MAX) return undefined
    const { low, high } = this.#sketch.hash(key)
    const count = this.#add(low, high, units)
    if (count > unitsMax) {
      this.#subtract(low, high, units)
      return undefined
    }
    return new InflightGuard(this, low, high, units, count)
  }

  /** What is under way for `key`. */
  get(key: LimitKey): number {
    const { low, high } = this.#sketch.hash(key)
    return this.#get(low, high)
  }

  /** Forgets what a thread had under way. Call it when that thread has ended, before another takes its lane. */
  releaseLane(lane: number): void {
    checkInteger('lane', lane, 0, this.#lanes - 1)
    this.#sketch.clear(BASE_WORD + lane * this.#laneWords)
  }

  static {
    addByHash = (inflight, low, high, amount) => inflight.#addOrThrow(low, high, amount)
    subtractByHash = (inflight, low, high, amount) => inflight.#subtract(low, high, amount)
    getByHash = (inflight, low, high) => inflight.#get(low, high)
  }

  #addOrThrow(low: number, high: number, units: number): number {
    const count = this.#add(low, high, units)
    if (count <= COUNT_MAX) return count
    this.#subtract(low, high, units)
    throw new RangeError(`Cannot have ${count} units under way, at most ${COUNT_MAX}`)
  }

  #add(low: number, high: number, amount: number): number {
    if (this.#lanes === 1) return this.#sketch.add(this.#base, low, high, amount)
    this.#sketch.addOnly(this.#base, low, high, amount)
    return this.#get(low, high)
  }

  #subtract(low: number, high: number, amount: number): void {
    this.#sketch.addOnly(this.#base, low, high, -amount)
  }

  #get(low: number, high: number): number {
    return this.#sketch.getSum(BASE_WORD, this.#lanes, this.#laneWords, low, high)
  }
}

/** Holds a count up until it is released or its block ends (`using`). Keeps a hash of the key only. */
export class InflightGuard {
  /** What was under way for the key when this was acquired, with this. */
  readonly count: number
  readonly #inflight: Inflight
  readonly #low: number
  readonly #high: number
  #units: number
  #held: boolean = true

  /** Made by `Inflight.acquire` and `tryAcquire`. */
  constructor(inflight: Inflight, low: number, high: number, units: number, count: number) {
    this.count = count
    this.#inflight = inflight
    this.#low = low
    this.#high = high
    this.#units = units
  }

  /**
   * Counts up by more units, to be released together, and returns the new count.
   *
   * @throws {RangeError} As `acquire` does.
   * @throws {TypeError} After `release`.
   */
  incr(units: number = 1): number {
    checkInteger('units', units, 0, UNITS_MAX)
    if (!this.#held) throw new TypeError('Cannot add to a guard that was released')
    const count = addByHash(this.#inflight, this.#low, this.#high, units)
    this.#units += units
    return count
  }

  /** What is under way for the key now. */
  get(): number {
    return getByHash(this.#inflight, this.#low, this.#high)
  }

  /** Counts down what this guard counted up, once; later calls do nothing. */
  release(): void {
    if (!this.#held) return
    this.#held = false
    subtractByHash(this.#inflight, this.#low, this.#high, this.#units)
  }

  [Symbol.dispose](): void {
    this.release()
  }
}
