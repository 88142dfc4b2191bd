import { type CacheAnswer, EXPIRED, MISS } from './answer.ts'
import { checkNames } from './check.ts'
import { CACHE_OPTION_NAMES, EntryStore, type MemoryCacheOptions } from './entry-store.ts'

/** Counters of a {@link MemoryCache} since it was made. */
export interface MemoryCacheStats {
  readonly hits: number
  readonly misses: number
  readonly expired: number
  readonly stale: number
  /** Entries pushed out to make room. */
  readonly evictions: number
  /** Values that the policy turned away. */
  readonly rejections: number
}

/**
 * A bounded cache in memory, with a time to live per entry and a status for every answer.
 *
 * An expired entry is reported as such and stays until it is replaced or evicted, so that {@link MemoryCache.getStale}
 * can still give it out. There are no timers.
 */
export class MemoryCache<K extends NonNullable<unknown>, V> {
  readonly #store: EntryStore<K, V>
  #hits = 0
  #misses = 0
  #expired = 0
  #stale = 0

  /** @throws {TypeError | RangeError} If an option is wrong. */
  constructor(options: MemoryCacheOptions<K, V> = {}) {
    checkNames(options, CACHE_OPTION_NAMES)
    this.#store = new EntryStore(options)
  }

  /** How many entries there are, expired ones included. */
  get size(): number {
    return this.#store.policy.size
  }

  /** Their total weight; at most `weightMax`, or `entriesMax` without `weigh`. */
  get weight(): number {
    return this.#store.policy.weight
  }

  /** The value and how it was found: `hit`, `miss` or `expired`. Allocates nothing. */
  get(key: K): CacheAnswer<V> {
    const entry = this.#store.policy.get(key)
    if (entry === undefined) {
      this.#misses += 1
      return MISS
    }
    if (this.#store.isExpired(entry)) {
      this.#expired += 1
      return EXPIRED
    }
    this.#hits += 1
    return entry
  }

  /** As {@link MemoryCache.get}, but an expired value is given out too: status `stale`, with its age in `staleMs`. */
  getStale(key: K): CacheAnswer<V> {
    const entry = this.#store.policy.get(key)
    if (entry === undefined) {
      this.#misses += 1
      return MISS
    }
    if (this.#store.isExpired(entry)) {
      this.#stale += 1
      return { value: entry.value, status: 'stale', staleMs: this.#store.now() - entry.expiresAtMs }
    }
    this.#hits += 1
    return entry
  }

  /** The answers for several keys, in their order. */
  multiGet(keys: readonly K[]): CacheAnswer<V>[] {
    return keys.map((key) => this.get(key))
  }

  /**
   * Offers a value. The policy `tinyufo` may turn it away in favour of one that was put more often.
   *
   * @param ttlMs - Time to live; `Infinity` by default. 0 stores nothing, and removes what the key had.
   * @returns Whether the value is held now.
   * @throws {RangeError} If `ttlMs` or what `weigh` returns is out of range; the cache is unchanged.
   */
  put(key: K, value: V, ttlMs: number = Number.POSITIVE_INFINITY): boolean {
    return this.#store.write(key, value, ttlMs, false)
  }

  /** As {@link MemoryCache.put}, but a new value that fits is always let in. */
  forcePut(key: K, value: V, ttlMs: number = Number.POSITIVE_INFINITY): boolean {
    return this.#store.write(key, value, ttlMs, true)
  }

  /** Removes an entry. Returns whether there was one. */
  remove(key: K): boolean {
    return this.#store.policy.remove(key)
  }

  /** Removes everything. The counters go on. */
  clear(): void {
    this.#store.policy.clear()
  }

  /** The counters so far. */
  stats(): MemoryCacheStats {
    const { evictionCount, rejectionCount } = this.#store.policy
    return {
      hits: this.#hits,
      misses: this.#misses,
      expired: this.#expired,
      stale: this.#stale,
      evictions: evictionCount,
      rejections: rejectionCount,
    }
  }
}
