import { TEXT_BODY_BYTES_MAX } from '../http1/wire.ts'
import type { ClientSessionHandler } from '../sessions/client-session.ts'
import { WRITE_RETAINED, type WriteResult } from '../sessions/write-result.ts'

/** Bytes that one read can bring: what libuv itself asks for. */
export const READ_BYTES = 65_536

/** Bytes that one read of a long body can bring, once it has filled smaller memory. */
export const LONG_READ_BYTES = 262_144

/** Bytes that one read can bring of a body whose chunks are tiny: each costs as much as a long one. */
export const SHORT_READ_BYTES = 16_384

/**
 * Runs of a request's body from this size on are handed over in memory that is used again if nobody keeps it, and that
 * is at most twice as large as they are, as somebody may keep many. Smaller ones get memory of their own size.
 */
const RUN_BYTES_MIN = 8_192

/** Memory for runs that are shorter than `READ_BYTES`. */
const HALF_RUN_BYTES = 32_768
const QUARTER_RUN_BYTES = 16_384

/** How many buffers of each size wait for reuse: 11 MiB in all at most. */
const SPARE_COUNT_MAX = 64
const SPARE_LONG_COUNT_MAX = 16

const spare: Buffer[] = []
const spareLong: Buffer[] = []
const spareHalf: Buffer[] = []
const spareQuarter: Buffer[] = []

/**
 * The memory that connections read heads and small bodies into. All connections of a thread share it, for
 * what is read is used up before the next read, and 10,000 idle connections hold no memory.
 * Not on Windows, where the kernel fills buffers while JavaScript runs.
 */
export const sharedReadBuffer: Buffer | null =
  process.platform === 'win32' ? null : Buffer.allocUnsafeSlow(READ_BYTES)

/** A buffer for one connection's own use, while a long body passes through it; of `READ_BYTES` or `LONG_READ_BYTES`. */
export function takeReadBuffer(size: number = READ_BYTES): Buffer {
  return (size > READ_BYTES ? spareLong.pop() : spare.pop()) ?? Buffer.allocUnsafeSlow(size)
}

/** Memory for a copy of a run of `bytes`, up to `READ_BYTES`; null if it is better copied to its own size. */
export function takeRunBuffer(bytes: number): Buffer | null {
  if (bytes > HALF_RUN_BYTES) return takeReadBuffer()
  if (bytes > QUARTER_RUN_BYTES) return spareHalf.pop() ?? Buffer.allocUnsafeSlow(HALF_RUN_BYTES)
  if (bytes < RUN_BYTES_MIN) return null
  return spareQuarter.pop() ?? Buffer.allocUnsafeSlow(QUARTER_RUN_BYTES)
}

/** Gives a buffer back that nothing refers to any more. */
export function returnReadBuffer(buffer: Buffer): void {
  const size = buffer.length
  if (size > READ_BYTES) {
    if (spareLong.length < SPARE_LONG_COUNT_MAX) spareLong.push(buffer)
  } else if (size === READ_BYTES) keepSpare(spare, buffer)
  else if (size === HALF_RUN_BYTES) keepSpare(spareHalf, buffer)
  else if (size === QUARTER_RUN_BYTES) keepSpare(spareQuarter, buffer)
}

function keepSpare(list: Buffer[], buffer: Buffer): void {
  if (list.length < SPARE_COUNT_MAX) list.push(buffer)
}

/**
 * Hands a run of a response's body on. A long one that lies in the memory that every connection reads into moves out of
 * it first, as it may stay queued. Mostly it does not, and the memory it moved to serves again at once.
 *
 * @returns The handler's answer. What it says of the memory is true of `buffer` only if that is not the shared one.
 */
export function handOnRun(
  handler: ClientSessionHandler,
  buffer: Buffer,
  start: number,
  end: number,
): WriteResult {
  const size = end - start
  if (buffer !== sharedReadBuffer || size <= TEXT_BODY_BYTES_MAX)
    return handler.onResponseData(buffer, start, end)
  const own = takeReadBuffer()
  buffer.copy(own, 0, start, end)
  const result = handler.onResponseData(own, 0, size)
  if ((result & WRITE_RETAINED) === 0) returnReadBuffer(own)
  return result
}
