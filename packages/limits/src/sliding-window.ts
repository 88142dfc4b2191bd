import { checkCount, checkInteger, checkNames } from './check.ts'
import { checkName, Decision, type LimitPolicy } from './decision.ts'
import type { LimitKey } from './key-hash.ts'
import { openMemory, type TimedMemoryOptions } from './memory.ts'
import { checkSketch, type SketchOptions } from './sketch.ts'
import { Windows, windowsByteLength } from './windows.ts'

/** Options of {@link SlidingWindow}. */
export interface SlidingWindowOptions extends SketchOptions, TimedMemoryOptions {
  /** Units per window, an integer from 1 to 2^24. */
  readonly limit: number
  /** Length of the window in milliseconds, an integer from 1 to 2^31. */
  readonly windowMs: number
  /** Name in the header fields, printable ASCII. Default `default`. */
  readonly name?: string
}

const OPTION_NAMES: readonly string[] = ['limit', 'windowMs', 'name', 'rows', 'columns', 'memory', 'now']
const COLUMNS_DEFAULT = 4096
const WINDOW_MS_MAX = 2 ** 31

/** With this the additions of a hundred threads at once, taken back or not, stay below 2^31. */
const LIMIT_MAX = 2 ** 24

/**
 * A rate limit per key over a window that slides: at most `limit` units in the last `windowMs`, estimated from the
 * current and the previous fixed window as `proportionalRate` does.
 *
 * Memory is a sketch, 64 + 3 × rows × columns × 4 bytes, 192 KiB by default, whatever the number of keys. When keys
 * share counters a count is too high, never too low, so a flood of keys refuses too much, not too little. The
 * estimate takes the previous window's units as evenly spread; if they all came at its end, up to twice `limit` can
 * fall into one `windowMs`. Where a hard bound on bursts matters, use `Gcra` with a small `burst`.
 */
export class SlidingWindow {
  readonly #windows: Windows
  readonly #policy: LimitPolicy

  /** Bytes of `memory` that these options need. */
  static byteLength(options: SketchOptions = {}): number {
    const { rows, columns } = checkSketch(options, COLUMNS_DEFAULT)
    return windowsByteLength(rows, columns)
  }

  /**
   * @throws {RangeError} If an option is out of bounds or the memory does not fit.
   * @throws {TypeError} If `name` cannot stand in a header field.
   */
  constructor(options: SlidingWindowOptions) {
    checkNames(options, OPTION_NAMES)
    const { rows, columns } = checkSketch(options, COLUMNS_DEFAULT)
    const limit = checkInteger('limit', options.limit, 1, LIMIT_MAX)
    const windowMs = checkInteger('windowMs', options.windowMs, 1, WINDOW_MS_MAX)
    this.#policy = { name: checkName(options.name ?? 'default'), limit, windowMs }
    const layout = `SlidingWindow ${rows} ${columns} ${limit} ${windowMs}`
    const memory = openMemory(layout, windowsByteLength(rows, columns), options)
    this.#windows = new Windows(memory, rows, columns, windowMs, false)
  }

  /**
   * Takes `units` for `key` if they fit; a refused request takes nothing.
   *
   * With shared memory, threads that ask at the same moment may refuse each other where one would have fitted.
   *
   * @param units - An integer from 0, 1 by default. 0 only looks; more than `limit` never fit.
   * @throws {RangeError} If `units` is no such integer.
   */
  take(key: LimitKey, units: number = 1): Decision {
    checkCount('units', units)
    const windows = this.#windows
    const { limit } = this.#policy
    windows.enter()
    const { sketch, currentBase, previousBase, fraction } = windows
    const { low, high } = sketch.hash(key)
    const previous = previousBase === -1 ? 0 : sketch.get(previousBase, low, high)
    if (units > limit || units === 0) {
      const current = sketch.get(currentBase, low, high)
      return this.#decide(previous, current, fraction, units, units === 0)
    }
    const current = sketch.add(currentBase, low, high, units)
    const allowed = previous * (1 - fraction) + current <= limit
    if (allowed) return this.#decide(previous, current, fraction, units, true)
    sketch.addOnly(currentBase, low, high, -units)
    return this.#decide(previous, current - units, fraction, units, false)
  }

  /** What `take(key, 0)` says: the state of `key`, with nothing taken. */
  peek(key: LimitKey): Decision {
    return this.take(key, 0)
  }

  /** Forgets all keys. What other threads add meanwhile may stay or go. */
  reset(): void {
    this.#windows.reset()
  }

  #decide(previous: number, current: number, fraction: number, units: number, allowed: boolean): Decision {
    const policy = this.#policy
    const { limit, windowMs } = policy
    const remaining = Math.max(0, Math.floor(limit - previous * (1 - fraction) - current))
    // The current window's units are gone when the next one has passed.
    const resetMs = (current > 0 ? 2 - fraction : previous > 0 ? 1 - fraction : 0) * windowMs
    let retryAfterMs = 0
    if (units > limit) retryAfterMs = Number.POSITIVE_INFINITY
    else if (!allowed) retryAfterMs = waitWindows(previous, current, fraction, limit - units) * windowMs
    return new Decision(policy, allowed, remaining, retryAfterMs, resetMs)
  }
}

/** Windows to wait until no more than `room` is counted, if nothing else comes. */
function waitWindows(previous: number, current: number, fraction: number, room: number): number {
  // Within the current window the previous one's share shrinks to nothing; then the current one's does.
  if (current <= room) return Math.max(0, 1 - (room - current) / previous - fraction)
  return 1 - fraction + (1 - room / current)
}
