import { type CacheAnswer, EXPIRED, MISS } from './answer.ts'
import { type Entry, EntryStore } from './entry-store.ts'
import type { MissStatus, Waiter } from './load.ts'
import { LoadBoard } from './load-board.ts'
import {
  checkReadOptions,
  type Loaded,
  type ReadOptions,
  type ReadThroughOptions,
  type ReadThroughSettings,
  readSettings,
} from './read-through-options.ts'
import { ReadThroughCounters, type ReadThroughStats } from './read-through-stats.ts'

/** Stands in the store for "the loader found nothing". */
const NOT_FOUND: unique symbol = Symbol('not found')
const NOT_FOUND_HIT: CacheAnswer<never> = Object.freeze({ value: undefined, status: 'hit', staleMs: 0 })
const NO_OPTIONS: ReadOptions<never> = Object.freeze({})

type Stored<V> = V | typeof NOT_FOUND

/**
 * A memory cache that loads what it does not hold, one load per key at a time.
 *
 * Calls that come while a key is being loaded wait for that load. One that waited `lockTimeoutMs`, or finds the load
 * older than `lockAgeMs`, loads by itself, and its result is not kept; at most `lockBypassesMax` calls do. When the load of another call fails, a waiting
 * call tries once more, again with one load for all of them; the second failure is its answer.
 *
 * A loaded value is always let in, whatever the policy thinks of it. All waits end: by the load, by `loadTimeoutMs`,
 * or by the caller's signal. A failure in the background never becomes an unhandled rejection.
 */
export class ReadThroughCache<K extends NonNullable<unknown>, V, X = undefined> {
  readonly #settings: ReadThroughSettings
  readonly #isBatching: boolean
  readonly #store: EntryStore<K, Stored<V>>
  readonly #counters: ReadThroughCounters = new ReadThroughCounters()
  readonly #board: LoadBoard<K, V, X>

