import { checkCount, checkInteger, checkNames } from './check.ts'
import { checkName, type Decision } from './decision.ts'
import { decide, type GcraShape, makeShape, step } from './gcra-step.ts'
import { KeyHasher, type LimitKey } from './key-hash.ts'
import { HEADER_BYTES, type Memory, openMemory, type TimedMemoryOptions, toBits, toNumber } from './memory.ts'

/** Options of {@link Gcra}. */
export interface GcraOptions extends TimedMemoryOptions {
  /** Units that come back in each window, evenly spread; an integer from 1 to 10^9. */
  readonly limit: number
  /** Length of the window in milliseconds, an integer from 1 to 2^41 (70 years). */
  readonly windowMs: number
  /** Units that may come at once; an integer from 1 to 10^9 that takes 0.01 ms or more to come back. Default `limit`. */
  readonly burst?: number
  /** Keys to tell apart, an integer from 8 to 2^27, rounded up to a power of two. Default 16,384. */
  readonly keysMax?: number
  /** Name in the header fields, printable ASCII. Default `default`. */
  readonly name?: string
}

const OPTION_NAMES: readonly string[] = ['limit', 'windowMs', 'burst', 'keysMax', 'name', 'memory', 'now']
const KEYS_MAX_DEFAULT = 16_384
const UNITS_MAX = 1e9
const WINDOW_MS_MAX = 2 ** 41

/** Entries where a key may be: their tags are half a cache line. */
const WAYS = 8

/** How often a thread tries to claim an entry before it charges one that belongs to another key. */
const CLAIM_TRIES = 8

/**
 * A rate limit per key with a smooth quota: `limit` units per window come back one by one, `burst` may come at once.
 *
 * Memory is fixed, 64 + 12 bytes per key, 192 KiB by default. Each key belongs to a set of eight entries. When a new
 * key finds all eight in use, it takes over the one with the most quota, **with** what that one has used up, so an
 * overfull table refuses too much and never too little: no key ever gets more than its quota, and under a flood of
 * keys new ones get less. Give `keysMax` twice the keys that are active within a window. Two keys of one set are
 * taken for the same with a probability of 2^−32. On shared memory a request can go uncounted at the very moment in
 * which another thread hands its key's entry on; nothing else is ever lost.
 *
 * @example
 * const limit = new Gcra({ limit: 100, windowMs: 60_000 })
 * const decision = limit.take(clientIp)
 * if (!decision.allowed) return session.respondError(429)
 */
export class Gcra {
  readonly #shape: GcraShape
  readonly #memory: Memory
  readonly #hasher: KeyHasher
  readonly #sets: number
  /** Hash of the key in each entry, never 0 when in use. */
  readonly #tags: Int32Array
  /** When each entry's quota is whole again, in milliseconds after the epoch. */
  readonly #times: Float64Array
  /** The same cells for compare-and-swap. */
  readonly #timeBits: BigInt64Array

  /** Bytes of `memory` that these options need. */
  static byteLength(options: Pick<GcraOptions, 'keysMax'> = {}): number {
    return HEADER_BYTES + entryCount(options.keysMax) * 12
  }

  /**
   * @throws {RangeError} If an option is out of bounds or the memory does not fit.
   * @throws {TypeError} If `name` cannot stand in a header field.
   */
  constructor(options: GcraOptions) {
    checkNames(options, OPTION_NAMES)
    const entries = entryCount(options.keysMax)
    this.#shape = shapeOf(options)
    const { emissionMs, burst } = this.#shape
    const layout = `Gcra ${entries} ${emissionMs} ${burst}`
    this.#memory = openMemory(layout, HEADER_BYTES + entries * 12, options)
    this.#hasher = new KeyHasher(this.#memory.seedLow, this.#memory.seedHigh)
    this.#sets = entries / WAYS
    const { buffer } = this.#memory
    this.#times = new Float64Array(buffer, HEADER_BYTES, entries)
    this.#timeBits = new BigInt64Array(buffer, HEADER_BYTES, entries)
    this.#tags = new Int32Array(buffer, HEADER_BYTES + entries * 8, entries)
  }

