import type { ClientSessionHandler } from '../upstream/client-session.ts'
import { WRITE_RETAINED, type WriteResult } from '../write-result.ts'
import { TEXT_BODY_BYTES_MAX } from './wire.ts'

/** Bytes that one read can bring: what libuv itself asks for. */
export const READ_BYTES = 65_536

/** Bytes that one read of a long body can bring, once it has filled smaller memory. */
export const LONG_READ_BYTES = 262_144

/** Bytes that one read can bring of a body whose chunks are tiny: each costs as much as a long one. */
export const SHORT_READ_BYTES = 16_384

/**
 * Runs of a request's body from this size on are handed over in memory of `READ_BYTES` that is used again if nobody
 * keeps it; smaller ones, of which somebody may keep many, in memory of their own size.
 */
export const LENT_BYTES_MIN = 32_768

/** How many buffers of each size wait for reuse: 8 MiB in all at most. */
const SPARE_COUNT_MAX = 64
const SPARE_LONG_COUNT_MAX = 16

const spare: Buffer[] = []
const spareLong: Buffer[] = []

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

/** Gives a buffer back that nothing refers to any more. */
export function returnReadBuffer(buffer: Buffer): void {
  if (buffer.length > READ_BYTES) {
    if (spareLong.length < SPARE_LONG_COUNT_MAX) spareLong.push(buffer)
  } else if (buffer.length === READ_BYTES && spare.length < SPARE_COUNT_MAX) spare.push(buffer)
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
