import { createKeyHash, type KeyHash, mix } from './key-hash.ts'
import { FrequencySketch } from './sketch.ts'
import { NO_SLOT, SlotQueue } from './slot-queue.ts'
import { SlotTable } from './slot-table.ts'

/** A V8 `Map` throws past 2^24 slots, and needs half of them free so that steady deletion never makes it grow. */
const ENTRIES_MAX = 2 ** 23
const ESTIMATED_SIZE_DEFAULT_MAX = 2 ** 20
const WEIGHT_MAX = 2 ** 32 - 1
/** More reads than this say nothing more about an entry (S3-FIFO). */
const USES_MAX = 3
const SMALL_SHARE = 0.1
/** How many entries of each queue one eviction may pass over, so that no `put` stalls the loop. */
const SWEEP_MAX = 4096

/** Options of {@link TinyUfo}. */
export interface TinyUfoOptions<K> {
  /** The largest total weight. An integer from 1; with the default weight of 1 it is the number of entries. */
  readonly weightLimit: number
  /**
   * About how many entries the cache will hold: it sizes the frequency sketch at 11.6 bytes per entry, which are
   * allocated at once. An integer from 1 to 8,388,608. Default: `weightLimit`, at most 1,048,576. Give it when
   * weights are bytes: then it is much smaller than `weightLimit`.
   */
  readonly estimatedSize?: number
  /** The largest number of entries, whatever their weight. An integer from 1 to 8,388,608, which is the default. */
  readonly entriesMax?: number
  /**
   * Hashes a key for the frequency sketch; any integer, once per `put`. Default: strings and numbers by content,
   * objects by identity. It only decides how well entries are chosen: two keys with one hash stay two entries.
   */
  readonly hash?: (key: K) => number
  /** Makes the default hash repeatable, for tests and benches. An integer; random by default. */
  readonly seed?: number
}

/** An entry that was pushed out, or was not let in. */
export interface Evicted<K, V> {
  readonly key: K
  readonly value: V
  readonly weight: number
}

const OPTION_NAMES: readonly string[] = ['weightLimit', 'estimatedSize', 'entriesMax', 'hash', 'seed']

/**
 * A cache with S3-FIFO eviction and TinyLFU admission: it keeps what is read often, and a scan cannot flush it.
 *
 * A new entry starts in a small queue that holds a tenth of the weight. Entries that were read twice or more move
 * on to the main queue; the others leave. A newcomer that would push out an entry which has been put more often is
 * itself turned away. Every operation takes constant time, amortised over the reads; memory is bounded by
 * `entriesMax`, `weightLimit` and `estimatedSize`.
 *
 * Keys are compared as in a `Map`, by value; the sketch, which holds hashes only, never decides what a key returns.
 */
export class TinyUfo<K, V> {
  readonly weightLimit: number
  readonly entriesMax: number
  readonly estimatedSize: number
  readonly #hash: KeyHash
  readonly #sketch: FrequencySketch
  readonly #smallWeightLimit: number
  readonly #slots: Map<K, number> = new Map()
  #table: SlotTable<K, V> = new SlotTable()
  #small: SlotQueue = new SlotQueue(this.#table.links)
  #main: SlotQueue = new SlotQueue(this.#table.links)

  /**
   * @throws {RangeError} If a limit is not an integer in its range.
   * @throws {TypeError} If an option is unknown, or `hash` is not a function.
   */
  constructor(options: TinyUfoOptions<K>) {
    if (typeof options !== 'object' || options === null || Array.isArray(options)) {
      throw new TypeError(`The options must be an object, received ${String(options)}`)
    }
    for (const name of Object.keys(options)) {
      if (OPTION_NAMES.includes(name)) continue
      throw new TypeError(`Unknown option "${name}"; known are ${OPTION_NAMES.join(', ')}`)
    }
    const { weightLimit, entriesMax = ENTRIES_MAX, hash, seed } = options
    const { estimatedSize = Math.min(weightLimit, ESTIMATED_SIZE_DEFAULT_MAX) } = options
    checkInteger('weightLimit', weightLimit, 1, Number.MAX_SAFE_INTEGER)
    checkInteger('entriesMax', entriesMax, 1, ENTRIES_MAX)
    checkInteger('estimatedSize', estimatedSize, 1, ENTRIES_MAX)
    if (seed !== undefined) checkInteger('seed', seed, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)
    this.weightLimit = weightLimit
    this.entriesMax = entriesMax
    this.estimatedSize = estimatedSize
    this.#hash = hash === undefined ? createKeyHash(seed ?? randomSeed()) : userHash(hash)
    this.#sketch = new FrequencySketch(estimatedSize)
    this.#smallWeightLimit = Math.floor(weightLimit * SMALL_SHARE) + 1
  }

