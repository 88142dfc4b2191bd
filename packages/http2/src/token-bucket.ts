/**
 * Allows `burst` events at once and `perSecond` of them in the long run. What a peer may do of its own accord
 * but not without end: resets, pings, settings.
 */
export class TokenBucket {
  readonly #burst: number
  readonly #perMs: number
  #tokens: number
  #at: number

  /** @param now - The time in milliseconds, monotonic. */
  constructor(burst: number, perSecond: number, now: number = performance.now()) {
    this.#burst = burst
    this.#perMs = perSecond / 1_000
    this.#tokens = burst
    this.#at = now
  }

  /** Takes one event; false when there were too many. */
  take(now: number = performance.now()): boolean {
    this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#at) * this.#perMs)
    this.#at = now
    if (this.#tokens < 1) return false
    this.#tokens--
    return true
  }
}
