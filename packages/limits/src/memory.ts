import { randomBytes } from 'node:crypto'
import { type Clock, monotonicMs } from './clock.ts'

/** Options that every limiter here takes. */
export interface MemoryOptions {
  /**
   * Where the state lives. Give the same buffer and the same options to every thread, and they count together.
   * It must be zeroed (as a new one is) and hold `byteLength(options)` bytes; by default each limiter has its own
   * private memory, which is faster.
   */
  readonly memory?: SharedArrayBuffer
}

/** Options of the limiters that need the time. */
export interface TimedMemoryOptions extends MemoryOptions {
  /**
   * Milliseconds of a monotonic clock, 0 or more; default the machine's. For tests, and for a coarse clock that is
   * cheaper to read. With `memory` every thread must read the same clock.
   */
  readonly now?: Clock
}

/** Bytes before a limiter's own state: fingerprint, seed, epoch, and a few words for the limiter. */
export const HEADER_BYTES = 64

/** First of the eight 32-bit header words that belong to the limiter itself. */
export const STATE_WORD = 8

const FINGERPRINT_WORD = 0
const SEED_CELL = 1
const EPOCH_CELL = 2

/** A limiter's memory, private or shared, ready to use. */
export interface Memory {
  readonly buffer: ArrayBuffer | SharedArrayBuffer
  readonly shared: boolean
  readonly words: Int32Array
  /** Random, and the same for all threads on this memory. */
  readonly seedLow: number
  readonly seedHigh: number
  readonly now: Clock
  /** What `now` said when the memory was first used. */
  readonly epochMs: number
}

/**
 * Opens a limiter's memory, or joins it when another thread opened it before.
 *
 * Each fact is set by one compare-and-swap, so no thread ever waits for another, and none can die half-way.
 *
 * @param layout - Kind and options in words; memory of another layout is refused.
 * @throws {TypeError} If `memory` is not a SharedArrayBuffer or `now` not a function.
 * @throws {RangeError} If the memory is too small, or was laid out for something else.
 */
export function openMemory(layout: string, byteLength: number, options: TimedMemoryOptions): Memory {
  const { memory, now = monotonicMs } = options
  if (typeof now !== 'function') throw new TypeError(`now must be a function, received ${String(now)}`)
  const shared = memory !== undefined
  if (shared && !(memory instanceof SharedArrayBuffer)) {
    throw new TypeError(`memory must be a SharedArrayBuffer, received ${String(memory)}`)
  }
  if (shared && memory.byteLength < byteLength) {
    throw new RangeError(`memory must hold ${byteLength} bytes, received ${memory.byteLength}`)
  }
  const buffer = memory ?? new ArrayBuffer(byteLength)
  const words = new Int32Array(buffer, 0, Math.floor(byteLength / 4))
  const cells = new BigInt64Array(buffer, 0, HEADER_BYTES >>> 3)

  const fingerprint = fingerprintOf(layout)
  const found = Atomics.compareExchange(words, FINGERPRINT_WORD, 0, fingerprint)
  if (found !== 0 && found !== fingerprint) {
    throw new RangeError(`memory belongs to another limiter or to other options than ${layout}`)
  }
  const seed = setOnce(cells, SEED_CELL, randomBytes(8).readBigInt64LE() | 1n)
  // One more than the time, so that a clock at 0 is not taken for "not set".
  const startedMs = now()
  if (!(startedMs >= 0)) throw new RangeError(`now must return 0 or more milliseconds, received ${startedMs}`)
  const epochMs = toNumber(setOnce(cells, EPOCH_CELL, toBits(startedMs + 1))) - 1
  return {
    buffer,
    shared,
    words,
    seedLow: Number(BigInt.asIntN(32, seed)),
    seedHigh: Number(seed >> 32n),
    now,
    epochMs,
  }
}

const scratchNumber: Float64Array = new Float64Array(1)
const scratchBits: BigInt64Array = new BigInt64Array(scratchNumber.buffer)

/** The bits of a double, for compare-and-swap. */
export function toBits(value: number): bigint {
  scratchNumber[0] = value
  return scratchBits[0] as bigint
}

/** The double of some bits. */
export function toNumber(bits: bigint): number {
  scratchBits[0] = bits
  return scratchNumber[0] as number
}

/** Writes `value` unless a value is there; returns the one that stays. */
function setOnce(cells: BigInt64Array, cell: number, value: bigint): bigint {
  const found = Atomics.compareExchange(cells, cell, 0n, value)
  return found === 0n ? value : found
}

/** FNV-1a of the layout's text, never 0. */
function fingerprintOf(layout: string): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < layout.length; index++) {
    hash = Math.imul(hash ^ layout.charCodeAt(index), 0x01000193)
  }
  return hash === 0 ? 1 : hash | 0
}