  /** How many entries there are. */
  get size(): number {
    return this.#slots.size
  }

  /** Their total weight: never above `weightLimit`. */
  get weight(): number {
    return this.#small.weight + this.#main.weight
  }

  /** The value of `key`, or `undefined`; counts as a use of the entry. */
  get(key: K): V | undefined {
    const slot = this.#slots.get(key)
    if (slot === undefined) return undefined
    const { uses, values } = this.#table
    const count = uses[slot] as number
    if (count < USES_MAX) uses[slot] = count + 1
    return values[slot]
  }

  /** As {@link TinyUfo.get}, but does not count as a use. */
  peek(key: K): V | undefined {
    const slot = this.#slots.get(key)
    return slot === undefined ? undefined : this.#table.values[slot]
  }

  /** Whether `key` has an entry; does not count as a use. */
  has(key: K): boolean {
    return this.#slots.has(key)
  }

  /**
   * Offers an entry. When room must be made and the one entry in the way has been put more often, the newcomer is
   * turned away: it comes back in the result, as does an entry heavier than `weightLimit`.
   *
   * An existing key gets the new value and weight and keeps its place in the queue. If its new weight needs room,
   * the entry itself may be the one that leaves.
   *
   * @param weight - An integer from 1 to 4,294,967,295; 1 by default.
   * @returns What left the cache or was not let in, often nothing. The old value of a replaced key is not part of it.
   * @throws {RangeError} If `weight` is out of range; the cache is unchanged.
   */
  put(key: K, value: V, weight = 1): readonly Evicted<K, V>[] {
    return this.#admit(key, value, weight, false)
  }

  /**
   * As {@link TinyUfo.put}, but a newcomer that fits is always let in. For values that someone is waiting to read;
   * it costs about one percentage point of hit ratio (`bench/hit-ratio.bench.ts`).
   */
  forcePut(key: K, value: V, weight = 1): readonly Evicted<K, V>[] {
    return this.#admit(key, value, weight, true)
  }

  /** Removes an entry and returns its value, or `undefined`. */
  remove(key: K): V | undefined {
    const slot = this.#slots.get(key)
    if (slot === undefined) return undefined
    const value = this.#table.values[slot]
    this.#dequeue(slot)
    this.#slots.delete(key)
    this.#table.release(slot)
    return value
  }

  /** Removes everything and forgets how often keys were put. */
  clear(): void {
    this.#slots.clear()
    this.#table = new SlotTable()
    this.#small = new SlotQueue(this.#table.links)
    this.#main = new SlotQueue(this.#table.links)
    this.#sketch.clear()
  }

  #admit(key: K, value: V, weight: number, force: boolean): readonly Evicted<K, V>[] {
    checkInteger('weight', weight, 1, WEIGHT_MAX)
    // A user's hash may throw: it runs before anything changes.
    const hash = this.#hash(key)
    const frequency = this.#sketch.increment(hash)
    const slot = this.#slots.get(key)
    if (weight > this.weightLimit) {
      // The old value must not outlive its replacement.
      if (slot !== undefined) this.remove(key)
      return [{ key, value, weight }]
    }
    if (slot !== undefined) return this.#replace(slot, value, weight)
    if (!this.#isOver(weight, 1)) {
      this.#insert(key, value, weight, hash)
      return NOTHING
    }
    const victim = this.#dequeueVictim()
    const isAlone = !this.#isOver(weight, 0)
    if (isAlone && !force && this.#sketch.estimate(this.#table.hashes[victim] as number) > frequency) {
      this.#enqueueSmall(victim)
      return [{ key, value, weight }]
    }
    const evicted = [this.#discard(victim)]
    while (this.#isOver(weight, 1)) evicted.push(this.#discard(this.#dequeueVictim()))
    this.#insert(key, value, weight, hash)
    return evicted
  }

  #insert(key: K, value: V, weight: number, hash: number): void {
    const slot = this.#table.acquire(key, value, weight, hash)
    this.#slots.set(key, slot)
    this.#small.push(slot, weight)
  }

