/**
 * How a cache came to its answer.
 *
 * - `hit`: the value was there and fresh.
 * - `miss`: nothing was there; a read-through cache has loaded it.
 * - `expired`: the entry's time to live was over; a read-through cache has loaded it anew.
 * - `lock-hit`: another call was loading the key already, and this one waited for its result.
 * - `stale`: an expired value, given out on purpose; `staleMs` says how long it has been expired.
 */
export type CacheStatus = 'hit' | 'miss' | 'expired' | 'lock-hit' | 'stale'

/** What a cache answers. A `hit` is the entry itself, so that it costs no allocation: do not change it. */
export interface CacheAnswer<V> {
  /** `undefined` when there is nothing: not cached, or (read-through) the loader says it does not exist. */
  readonly value: V | undefined
  readonly status: CacheStatus
  /** For `stale`: milliseconds since the value expired. 0 for every other status. */
  readonly staleMs: number
}

/** Whether the answer came out of the cache without a load of its own: `hit`, `lock-hit` or `stale`. */
export function isHit(status: CacheStatus): boolean {
  return status === 'hit' || status === 'lock-hit' || status === 'stale'
}

/** Shared answers without a value. */
export const MISS: CacheAnswer<never> = Object.freeze({ value: undefined, status: 'miss', staleMs: 0 })
export const EXPIRED: CacheAnswer<never> = Object.freeze({ value: undefined, status: 'expired', staleMs: 0 })
