import { inspect } from 'node:util'

/**
 * Decides whether a retry is affordable. Bring your own, take {@link TokenRetryBudget}, or share a `RetryBudget` of
 * `@cirque/load-balancing` between proxies.
 */
export interface RetryPermission {
  /** Called once per request. */
  recordRequest(): void
  /** Called before each retry; false means that the failure stands. */
  tryRetry(): boolean
}

/** Options of {@link TokenRetryBudget}. */
export interface TokenRetryBudgetOptions {
  /** Retries per request that are always affordable in the long run. Default 0.2. */
  readonly ratio?: number
  /** Retries per second that are affordable however few requests there are. Default 10. */
  readonly perSecondMin?: number
  /** Savings at most, in retries. Default 100. */
  readonly savedMax?: number
  /** A clock in milliseconds. Default `performance.now`. */
  readonly now?: () => number
}

/**
 * Keeps retries to a share of the requests, so that an outage upstream is not made worse by a storm of them.
 * A balance: each request pays in `ratio`, time pays in `perSecondMin` per second, each retry takes one out.
 */
export class TokenRetryBudget implements RetryPermission {
  readonly #ratio: number
  readonly #perMs: number
  readonly #savedMax: number
  readonly #now: () => number
  #balance: number
  #at: number

  /** @throws {RangeError} If a number is negative or not finite, or `savedMax` is below 1. */
  constructor(options: TokenRetryBudgetOptions = {}) {
    if (typeof options !== 'object' || options === null || Array.isArray(options)) {
      throw new TypeError(`The options of a retry budget must be an object, received ${inspect(options)}`)
    }
    for (const name of Object.keys(options)) {
      if (!['ratio', 'perSecondMin', 'savedMax', 'now'].includes(name)) {
        throw new TypeError(`Unknown option "${name}" of a retry budget`)
      }
    }
    const { ratio = 0.2, perSecondMin = 10, savedMax = 100, now = () => performance.now() } = options
    for (const [name, value] of Object.entries({ ratio, perSecondMin, savedMax })) {
      if (!Number.isFinite(value) || value < 0)
        throw new RangeError(`Retry budget's ${name} must not be negative, received ${value}`)
    }
    if (typeof now !== 'function') {
      throw new TypeError(`Retry budget's now must be a function, received ${inspect(now)}`)
    }
    if (savedMax < 1) throw new RangeError(`Retry budget's savedMax must be at least 1, received ${savedMax}`)
    this.#ratio = ratio
    this.#perMs = perSecondMin / 1_000
    this.#savedMax = savedMax
    this.#now = now
    this.#balance = Math.min(savedMax, perSecondMin)
    this.#at = now()
  }

  /** Retries that could be made right now. */
  get balance(): number {
    this.#refill()
    return Math.floor(this.#balance)
  }

  recordRequest(): void {
    this.#balance = Math.min(this.#savedMax, this.#balance + this.#ratio)
  }

  tryRetry(): boolean {
    this.#refill()
    if (this.#balance < 1) return false
    this.#balance -= 1
    return true
  }

  #refill(): void {
    const now = this.#now()
    this.#balance = Math.min(this.#savedMax, this.#balance + (now - this.#at) * this.#perMs)
    this.#at = now
  }
}
