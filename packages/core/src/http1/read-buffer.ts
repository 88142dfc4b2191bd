/** Bytes that one read can bring: what libuv itself asks for. */
export const READ_BYTES = 65_536

/** How many buffers wait for reuse; 4 MiB at most. */
const SPARE_COUNT_MAX = 64

const spare: Buffer[] = []

/**
 * The memory that upstream connections read heads and small bodies into. All connections of a thread share
 * it, for what is read is used up before the next read, and 10,000 idle connections hold no memory.
 * Not on Windows, where the kernel fills buffers while JavaScript runs.
 */
export const sharedReadBuffer: Buffer | null =
  process.platform === 'win32' ? null : Buffer.allocUnsafeSlow(READ_BYTES)

/** A buffer for one connection's own use, while a long body passes through it. */
export function takeReadBuffer(): Buffer {
  return spare.pop() ?? Buffer.allocUnsafeSlow(READ_BYTES)
}

/** Gives a buffer back that nothing refers to any more. */
export function returnReadBuffer(buffer: Buffer): void {
  if (spare.length < SPARE_COUNT_MAX) spare.push(buffer)
}