  #replace(slot: number, value: V, weight: number): readonly Evicted<K, V>[] {
    const { uses, values, weights, inMain } = this.#table
    const count = uses[slot] as number
    if (count < USES_MAX) uses[slot] = count + 1
    values[slot] = value
    const queue = inMain[slot] === 1 ? this.#main : this.#small
    queue.weight += weight - (weights[slot] as number)
    weights[slot] = weight
    if (!this.#isOver(0, 0)) return NOTHING
    const evicted: Evicted<K, V>[] = []
    while (this.#isOver(0, 0)) evicted.push(this.#discard(this.#dequeueVictim()))
    return evicted
  }

  /** Whether adding this much would go past a limit. */
  #isOver(weight: number, count: number): boolean {
    return this.weight + weight > this.weightLimit || this.#slots.size + count > this.entriesMax
  }

  /** Chooses the entry to evict and takes it out of its queue. There must be at least one entry. */
  #dequeueVictim(): number {
    if (this.#small.weight >= this.#smallWeightLimit) {
      const slot = this.#dequeueFromSmall()
      if (slot !== NO_SLOT) return slot
    }
    const slot = this.#dequeueFromMain()
    if (slot !== NO_SLOT) return slot
    // The main queue is empty and a heavy newcomer needs the room of a small queue within its share.
    const last = this.#dequeueFromSmall()
    return last === NO_SLOT ? this.#dequeueFromMain() : last
  }

  /** Moves what was read to the main queue until it finds what was not; `NO_SLOT` leaves the choice to that queue. */
  #dequeueFromSmall(): number {
    const { uses, weights, inMain } = this.#table
    let passes = SWEEP_MAX
    for (let slot = this.#small.peek(); slot !== NO_SLOT; slot = this.#small.peek()) {
      const weight = weights[slot] as number
      const isRead = (uses[slot] as number) > 1
      if (isRead && passes === 0) return NO_SLOT
      this.#small.remove(slot, weight)
      if (!isRead) return slot
      passes -= 1
      inMain[slot] = 1
      this.#main.push(slot, weight)
    }
    return NO_SLOT
  }

  #dequeueFromMain(): number {
    const { uses, weights } = this.#table
    let passes = SWEEP_MAX
    for (let slot = this.#main.peek(); slot !== NO_SLOT; slot = this.#main.peek()) {
      const weight = weights[slot] as number
      this.#main.remove(slot, weight)
      const count = uses[slot] as number
      if (count === 0 || passes === 0) return slot
      passes -= 1
      uses[slot] = count - 1
      this.#main.push(slot, weight)
    }
    return NO_SLOT
  }

  #dequeue(slot: number): void {
    const { inMain, weights } = this.#table
    const queue = inMain[slot] === 1 ? this.#main : this.#small
    queue.remove(slot, weights[slot] as number)
  }

  #enqueueSmall(slot: number): void {
    const { inMain, uses, weights } = this.#table
    inMain[slot] = 0
    uses[slot] = 0
    this.#small.push(slot, weights[slot] as number)
  }

  /** Removes an entry that is in no queue any more. */
  #discard(slot: number): Evicted<K, V> {
    const { keys, values, weights } = this.#table
    const evicted = { key: keys[slot] as K, value: values[slot] as V, weight: weights[slot] as number }
    this.#slots.delete(evicted.key)
    this.#table.release(slot)
    return evicted
  }
}

/** The result of a `put` that moved nothing out: always the same array, so that it costs nothing. */
const NOTHING: readonly never[] = Object.freeze([])

function checkInteger(name: string, value: number, least: number, most: number): void {
  if (!Number.isSafeInteger(value) || value < least || value > most) {
    throw new RangeError(`${name} must be an integer from ${least} to ${most}, received ${String(value)}`)
  }
}

function userHash<K>(hash: (key: K) => number): KeyHash {
  if (typeof hash !== 'function') throw new TypeError(`hash must be a function, received ${typeof hash}`)
  return (key) => mix(hash(key as K))
}

function randomSeed(): number {
  return Math.floor(Math.random() * 2 ** 32)
}
