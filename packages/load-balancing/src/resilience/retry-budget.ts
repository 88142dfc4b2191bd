import { functionOf, milliseconds, numberIn, onlyKeys } from '../check.ts'

/** Options of {@link RetryBudget}. */
export interface RetryBudgetOptions {
  /** Retries allowed for the requests of the window, in percent. 0 to 1,000. Default 20. */
  readonly percent?: number
  /** Retries per second that are allowed whatever the traffic, so that a quiet service can retry at all. From 0. Default 3. */
  readonly perSecondMin?: number
  /** Length of the window, in ten steps. Milliseconds, from 10. Default 10,000. */
  readonly windowMs?: number
  /** Monotonic milliseconds. Default `performance.now`. */
  readonly now?: () => number
}

/** Parts of the window: it moves on by a tenth at a time. */
const BUCKET_COUNT = 10

/**
 * Allows retries as a share of requests. When an upstream fails as a whole, retries then add a fifth to its load
 * instead of multiplying it. One for each group of backends that fail together. Memory is fixed; calls cost tens of
 * nanoseconds.
 *
 * @example
 * budget.recordRequest()                         // once per client request
 * if (failed && budget.tryRetry()) tryAnother()  // once per retry
 */
export class RetryBudget {
  readonly #percent: number
  readonly #perSecondMin: number
  readonly #bucketMs: number
  readonly #now: () => number
  readonly #requests: Float64Array = new Float64Array(BUCKET_COUNT)
  readonly #retries: Float64Array = new Float64Array(BUCKET_COUNT)
  #requestCount = 0
  #retryCount = 0
  /** Number of the present bucket since the clock's zero. */
  #bucket: number

  /**
   * @throws {TypeError} If an option is unknown.
   * @throws {RangeError} If a number is out of range.
   */
  constructor(options: RetryBudgetOptions = {}) {
    onlyKeys('RetryBudget', options, ['percent', 'perSecondMin', 'windowMs', 'now'])
    this.#percent = numberIn('percent', options.percent ?? 20, 0, 1_000)
    this.#perSecondMin = numberIn('perSecondMin', options.perSecondMin ?? 3, 0, Number.MAX_SAFE_INTEGER)
    this.#bucketMs = milliseconds('windowMs', options.windowMs ?? 10_000, 10) / BUCKET_COUNT
    this.#now = options.now === undefined ? () => performance.now() : functionOf('now', options.now)
    this.#bucket = Math.floor(this.#now() / this.#bucketMs)
  }

  /** Counts a request of a client. Call once per request, not per attempt. */
  recordRequest(): void {
    const index = this.#advance()
    this.#requests[index] = (this.#requests[index] as number) + 1
    this.#requestCount++
  }

  /** Takes a retry out of the budget, if there is one left. */
  tryRetry(): boolean {
    const index = this.#advance()
    if (this.#retryCount + 1 > this.#allowed()) return false
    this.#retries[index] = (this.#retries[index] as number) + 1
    this.#retryCount++
    return true
  }

  /** Retries left in the present window. */
  get left(): number {
    this.#advance()
    return Math.max(0, Math.floor(this.#allowed() - this.#retryCount))
  }

  #allowed(): number {
    const floor = (this.#perSecondMin * this.#bucketMs * BUCKET_COUNT) / 1_000
    return Math.max(floor, (this.#requestCount * this.#percent) / 100)
  }

  /** Forgets the buckets that have left the window; returns the place of the present one. */
  #advance(): number {
    const bucket = Math.max(this.#bucket, Math.floor(this.#now() / this.#bucketMs))
    if (bucket !== this.#bucket) {
      const first = Math.max(this.#bucket + 1, bucket - BUCKET_COUNT + 1)
      for (let old = first; old <= bucket; old++) {
        const index = old % BUCKET_COUNT
        this.#requestCount -= this.#requests[index] as number
        this.#retryCount -= this.#retries[index] as number
        this.#requests[index] = 0
        this.#retries[index] = 0
      }
      this.#bucket = bucket
    }
    return bucket % BUCKET_COUNT
  }
}
