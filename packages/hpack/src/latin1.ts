/** Node's buffers have had these since their first days; the type definitions leave them out. */
interface Latin1Buffer {
  latin1Slice(start: number, end: number): string
  latin1Write(text: string, at: number): number
}

const prototype = Buffer.prototype as unknown as Partial<Latin1Buffer>
const hasSlice = typeof prototype.latin1Slice === 'function'
const hasWrite = typeof prototype.latin1Write === 'function'

/** The octets from `start` to `end` as a string; spares the look at the arguments that `toString` takes, per literal. */
export function latin1Slice(octets: Buffer, start: number, end: number): string {
  return hasSlice
    ? (octets as unknown as Latin1Buffer).latin1Slice(start, end)
    : octets.toString('latin1', start, end)
}

/** Writes `text`, of characters up to U+00FF, to `into` at `at`, where there is room for it. */
export function latin1Write(text: string, into: Buffer, at: number): void {
  if (hasWrite) (into as unknown as Latin1Buffer).latin1Write(text, at)
  else into.write(text, at, 'latin1')
}
