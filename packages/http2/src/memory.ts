/** Bytes of a piece of memory that frames and data wait in. */
export const MEMORY_BYTES = 65_536
/** How many pieces wait for reuse, over all connections of a thread: 8 MiB. */
const SPARE_COUNT_MAX = 128

const spare: Buffer[] = []

/** `MEMORY_BYTES` to write into. Give them back, or forget them. */
export function takeMemory(): Buffer {
  return spare.pop() ?? Buffer.allocUnsafeSlow(MEMORY_BYTES)
}

/** Gives memory back that nobody refers to any more: `piece` is all of it, or the part that was used. */
export function giveMemory(piece: Buffer): void {
  if (spare.length >= SPARE_COUNT_MAX) return
  spare.push(piece.length === MEMORY_BYTES ? piece : Buffer.from(piece.buffer, 0, MEMORY_BYTES))
}
