import { integerIn, milliseconds, numberIn, onlyKeys } from '../check.ts'

/** When a backend's breaker opens, and how it closes again. */
export interface CircuitBreakerOptions {
  /** Fewest results in the window before it may open. From 1. Default 20. */
  readonly volumeMin?: number
  /** Share of failures in the window that opens it, in percent. Above 0 to 100. Default 50. */
  readonly failurePercent?: number
  /** Length of the window. Milliseconds, from 1. Default 10,000. */
  readonly windowMs?: number
  /** How long it stays open before probes are let through. Milliseconds, from 1. Default 5,000. */
  readonly openMs?: number
  /** Probes in flight at a time while half-open. From 1. Default 1. */
  readonly probesMax?: number
  /** Successful probes in a row that close it. From 1. Default 2. */
  readonly probeSuccessCount?: number
  /** A probe without a result is given up after this, so that a lost one cannot block. Milliseconds, from 1. Default 30,000. */
  readonly probeTimeoutMs?: number
}

/** The options with every default filled in. */
export type CircuitBreakerSettings = Required<CircuitBreakerOptions>

/** `closed`: all requests pass. `open`: none. `half-open`: a few probes, which decide. */
export type CircuitBreakerState = 'closed' | 'open' | 'half-open'

const OPTION_NAMES: readonly string[] = [
  'volumeMin',
  'failurePercent',
  'windowMs',
  'openMs',
  'probesMax',
  'probeSuccessCount',
  'probeTimeoutMs',
]

/** Checks the options and fills in the defaults. */
export function circuitBreakerSettings(options: CircuitBreakerOptions): CircuitBreakerSettings {
  onlyKeys('circuitBreaker', options, OPTION_NAMES)
  return {
    volumeMin: integerIn('volumeMin', options.volumeMin ?? 20, 1, Number.MAX_SAFE_INTEGER),
    failurePercent: numberIn('failurePercent', options.failurePercent ?? 50, 0.01, 100),
    windowMs: milliseconds('windowMs', options.windowMs ?? 10_000),
    openMs: milliseconds('openMs', options.openMs ?? 5_000),
    probesMax: integerIn('probesMax', options.probesMax ?? 1, 1, 1_000_000),
    probeSuccessCount: integerIn('probeSuccessCount', options.probeSuccessCount ?? 2, 1, 1_000_000),
    probeTimeoutMs: milliseconds('probeTimeoutMs', options.probeTimeoutMs ?? 30_000),
  }
}

/**
 * A circuit breaker over the requests of one backend. Pure: time comes in with each call.
 *
 * ```text
 * closed ── failures ≥ failurePercent of ≥ volumeMin in windowMs ──▶ open
 * open ── openMs passed ──▶ half-open
 * half-open ── probeSuccessCount successes in a row ──▶ closed
 * half-open ── one failure ──▶ open
 * ```
 * A result counts only for the state in which its request began, so a slow old failure cannot reopen it.
 */
export class CircuitBreaker {
  readonly #settings: CircuitBreakerSettings
  #state: CircuitBreakerState = 'closed'
  /** Changes at each change of state; a result with another epoch is ignored. */
  #epoch = 0
  #windowStart = Number.NEGATIVE_INFINITY
  #resultCount = 0
  #failureCount = 0
  /** Open: when probes may begin. Half-open with all probes out: when they are given up. Otherwise infinity. */
  #wakeAt = Number.POSITIVE_INFINITY
  #probesInFlight = 0
  #probeSuccesses = 0

  constructor(settings: CircuitBreakerSettings) {
    this.#settings = settings
  }

  get state(): CircuitBreakerState {
    return this.#state
  }

  /** Whether a request may begin now, as of the last call that had the time. */
  get admits(): boolean {
    if (this.#state === 'closed') return true
    return this.#state === 'half-open' && this.#probesInFlight < this.#settings.probesMax
  }

  /** When `advance` will have something to do; infinity if nothing depends on time. */
  get wakeAt(): number {
    return this.#wakeAt
  }

  /** Makes the moves that are due: open to half-open, and giving up lost probes. */
  advance(now: number): void {
    if (now < this.#wakeAt) return
    if (this.#state === 'open') this.#enter('half-open')
    else if (this.#state === 'half-open') {
      // Whatever these probes say later is of an older epoch.
      this.#epoch++
      this.#probesInFlight = 0
    }
    this.#wakeAt = Number.POSITIVE_INFINITY
  }

  /** A request begins, admitted or not; returns the epoch to hand to `end`. */
  begin(now: number): number {
    if (this.#state === 'half-open') {
      this.#probesInFlight++
      this.#wakeAt = now + this.#settings.probeTimeoutMs
    }
    return this.#epoch
  }

  /** A request ends: `undefined` says nothing about the backend, as when the client left. */
  end(ok: boolean | undefined, epoch: number, now: number): void {
    if (epoch !== this.#epoch) return
    if (this.#state === 'half-open') this.#endProbe(ok, now)
    else if (this.#state === 'closed' && ok !== undefined) this.#count(ok, now)
  }

  #endProbe(ok: boolean | undefined, now: number): void {
    this.#probesInFlight = Math.max(0, this.#probesInFlight - 1)
    if (this.#probesInFlight === 0) this.#wakeAt = Number.POSITIVE_INFINITY
    if (ok === undefined) return
    if (!ok) this.#open(now)
    else if (++this.#probeSuccesses >= this.#settings.probeSuccessCount) this.#enter('closed')
  }

  #count(ok: boolean, now: number): void {
    const settings = this.#settings
    if (now - this.#windowStart >= settings.windowMs) {
      this.#windowStart = now
      this.#resultCount = 0
      this.#failureCount = 0
    }
    this.#resultCount++
    if (ok) return
    this.#failureCount++
    if (
      this.#resultCount >= settings.volumeMin &&
      this.#failureCount * 100 >= settings.failurePercent * this.#resultCount
    ) {
      this.#open(now)
    }
  }

  #open(now: number): void {
    this.#enter('open')
    this.#wakeAt = now + this.#settings.openMs
  }

  #enter(state: CircuitBreakerState): void {
    this.#state = state
    this.#epoch++
    this.#wakeAt = Number.POSITIVE_INFINITY
    this.#windowStart = Number.NEGATIVE_INFINITY
    this.#resultCount = 0
    this.#failureCount = 0
    this.#probesInFlight = 0
    this.#probeSuccesses = 0
  }
}
