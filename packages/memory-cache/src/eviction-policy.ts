import { type Evicted, TinyUfo } from '@cirque/tinyufo'
import { LRUCache } from 'lru-cache'

/** Decides which entries stay. `EntryStore` calls it on every read and write; weights are integers from 1. */
export interface EvictionPolicy<K, E> {
  readonly size: number
  /** Total weight; entries that do not say otherwise weigh 1. */
  readonly weight: number
  /** Entries pushed out to make room, and entries not let in, since the beginning. */
  readonly evictionCount: number
  readonly rejectionCount: number
  /** Counts as a use of the entry. */
  get(key: K): E | undefined
  /** Does not count as a use. */
  peek(key: K): E | undefined
  /** `weight` is at most the limit. With `force` the entry is always held afterwards. Returns whether the entry is held now. */
  put(key: K, entry: E, weight: number, force: boolean): boolean
  remove(key: K): boolean
  clear(): void
}

/** What every policy is made with. */
export interface EvictionLimits {
  readonly entriesMax: number
  /** `undefined` when every entry weighs 1. */
  readonly weightMax: number | undefined
  readonly seed: number | undefined
}

/** Least recently used, on lru-cache. */
export class LruPolicy<K extends NonNullable<unknown>, E extends object> implements EvictionPolicy<K, E> {
  readonly #cache: LRUCache<K, E>
  readonly #isWeighed: boolean
  evictionCount = 0
  readonly rejectionCount: number = 0

  constructor({ entriesMax, weightMax }: EvictionLimits) {
    this.#isWeighed = weightMax !== undefined
    this.#cache = new LRUCache<K, E>({
      max: entriesMax,
      ...(weightMax === undefined ? {} : { maxSize: weightMax }),
      dispose: (_entry, _key, reason) => {
        if (reason === 'evict') this.evictionCount += 1
      },
    })
  }

  get size(): number {
    return this.#cache.size
  }

  get weight(): number {
    return this.#isWeighed ? this.#cache.calculatedSize : this.#cache.size
  }

  get(key: K): E | undefined {
    return this.#cache.get(key)
  }

  peek(key: K): E | undefined {
    return this.#cache.peek(key)
  }

  put(key: K, entry: E, weight: number): boolean {
    if (this.#isWeighed) this.#cache.set(key, entry, { size: weight })
    else this.#cache.set(key, entry)
    return true
  }

  remove(key: K): boolean {
    return this.#cache.delete(key)
  }

  clear(): void {
    this.#cache.clear()
  }
}

/** TinyUFO: keeps what is read often, and may turn a newcomer away. */
export class TinyUfoPolicy<K, E extends object> implements EvictionPolicy<K, E> {
  readonly #cache: TinyUfo<K, E>
  evictionCount = 0
  rejectionCount = 0

  constructor({ entriesMax, weightMax = entriesMax, seed }: EvictionLimits) {
    this.#cache = new TinyUfo<K, E>({
      weightLimit: weightMax,
      estimatedSize: entriesMax,
      entriesMax,
      ...(seed === undefined ? {} : { seed }),
    })
  }

  get size(): number {
    return this.#cache.size
  }

  get weight(): number {
    return this.#cache.weight
  }

  get(key: K): E | undefined {
    return this.#cache.get(key)
  }

  peek(key: K): E | undefined {
    return this.#cache.peek(key)
  }

  put(key: K, entry: E, weight: number, force: boolean): boolean {
    if (!force) return this.#count(this.#cache.put(key, entry, weight), entry)
    if (this.#count(this.#cache.forcePut(key, entry, weight), entry)) return true
    // A heavier value for an old key was its own victim. As a newcomer it is let in.
    this.rejectionCount -= 1
    return this.#count(this.#cache.forcePut(key, entry, weight), entry)
  }

  remove(key: K): boolean {
    return this.#cache.remove(key) !== undefined
  }

  clear(): void {
    this.#cache.clear()
  }

  /** Counts what left, and returns whether `entry` is not among it. */
  #count(evicted: readonly Evicted<K, E>[], entry: E): boolean {
    let isHeld = true
    for (const { value } of evicted) {
      if (value === entry) isHeld = false
      else this.evictionCount += 1
    }
    if (!isHeld) this.rejectionCount += 1
    return isHeld
  }
}
