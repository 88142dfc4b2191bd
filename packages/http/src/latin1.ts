/** Node's buffers have had `latin1Slice` since their first days; the type definitions leave it out. */
interface Latin1Slicer {
  latin1Slice(start: number, end: number): string
}

const hasSlice = typeof (Buffer.prototype as unknown as Partial<Latin1Slicer>).latin1Slice === 'function'

/**
 * The bytes from `start` to `end` as a string of one code unit each. `latin1Slice` spares the argument
 * handling of `toString('latin1')`, which does the same and stands in where it is missing.
 */
export function latin1(bytes: Buffer, start: number, end: number): string {
  return hasSlice
    ? (bytes as unknown as Latin1Slicer).latin1Slice(start, end)
    : bytes.toString('latin1', start, end)
}
