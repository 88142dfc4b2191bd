import { CODE_BITS_MAX, codeBits, codes, octetsByCode } from './huffman-code.ts'

/** Bits that one step looks at: two of the shortest codes, most often two characters. 16 KiB of table. */
const STEP_BITS = 12

/**
 * By the next `STEP_BITS` bits: the octets that they hold whole and the bits of these, packed as
 * first octet | second octet << 8 | bits of the first << 16 | bits of both << 20 | count << 24.
 * 0 where the first code is longer.
 */
const steps: Int32Array = new Int32Array(1 << STEP_BITS)

/** By length of a code: the first code of that length, and the position in `octetsByCode` of its octet. */
const firstCodes: Uint32Array = new Uint32Array(CODE_BITS_MAX + 2)
const firstPositions: Uint16Array = new Uint16Array(CODE_BITS_MAX + 2)

for (let octet = 0; octet < 256; octet++) {
  const bits = codeBits[octet] as number
  if (bits > STEP_BITS) continue
  const rest = STEP_BITS - bits
  for (let tail = 0; tail < 1 << rest; tail++) {
    const step = ((codes[octet] as number) << rest) | tail
    steps[step] = octet | (bits << 16) | (bits << 20) | (1 << 24)
  }
}
for (let first = 0; first < 256; first++) {
  for (let second = 0; second < 256; second++) {
    const firstBits = codeBits[first] as number
    const bits = firstBits + (codeBits[second] as number)
    if (bits > STEP_BITS) continue
    const rest = STEP_BITS - bits
    const head =
      (((codes[first] as number) << (codeBits[second] as number)) | (codes[second] as number)) << rest
    for (let tail = 0; tail < 1 << rest; tail++) {
      steps[head | tail] = first | (second << 8) | (firstBits << 16) | (bits << 20) | (2 << 24)
    }
  }
}
{
  let position = 0
  for (let bits = 1; bits <= CODE_BITS_MAX; bits++) {
    firstPositions[bits] = position
    firstCodes[bits] = position < 256 ? (codes[octetsByCode[position] as number] as number) : 0
    while (position < 256 && codeBits[octetsByCode[position] as number] === bits) position++
  }
  firstPositions[CODE_BITS_MAX + 1] = position
}

/** Most octets that `bytes` of Huffman code can stand for: the shortest code has five bits. */
export function decodedBytesMax(bytes: number): number {
  return Math.floor((bytes * 8) / 5)
}

/**
 * Decodes the Huffman code in `from` between `at` and `end` to `into`, from its start.
 *
 * @param into - At least `decodedBytesMax(end - at)` bytes, and one more: a step may write a byte too many.
 * @returns The octets written × 2, + 1 if there is a control other than tab among them, which comes for free as their
 *   codes are long; −1 if this is no Huffman code: it holds EOS, or its padding is longer than seven bits or not all
 *   ones (RFC 7541 §5.2).
 */
export function huffmanDecode(from: Uint8Array, at: number, end: number, into: Uint8Array): number {
  // The low `bits` bits of `window` are those read and not decoded yet; there are 31 at most.
  let window = 0
  let bits = 0
  let length = 0
  let control = 0
  for (;;) {
    if (bits < 16) {
      if (at + 1 < end) {
        window = (window << 16) | ((from[at] as number) << 8) | (from[at + 1] as number)
        at += 2
        bits += 16
      } else if (at < end) {
        window = (window << 8) | (from[at++] as number)
        bits += 8
      }
    }
    if (bits < STEP_BITS) break
    const step = steps[(window >>> (bits - STEP_BITS)) & ((1 << STEP_BITS) - 1)] as number
    if (step !== 0) {
      into[length] = step
      into[length + 1] = step >>> 8
      length += step >>> 24
      bits -= (step >>> 20) & 15
      continue
    }
    // A long code, or padding: all bits up to the end count, and those that the window has lost.
    const start = at * 8 - bits
    const found = longCode(from, start, end)
    if (found < 0) return -1
    const octet = octetsByCode[found & 0xff] as number
    if (octet < 0x20 ? octet !== 0x09 : octet === 0x7f) control = 1
    into[length++] = octet
    const next = start + (found >>> 8)
    at = (next + 7) >>> 3
    bits = at * 8 - next
    window = bits === 0 ? 0 : (from[at - 1] as number)
  }
  // Fewer bits are left than a step looks at: as if ones followed, which are padding.
  while (bits > 0) {
    const ones = STEP_BITS - bits
    const step = steps[((window << ones) | ((1 << ones) - 1)) & ((1 << STEP_BITS) - 1)] as number
    const used = (step >>> 16) & 15
    if (step === 0 || used > bits)
      return bits < 8 && (~window & ((1 << bits) - 1)) === 0 ? length * 2 + control : -1
    into[length++] = step
    bits -= used
  }
  return length * 2 + control
}

/** The code that begins at a bit of `from`: its position in `octetsByCode` | its bits << 8; −1 if it is EOS or cut off. */
function longCode(from: Uint8Array, start: number, end: number): number {
  let code = 0
  for (let bits = 1; bits <= CODE_BITS_MAX; bits++) {
    const bit = start + bits - 1
    const byte = bit >>> 3
    if (byte >= end) return -1
    code = (code << 1) | (((from[byte] as number) >>> (7 - (bit & 7))) & 1)
    const offset = code - (firstCodes[bits] as number)
    const count = (firstPositions[bits + 1] as number) - (firstPositions[bits] as number)
    if (offset >= 0 && offset < count) return ((firstPositions[bits] as number) + offset) | (bits << 8)
  }
  return -1
}