  /** @throws {TypeError | RangeError} If an option is wrong. */
  constructor(options: ReadThroughOptions<K, V, X>) {
    this.#settings = readSettings(options)
    this.#isBatching = options.loadMany !== undefined
    const { weigh, ...rest } = options
    this.#store = new EntryStore<K, Stored<V>>({
      ...rest,
      ...(typeof weigh === 'function'
        ? { weigh: (value, key) => (value === NOT_FOUND ? 1 : weigh(value, key)) }
        : weigh === undefined
          ? {}
          : { weigh }),
    })
    this.#board = new LoadBoard(options, this.#settings, this.#store.now, this.#counters, {
      keep: (key, loaded) => this.#keep(key, loaded),
      postpone: (key) => this.#postpone(key),
      fallback: (key, readOptions) => this.#fallback(key, readOptions),
    })
  }

  /** How many entries there are, expired and negative ones included. */
  get size(): number {
    return this.#store.policy.size
  }

  /** Their total weight; a negative entry weighs 1. */
  get weight(): number {
    return this.#store.policy.weight
  }

  /**
   * The value of a key, from memory or from the loader. A value at hand comes back at once, not as a promise, so that
   * a hot path need not wait for one; `await` takes both.
   *
   * `value` is `undefined` when the loader found nothing. The promise rejects with a `CacheLoadError` when there is
   * neither a value nor a stale one to give out, and with the reason of `options.signal`.
   *
   * @throws {RangeError} If a duration in `options` is out of range.
   * @throws {TypeError} If `signal` is no `AbortSignal`.
   */
  get(key: K, options: ReadOptions<X> = NO_OPTIONS): CacheAnswer<V> | Promise<CacheAnswer<V>> {
    checkReadOptions(options)
    const entry = this.#store.policy.get(key)
    if (entry === undefined) return this.#board.wait(key, options, 'miss')
    const answer = this.#answerFrom(entry, options)
    if (answer === undefined) return this.#board.wait(key, options, 'expired')
    if (answer.status === 'stale' && this.#mayRefresh(key, entry)) {
      this.#board.start('refresh', [key], [], options.extra)
    }
    return answer
  }

  /**
   * The answers for several keys, in their order. What is missing and not yet being loaded goes to one call of
   * `loadMany`. Rejects if any key fails; what was loaded all the same is kept.
   *
   * @throws {RangeError} If a duration in `options` is out of range.
   * @throws {TypeError} If `signal` is no `AbortSignal`.
   */
  multiGet(keys: readonly K[], options: ReadOptions<X> = NO_OPTIONS): Promise<CacheAnswer<V>[]> {
    checkReadOptions(options)
    if (!this.#isBatching) return Promise.all(keys.map((key) => this.get(key, options)))

    const answers: (CacheAnswer<V> | Promise<CacheAnswer<V>> | undefined)[] = []
    const batch = new Map<K, Waiter<K, V, X>>()
    const refreshes = new Set<K>()
    for (const key of keys) {
      const entry = this.#store.policy.get(key)
      const answer = entry && this.#answerFrom(entry, options)
      if (entry !== undefined && answer?.status === 'stale' && this.#mayRefresh(key, entry)) {
        refreshes.add(key)
      }
      if (
        answer === undefined &&
        !batch.has(key) &&
        !this.#board.isLocked(key) &&
        this.#board.mayWait(options)
      ) {
        const waiter = this.#board.createWaiter(key, options, missStatusOf(entry))
        batch.set(key, waiter)
        answers.push(waiter.promise)
      } else {
        answers.push(answer)
      }
    }
    if (batch.size > 0) {
      this.#board.start('batch', [...batch.keys()], [...batch.values()], options.extra)
    }
    if (refreshes.size > 0) this.#board.start('refresh-batch', [...refreshes], [], options.extra)
    // What is left is a key given twice, or one under way: it joins the load that exists by now.
    return Promise.all(keys.map((key, index) => answers[index] ?? this.#join(key, options)))
  }

  /** What is in memory, without loading, waiting or counting: `hit`, `miss` or `expired`. */
  peek(key: K): CacheAnswer<V> {
    const entry = this.#store.policy.peek(key)
    if (entry === undefined) return MISS
    return this.#store.isExpired(entry) ? EXPIRED : hitOf(entry)
  }

  /**
   * Stores a value from elsewhere. A load of the key that is under way still answers those who wait for it, but its
   * result is not kept.
   *
   * @param ttlMs - The option `ttlMs` by default. 0 stores nothing, and removes what the key had.
   * @returns Whether the value is held now.
   * @throws {RangeError} If `ttlMs` or what `weigh` returns is out of range; nothing has changed then.
   */
  put(key: K, value: V, ttlMs: number = this.#settings.ttlMs): boolean {
    const isHeld = this.#store.write(key, value, ttlMs, true)
    this.#board.detach(key)
    return isHeld
  }

  /** Removes an entry; calls from now on load anew, also if a load is under way. Returns whether there was one. */
  remove(key: K): boolean {
    this.#board.detach(key)
    return this.#store.policy.remove(key)
  }

  /** Removes everything, as {@link ReadThroughCache.remove} does for each key. The counters go on. */
  clear(): void {
    this.#board.detachAll()
    this.#store.policy.clear()
  }

  /** The counters since the beginning, and what is under way. */
  stats(): ReadThroughStats {
    return {
      ...this.#counters,
      evictions: this.#store.policy.evictionCount,
      loading: this.#board.loadCount,
      waiting: this.#board.waiterCount,
    }
  }

  #join(key: K, options: ReadOptions<X>): Promise<CacheAnswer<V>> {
    return this.#board.wait(key, options, missStatusOf(this.#store.policy.peek(key)))
  }

  /** What an entry answers right now: a hit, a stale value, or `undefined` when it must be loaded first. */
  #answerFrom(entry: Entry<Stored<V>>, options: ReadOptions<X>): CacheAnswer<V> | undefined {
    if (!this.#store.isExpired(entry)) {
      if (entry.value === NOT_FOUND) this.#counters.negativeHits += 1
      else this.#counters.hits += 1
      return hitOf(entry)
    }
    const answer = this.#staleOf(
      entry,
      options.staleWhileRevalidateMs ?? this.#settings.staleWhileRevalidateMs,
    )
    // A load failed a moment ago: the next call should not have to wait for it to fail again.
    if (answer !== undefined || this.#store.now() >= entry.retryAtMs) return answer
    return this.#staleOf(entry, options.staleIfErrorMs ?? this.#settings.staleIfErrorMs)
  }

  #staleOf(entry: Entry<Stored<V>>, staleMsMax: number): CacheAnswer<V> | undefined {
    const { value } = entry
    const staleMs = this.#store.now() - entry.expiresAtMs
    if (staleMsMax === 0 || staleMs > staleMsMax || value === NOT_FOUND) return undefined
    this.#counters.stale += 1
    return { value: value as V, status: 'stale', staleMs }
  }

  #mayRefresh(key: K, entry: Entry<Stored<V>>): boolean {
    return !this.#board.isLocked(key) && this.#store.now() >= entry.retryAtMs
  }

  #keep(key: K, loaded: Loaded<V> | undefined): void {
    if (loaded === undefined) this.#store.write(key, NOT_FOUND, this.#settings.negativeTtlMs, true)
    else this.#store.write(key, loaded.value, loaded.ttlMs ?? this.#settings.ttlMs, true)
  }

  #postpone(key: K): void {
    this.#store.policy.peek(key)?.postpone(this.#store.now() + this.#settings.retryAfterErrorMs)
  }

  /** A value put meanwhile, or a stale one within `staleIfErrorMs`. */
  #fallback(key: K, options: ReadOptions<X>): CacheAnswer<V> | undefined {
    const entry = this.#store.policy.peek(key)
    if (entry === undefined) return undefined
    if (!this.#store.isExpired(entry)) return hitOf(entry)
    return this.#staleOf(entry, options.staleIfErrorMs ?? this.#settings.staleIfErrorMs)
  }
}

/** An entry serves as its own answer, but the mark for "not found" must not get out. */
function hitOf<V>(entry: Entry<Stored<V>>): CacheAnswer<V> {
  return entry.value === NOT_FOUND ? NOT_FOUND_HIT : (entry as CacheAnswer<V>)
}

function missStatusOf(entry: object | undefined): MissStatus {
  return entry === undefined ? 'miss' : 'expired'
}
