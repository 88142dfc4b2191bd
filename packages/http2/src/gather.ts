/** Memory that small pieces are gathered in. */
const GATHER_BYTES = 8_192

/**
 * Appends a copy of `[start, end)` to a queue, small pieces together: a Buffer for each byte would cost a hundred
 * times what it holds.
 *
 * @param room - Bytes that the memory of the queue's last piece has left.
 * @returns What it has left now.
 */
export function gather(queue: Buffer[], room: number, buffer: Buffer, start: number, end: number): number {
  const size = end - start
  const last = queue[queue.length - 1]
  if (last !== undefined && room >= size) {
    const grown = Buffer.from(last.buffer, last.byteOffset, last.length + size)
    buffer.copy(grown, last.length, start, end)
    queue[queue.length - 1] = grown
    return room - size
  }
  const memory = Buffer.allocUnsafeSlow(Math.max(size, GATHER_BYTES))
  buffer.copy(memory, 0, start, end)
  queue.push(memory.subarray(0, size))
  return memory.length - size
}
