import { checkCount, checkInteger, checkNames, checkNumber } from './check.ts'
import { checkName, type Decision } from './decision.ts'
import { decide, type GcraShape, makeShape, step } from './gcra-step.ts'
import { HEADER_BYTES, type Memory, openMemory, type TimedMemoryOptions, toBits, toNumber } from './memory.ts'

/** Options of {@link TokenBucket}. */
export interface TokenBucketOptions extends TimedMemoryOptions {
  /** Tokens that the bucket holds, full at first; an integer from 1 to 10^15 − 1. */
  readonly capacity: number
  /** Tokens that flow in per second; from 10^−6 to 10^12, fractions allowed. The whole capacity must take 0.01 ms or more. */
  readonly tokensPerSecond: number
  /** Name in the header fields, printable ASCII. Default `default`. */
  readonly name?: string
}

/** The largest Integer of a header field (RFC 9651 §3.3.1). */
const OPTION_NAMES: readonly string[] = ['capacity', 'tokensPerSecond', 'name', 'memory', 'now']
const CAPACITY_MAX = 999_999_999_999_999
const TOKENS_PER_SECOND_MIN = 1e-6
const TOKENS_PER_SECOND_MAX = 1e12

/** The only cell of state: when the bucket is full again, in milliseconds after the epoch. */
const FULL_AT_CELL: number = HEADER_BYTES / 8
const BYTE_LENGTH: number = HEADER_BYTES + 8

/**
 * One token bucket, for a limit that has no key: a whole listener, an upstream, the bytes per second of a download.
 * For a limit per client use `Gcra`, which is a token bucket for each key. Memory is 72 bytes.
 *
 * @example
 * const bucket = new TokenBucket({ capacity: 50, tokensPerSecond: 10 })
 * if (!bucket.take().allowed) return session.respondError(503)
 */
export class TokenBucket {
  readonly #shape: GcraShape
  readonly #memory: Memory
  readonly #times: Float64Array
  readonly #timeBits: BigInt64Array

  /** Bytes of `memory` that a bucket needs. */
  static byteLength(): number {
    return BYTE_LENGTH
  }

  /**
   * @throws {RangeError} If an option is out of bounds or the memory does not fit.
   * @throws {TypeError} If `name` cannot stand in a header field.
   */
  constructor(options: TokenBucketOptions) {
    checkNames(options, OPTION_NAMES)
    const burst = checkInteger('capacity', options.capacity, 1, CAPACITY_MAX)
    const tokensPerSecond = checkNumber(
      'tokensPerSecond',
      options.tokensPerSecond,
      TOKENS_PER_SECOND_MIN,
      TOKENS_PER_SECOND_MAX,
    )
    const emissionMs = 1000 / tokensPerSecond
    this.#shape = makeShape(checkName(options.name ?? 'default'), emissionMs, burst)
    this.#memory = openMemory(`TokenBucket ${burst} ${emissionMs}`, BYTE_LENGTH, options)
    this.#times = new Float64Array(this.#memory.buffer, 0, BYTE_LENGTH / 8)
    this.#timeBits = new BigInt64Array(this.#memory.buffer, 0, BYTE_LENGTH / 8)
  }

  /**
   * Takes `tokens` if they are there; a refusal takes nothing and says when they will be.
   *
   * @param tokens - An integer from 0, 1 by default. 0 only looks; more than `capacity` never fit.
   * @throws {RangeError} If `tokens` is no such integer.
   */
  take(tokens: number = 1): Decision {
    checkCount('tokens', tokens)
    const shape = this.#shape
    const nowMs = this.#memory.now() - this.#memory.epochMs
    for (;;) {
      const before = this.#memory.shared ? Atomics.load(this.#timeBits, FULL_AT_CELL) : 0n
      const fullAtMs = this.#memory.shared ? toNumber(before) : (this.#times[FULL_AT_CELL] as number)
      const nextMs = step(shape, fullAtMs, nowMs, tokens)
      if (nextMs === -1) return decide(shape, fullAtMs, nowMs, tokens, false)
      if (!this.#memory.shared) {
        if (tokens > 0) this.#times[FULL_AT_CELL] = nextMs
        return decide(shape, nextMs, nowMs, tokens, true)
      }
      if (tokens === 0 || this.#swap(before, nextMs)) return decide(shape, nextMs, nowMs, tokens, true)
    }
  }

  /** What `take(0)` says: the state of the bucket, with nothing taken. */
  peek(): Decision {
    return this.take(0)
  }

  /** Fills the bucket. */
  reset(): void {
    if (this.#memory.shared) Atomics.store(this.#timeBits, FULL_AT_CELL, 0n)
    else this.#times[FULL_AT_CELL] = 0
  }

  #swap(before: bigint, nextMs: number): boolean {
    return Atomics.compareExchange(this.#timeBits, FULL_AT_CELL, before, toBits(nextMs)) === before
  }
}
