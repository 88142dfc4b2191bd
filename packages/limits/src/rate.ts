import { checkCount, checkInteger, checkNames } from './check.ts'
import type { LimitKey } from './key-hash.ts'
import { openMemory, type TimedMemoryOptions } from './memory.ts'
import { checkSketch, type SketchOptions } from './sketch.ts'
import { Windows, windowsByteLength } from './windows.ts'

/** Options of {@link Rate}. */
export interface RateOptions extends SketchOptions, TimedMemoryOptions {
  /** Length of a window in milliseconds, an integer from 1 to 2^31. */
  readonly intervalMs: number
}

/** What a rate is computed from. */
export interface RateComponents {
  /** Events in the window before the current one. */
  readonly previousSamples: number
  /** Events in the current window so far. */
  readonly currentSamples: number
  /** Length of a window in milliseconds. */
  readonly intervalMs: number
  /** How much of the current window has passed, from 0 to below 1. */
  readonly currentIntervalFraction: number
}

const OPTION_NAMES: readonly string[] = ['intervalMs', 'rows', 'columns', 'memory', 'now']
const COLUMNS_DEFAULT = 1024
const INTERVAL_MS_MAX = 2 ** 31

/**
 * Events per second and key, in fixed memory, after Pingora's `Rate`.
 *
 * Windows follow each other without gaps from the first use on: window n covers n × `intervalMs` up to
 * (n + 1) × `intervalMs`. Estimates are never below the truth (a window's counts stop at 2^30). Memory is
 * 64 + 3 × rows × columns × 4 bytes, 48 KiB by default.
 *
 * @example
 * const rate = new Rate({ intervalMs: 1_000 })
 * if (rate.observe(clientIp) > 100) return session.respondError(429)
 */
export class Rate {
  readonly #windows: Windows
  readonly #intervalMs: number

  /** Bytes of `memory` that these options need. */
  static byteLength(options: SketchOptions = {}): number {
    const { rows, columns } = checkSketch(options, COLUMNS_DEFAULT)
    return windowsByteLength(rows, columns)
  }

  /** @throws {RangeError} If an option is out of bounds or the memory does not fit. */
  constructor(options: RateOptions) {
    checkNames(options, OPTION_NAMES)
    const { rows, columns } = checkSketch(options, COLUMNS_DEFAULT)
    this.#intervalMs = checkInteger('intervalMs', options.intervalMs, 1, INTERVAL_MS_MAX)
    const layout = `Rate ${rows} ${columns} ${this.#intervalMs}`
    const memory = openMemory(layout, windowsByteLength(rows, columns), options)
    this.#windows = new Windows(memory, rows, columns, this.#intervalMs, true)
  }

  /**
   * Adds `events` for `key` in the current window and returns the window's count so far.
   *
   * @param events - An integer from 0, 1 by default.
   * @throws {RangeError} If `events` is no such integer.
   */
  observe(key: LimitKey, events: number = 1): number {
    checkCount('events', events)
    const windows = this.#windows
    windows.enter()
    const { low, high } = windows.sketch.hash(key)
    return windows.sketch.add(windows.currentBase, low, high, events)
  }

  /** Events per second in the last whole window; 0 during the first. */
  rate(key: LimitKey): number {
    this.#windows.look()
    const { low, high } = this.#windows.sketch.hash(key)
    return (this.#count(this.#windows.previousBase, low, high) * 1000) / this.#intervalMs
  }

  /** What `compute` makes of the current and the previous window; see `proportionalRate`. */
  rateWith<T>(key: LimitKey, compute: (components: RateComponents) => T): T {
    const windows = this.#windows
    windows.look()
    const { low, high } = windows.sketch.hash(key)
    return compute({
      previousSamples: this.#count(windows.previousBase, low, high),
      currentSamples: this.#count(windows.currentBase, low, high),
      intervalMs: this.#intervalMs,
      currentIntervalFraction: windows.fraction,
    })
  }

  /** Events per second over the last `intervalMs`, estimated; the same as `rateWith(key, proportionalRate)`. */
  proportional(key: LimitKey): number {
    return this.rateWith(key, proportionalRate)
  }

  /** Sets all counts to zero. What other threads add meanwhile may stay or go. */
  reset(): void {
    this.#windows.reset()
  }

  #count(base: number, low: number, high: number): number {
    return base === -1 ? 0 : this.#windows.sketch.get(base, low, high)
  }
}

/**
 * Events per second over a window that ends now: the current window's events, and of the previous one's the share
 * that still lies in it, as if they had come evenly.
 */
export function proportionalRate(components: RateComponents): number {
  const { previousSamples, currentSamples, intervalMs, currentIntervalFraction } = components
  return ((previousSamples * (1 - currentIntervalFraction) + currentSamples) * 1000) / intervalMs
}