  /**
   * Takes `units` for `key` if they fit; a refused request takes nothing.
   *
   * @param units - An integer from 0, 1 by default. 0 only looks; more than `burst` never fit.
   * @throws {RangeError} If `units` is no such integer.
   */
  take(key: LimitKey, units: number = 1): Decision {
    checkCount('units', units)
    this.#hasher.hash(key)
    const tag = this.#hasher.high === 0 ? 1 : this.#hasher.high
    const set = (this.#hasher.low & (this.#sets - 1)) * WAYS
    const nowMs = this.#memory.now() - this.#memory.epochMs
    return this.#memory.shared
      ? this.#takeShared(set, tag, nowMs, units)
      : this.#takePrivate(set, tag, nowMs, units)
  }

  /** What `take(key, 0)` says: the state of `key`, with nothing taken. */
  peek(key: LimitKey): Decision {
    return this.take(key, 0)
  }

  /** Forgets all keys. */
  reset(): void {
    this.#tags.fill(0)
    this.#times.fill(0)
  }

  #takePrivate(set: number, tag: number, nowMs: number, units: number): Decision {
    const shape = this.#shape
    const entry = this.#find(set, tag)
    const wholeAtMs = this.#times[entry] as number
    const nextMs = step(shape, wholeAtMs, nowMs, units)
    if (nextMs === -1) return decide(shape, wholeAtMs, nowMs, units, false)
    if (units > 0) {
      this.#tags[entry] = tag
      this.#times[entry] = nextMs
    }
    return decide(shape, nextMs, nowMs, units, true)
  }

  /** The time of an entry moves by compare-and-swap, so what several threads take from one entry adds up. */
  #takeShared(set: number, tag: number, nowMs: number, units: number): Decision {
    const shape = this.#shape
    const bits = this.#timeBits
    let entry = this.#find(set, tag)
    for (let claims = 0; ; ) {
      const before = Atomics.load(bits, entry)
      const wholeAtMs = toNumber(before)
      const nextMs = step(shape, wholeAtMs, nowMs, units)
      if (nextMs === -1) return decide(shape, wholeAtMs, nowMs, units, false)
      if (units === 0) return decide(shape, nextMs, nowMs, units, true)
      if (claims < CLAIM_TRIES && Atomics.load(this.#tags, entry) !== tag) {
        claims++
        entry = this.#claim(set, entry, tag)
        continue
      }
      if (Atomics.compareExchange(bits, entry, before, toBits(nextMs)) === before) {
        return decide(shape, nextMs, nowMs, units, true)
      }
      // Another thread took from this entry: look again whose it is.
      entry = this.#find(set, tag)
    }
  }

  /** The entry with `tag`, else the one with the most quota. */
  #find(set: number, tag: number): number {
    const tags = this.#tags
    const times = this.#times
    let most = set
    for (let entry = set; entry < set + WAYS; entry++) {
      if (tags[entry] === tag) return entry
      if ((times[entry] as number) < (times[most] as number)) most = entry
    }
    return most
  }

  /**
   * Puts `tag` on `entry` and returns where the key is then. The entry keeps its time.
   *
   * Two threads may claim different entries for one new key. Each looks through the set again after its claim, so
   * at least one sees the other's, and the lower entry stays.
   */
  #claim(set: number, entry: number, tag: number): number {
    const tags = this.#tags
    const found = Atomics.load(tags, entry)
    if (found !== tag && Atomics.compareExchange(tags, entry, found, tag) !== found)
      return this.#find(set, tag)
    for (let other = set; other < entry; other++) {
      if (Atomics.load(tags, other) !== tag) continue
      Atomics.compareExchange(tags, entry, tag, 0)
      return other
    }
    return entry
  }
}

/** Checks the options that make up the quota. */
function shapeOf(options: GcraOptions): GcraShape {
  const limit = checkInteger('limit', options.limit, 1, UNITS_MAX)
  const windowMs = checkInteger('windowMs', options.windowMs, 1, WINDOW_MS_MAX)
  const burst = checkInteger('burst', options.burst ?? limit, 1, UNITS_MAX)
  return makeShape(checkName(options.name ?? 'default'), windowMs / limit, burst)
}

function entryCount(keysMax: number = KEYS_MAX_DEFAULT): number {
  return 2 ** Math.ceil(Math.log2(checkInteger('keysMax', keysMax, WAYS, 2 ** 27)))
}
