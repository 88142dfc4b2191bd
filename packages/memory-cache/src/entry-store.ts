import type { CacheAnswer, CacheStatus } from './answer.ts'
import { checkDurationMs, checkFunction, checkInteger } from './check.ts'
import { type EvictionPolicy, LruPolicy, TinyUfoPolicy } from './eviction-policy.ts'

const ENTRIES_MAX_DEFAULT = 10_000
/** What `@cirque/tinyufo` holds at most, and what a V8 `Map` holds well. */
const ENTRIES_MAX_MOST = 2 ** 23
const WEIGHT_MOST = 2 ** 32 - 1

/** Of every cache here. */
export const CACHE_OPTION_NAMES: readonly string[] = [
  'entriesMax',
  'weigh',
  'weightMax',
  'policy',
  'now',
  'seed',
]

/** How a cache chooses what to keep. */
export type EvictionPolicyName = 'tinyufo' | 'lru'

/** Options of every cache here. Which keys are equal is decided as in a `Map`. */
export interface MemoryCacheOptions<K, V> {
  /** The largest number of entries; an integer from 1 to 8,388,608. Default: 10,000. */
  readonly entriesMax?: number
  /** What a value costs, in a unit of your choice (often bytes); an integer from 1 to 4,294,967,295. Default: 1 each. */
  readonly weigh?: (value: V, key: K) => number
  /** The largest total weight; goes with `weigh`, and is required then. */
  readonly weightMax?: number
  /**
   * `tinyufo` (the default) keeps what is read often, resists scans, and may turn a newcomer away.
   * `lru` keeps what was read last.
   */
  readonly policy?: EvictionPolicyName
  /** The time in milliseconds, from any origin, never running backwards. Default: `performance.now`. */
  readonly now?: () => number
  /** Makes the choices of `tinyufo` repeatable, for tests. An integer; random by default. */
  readonly seed?: number
}

/** One cached value. It serves as the answer of a hit, so that a hit allocates nothing. */
export class Entry<V> implements CacheAnswer<V> {
  readonly value: V
  readonly status: CacheStatus = 'hit'
  readonly staleMs: number = 0
  /** Private, so that an answer shows and compares as value, status and staleMs alone. */
  readonly #expiresAtMs: number
  /** `undefined` takes no memory of its own, as a number with a fraction would. */
  #retryAtMs: number | undefined = undefined

  constructor(value: V, expiresAtMs: number) {
    this.value = value
    this.#expiresAtMs = expiresAtMs
  }

  /** `Infinity` for never. At this very millisecond the entry is expired. */
  get expiresAtMs(): number {
    return this.#expiresAtMs
  }

  /** After a failed load: when to try the next one. */
  get retryAtMs(): number {
    return this.#retryAtMs ?? Number.NEGATIVE_INFINITY
  }

  postpone(retryAtMs: number): void {
    this.#retryAtMs = retryAtMs
  }
}

/** Entries with an expiry, held by an eviction policy. */
export class EntryStore<K extends NonNullable<unknown>, V> {
  readonly now: () => number
  readonly policy: EvictionPolicy<K, Entry<V>>
  readonly weightMax: number
  readonly #weigh: ((value: V, key: K) => number) | undefined

  constructor(options: MemoryCacheOptions<K, V>) {
    const { entriesMax = ENTRIES_MAX_DEFAULT, weigh, weightMax, policy = 'tinyufo', now, seed } = options
    checkInteger('entriesMax', entriesMax, 1, ENTRIES_MAX_MOST)
    checkFunction('weigh', weigh)
    checkFunction('now', now)
    if (seed !== undefined) checkInteger('seed', seed, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)
    if (weightMax !== undefined) checkInteger('weightMax', weightMax, 1, Number.MAX_SAFE_INTEGER)
    if ((weigh === undefined) !== (weightMax === undefined)) {
      throw new TypeError(
        `weigh and weightMax go together, received ${String(weigh)} and ${String(weightMax)}`,
      )
    }
    if (policy !== 'tinyufo' && policy !== 'lru') {
      throw new TypeError(`policy must be "tinyufo" or "lru", received ${String(policy)}`)
    }
    const limits = { entriesMax, weightMax, seed }
    this.policy = policy === 'lru' ? new LruPolicy(limits) : new TinyUfoPolicy(limits)
    this.now = now ?? (() => performance.now())
    this.weightMax = weightMax ?? entriesMax
    this.#weigh = weigh
  }

  /** Whether an entry's time is over. Reads the clock only if the entry can expire. */
  isExpired(entry: Entry<V>): boolean {
    return entry.expiresAtMs !== Number.POSITIVE_INFINITY && this.now() >= entry.expiresAtMs
  }

  /**
   * Stores a value in place of what the key had. With `ttlMs` 0, and when it is heavier than `weightMax`, it is not
   * stored, and the old value is removed all the same: it is out of date.
   *
   * @returns Whether the value is held now.
   */
  write(key: K, value: V, ttlMs: number, force: boolean): boolean {
    checkDurationMs('ttlMs', ttlMs)
    const weight = this.#weigh === undefined ? 1 : this.#weigh(value, key)
    checkInteger('weigh()', weight, 1, WEIGHT_MOST)
    if (ttlMs === 0 || weight > this.weightMax) {
      this.policy.remove(key)
      return false
    }
    const expiresAtMs = ttlMs === Number.POSITIVE_INFINITY ? ttlMs : this.now() + ttlMs
    return this.policy.put(key, new Entry(value, expiresAtMs), weight, force)
  }
}
