/**
 * Continuation bytes that an integer may take (RFC 7541 §5.1 leaves the limit open): 28 bits, far above any index or
 * length that the other limits let through.
 */
const CONTINUATION_MAX = 4

/** Integers are below this, and so are options. */
const INTEGER_END: number = 2 ** 28

/** Most bytes that `writeInteger` takes, for a length of the longest string too: 5 × 7 bits after the first byte. */
export const INTEGER_BYTES_MAX: number = 6

/** @throws {RangeError} If `value` is no integer that can be told to a peer. */
export function assertInteger(name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 0 || value >= INTEGER_END) {
    throw new RangeError(`${name} must be an integer from 0 to ${INTEGER_END - 1}, received ${String(value)}`)
  }
}

/** Where the integer that `readContinuation` read last ended. */
export let integerEnd: number = 0

/**
 * Reads what follows a prefix of ones (RFC 7541 §5.1): seven bits a byte, the lowest first.
 *
 * @param prefix - The largest value of the prefix, 2^N − 1.
 * @returns The integer, and where it ended in `integerEnd`; −1 if it is cut off or too large.
 */
export function readContinuation(block: Uint8Array, at: number, end: number, prefix: number): number {
  let value = prefix
  for (let shift = 0; shift < 7 * CONTINUATION_MAX && at < end; shift += 7) {
    const byte = block[at++] as number
    value += (byte & 0x7f) << shift
    if (byte < 0x80) {
      integerEnd = at
      return value
    }
  }
  return -1
}

/**
 * Writes `value` with its first byte's high bits from `pattern`; returns where it ends.
 *
 * @param prefix - The largest value of the prefix, 2^N − 1.
 */
export function writeInteger(
  value: number,
  prefix: number,
  pattern: number,
  into: Uint8Array,
  at: number,
): number {
  if (value < prefix) {
    into[at] = pattern | value
    return at + 1
  }
  into[at++] = pattern | prefix
  let rest = value - prefix
  while (rest >= 0x80) {
    into[at++] = rest | 0x80
    rest >>>= 7
  }
  into[at] = rest
  return at + 1
}
