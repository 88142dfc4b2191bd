import { integerIn, milliseconds, numberIn, onlyKeys } from '../check.ts'

/** When a backend that fails real requests is taken out, and for how long. */
export interface OutlierOptions {
  /** Failures in a row that eject. From 1; 0 turns this rule off. Default 5. */
  readonly consecutiveFailure?: number
  /** Share of failures within `windowMs` that ejects, in percent. Above 0 to 100; 0 turns this rule off. Default 0. */
  readonly failurePercent?: number
  /** Fewest results in the window before `failurePercent` is looked at. From 1. Default 50. */
  readonly volumeMin?: number
  /** Length of the window. Milliseconds, from 1. Default 10,000. */
  readonly windowMs?: number
  /** First ejection; each further one is twice as long. Milliseconds, from 1. Default 30,000. */
  readonly ejectionMs?: number
  /** Longest ejection. Milliseconds, at least `ejectionMs`. Default 300,000. */
  readonly ejectionMsMax?: number
  /** Most backends of a priority group that are ejected at a time, in percent, but always one. 0 to 100. Default 50. */
  readonly ejectionPercentMax?: number
}

/** The options with every default filled in. */
export type OutlierSettings = Required<OutlierOptions>

const OPTION_NAMES: readonly string[] = [
  'consecutiveFailure',
  'failurePercent',
  'volumeMin',
  'windowMs',
  'ejectionMs',
  'ejectionMsMax',
  'ejectionPercentMax',
]

/** Checks the options and fills in the defaults. */
export function outlierSettings(options: OutlierOptions): OutlierSettings {
  onlyKeys('outlier', options, OPTION_NAMES)
  const ejectionMs = milliseconds('ejectionMs', options.ejectionMs ?? 30_000)
  return {
    consecutiveFailure: integerIn('consecutiveFailure', options.consecutiveFailure ?? 5, 0, 1_000_000),
    failurePercent: numberIn('failurePercent', options.failurePercent ?? 0, 0, 100),
    volumeMin: integerIn('volumeMin', options.volumeMin ?? 50, 1, Number.MAX_SAFE_INTEGER),
    windowMs: milliseconds('windowMs', options.windowMs ?? 10_000),
    ejectionMs,
    ejectionMsMax: milliseconds(
      'ejectionMsMax',
      options.ejectionMsMax ?? Math.max(300_000, ejectionMs),
      ejectionMs,
    ),
    ejectionPercentMax: numberIn('ejectionPercentMax', options.ejectionPercentMax ?? 50, 0, 100),
  }
}

/**
 * What the proxy saw of one backend. `observe` says when it deserves ejection; whether it is ejected is decided by
 * the balancer, which knows how many others are left.
 */
export class OutlierState {
  readonly #settings: OutlierSettings
  #failuresInRow = 0
  #windowStart = Number.NEGATIVE_INFINITY
  #resultCount = 0
  #failureCount = 0
  /** Doublings of the next ejection; decays while the backend behaves. */
  #ejectionCount = 0
  #ejectedUntil = 0
  #ejectionMs = 0

  constructor(settings: OutlierSettings) {
    this.#settings = settings
  }

  /** When the present or last ejection ends, in the clock's milliseconds. */
  get ejectedUntil(): number {
    return this.#ejectedUntil
  }

  /** Takes a result of a request; returns whether the backend deserves ejection. */
  observe(ok: boolean, now: number): boolean {
    const settings = this.#settings
    if (now - this.#windowStart >= settings.windowMs) {
      this.#windowStart = now
      this.#resultCount = 0
      this.#failureCount = 0
    }
    this.#resultCount++
    if (ok) {
      this.#failuresInRow = 0
      return false
    }
    this.#failuresInRow++
    this.#failureCount++
    if (settings.consecutiveFailure > 0 && this.#failuresInRow >= settings.consecutiveFailure) return true
    return (
      settings.failurePercent > 0 &&
      this.#resultCount >= settings.volumeMin &&
      this.#failureCount * 100 >= settings.failurePercent * this.#resultCount
    )
  }

  /** Starts an ejection; returns its length in milliseconds. */
  eject(now: number): number {
    const { ejectionMs, ejectionMsMax } = this.#settings
    if (this.#ejectionCount > 0) {
      // Each stretch of good behaviour as long as the last ejection takes one doubling back.
      const goodMs = Math.max(0, now - this.#ejectedUntil)
      this.#ejectionCount = Math.max(0, this.#ejectionCount - Math.floor(goodMs / this.#ejectionMs))
    }
    this.#ejectionMs = Math.min(ejectionMsMax, ejectionMs * 2 ** Math.min(this.#ejectionCount, 32))
    this.#ejectionCount = Math.min(this.#ejectionCount + 1, 32)
    this.#ejectedUntil = now + this.#ejectionMs
    this.#failuresInRow = 0
    this.#resultCount = 0
    this.#failureCount = 0
    this.#windowStart = Number.NEGATIVE_INFINITY
    return this.#ejectionMs
  }
}
