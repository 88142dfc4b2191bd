/** Bytes that one read into the shared memory can bring. */
const SHARED_BYTES = 65_536

/** Larger reads cost less per byte: bench/relay.bench.ts. */
const OWN_BYTES = 524_288

/** How many buffers are in use at once, in all: 128 MiB. Beyond that connections share, and copy. */
const OWN_COUNT_MAX = 256

/** How many unused buffers are kept: 16 MiB. */
const SPARE_COUNT_MAX = 32

const spare: Buffer[] = []
let ownCount = 0

/**
 * What all quiet connections read into: what comes is copied before the next read, so that thousands of idle
 * connections hold no memory.
 */
export const sharedBuffer: Buffer = Buffer.allocUnsafeSlow(SHARED_BYTES)

/** A buffer of its own for a connection that much passes through; null if too many have one. */
export function takeBuffer(): Buffer | null {
  if (ownCount >= OWN_COUNT_MAX) return null
  ownCount++
  return spare.pop() ?? Buffer.allocUnsafeSlow(OWN_BYTES)
}

/** Gives back a buffer that nothing refers to any more. */
export function returnBuffer(buffer: Buffer): void {
  ownCount--
  if (spare.length < SPARE_COUNT_MAX) spare.push(buffer)
}

/** Leaves a buffer to the garbage collector, since something may still refer to it. */
export function forgetBuffer(_buffer: Buffer): void {
  ownCount--
}

/** Buffers in use. For tests. */
export function ownBufferCount(): number {
  return ownCount
}
