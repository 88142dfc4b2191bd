/** The bytes were handed to the kernel or copied: go on, the memory may be reused. */
export const WRITE_DONE = 0
/** The bytes are queued and their memory is still in use: go on, but read into other memory. */
export const WRITE_RETAINED = 1
/** The bytes were copied, so that the memory may be reused, but the queue is full: stop until the drain callback. */
export const WRITE_PAUSE = 2
/** The bytes are queued, their memory is still in use, and the queue is full: stop until the drain callback. */
export const WRITE_FULL = 3

/**
 * What a body write tells its producer, in two bits: whether the memory is still in use ({@link WRITE_RETAINED},
 * {@link WRITE_FULL}), and whether to stop (`>=` {@link WRITE_PAUSE}). Neither: {@link WRITE_DONE}.
 */
export type WriteResult = typeof WRITE_DONE | typeof WRITE_RETAINED | typeof WRITE_PAUSE | typeof WRITE_FULL

/** Whether a write, or who was handed bytes, has done with their memory. `undefined`: there was nobody to say so. */
export function isMemoryFree(result: WriteResult | undefined): boolean {
  return result === WRITE_DONE || result === WRITE_PAUSE
}
