/**
 * The Huffman code of RFC 7541, Appendix B.
 *
 * It is canonical: codes of one length count up in the order of the octets, and the next length goes on where the
 * one before it ended. So the lengths are the whole table; the tests compare the codes with a second source.
 */

/** Bits of the code of each octet, 0 to 255, 32 a line. */
const BITS: string = `
  13 23 28 28 28 28 28 28 28 24 30 28 28 30 28 28 28 28 28 28 28 28 30 28 28 28 28 28 28 28 28 28
  6 10 10 12 13 6 8 11 10 10 8 11 8 6 6 6 5 5 5 6 6 6 6 6 6 6 7 8 15 6 12 10
  13 6 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 8 7 8 13 19 13 14 6
  15 5 6 5 6 5 6 6 6 5 7 7 6 6 6 5 6 7 6 5 5 6 7 7 7 7 7 15 11 14 13 28
  20 22 20 20 22 22 22 23 22 23 23 23 23 23 24 23 24 24 22 23 24 23 23 23 23 21 22 23 22 23 23 24
  22 21 20 22 22 23 23 21 23 22 22 24 21 22 23 23 21 21 22 21 23 22 23 23 20 22 22 22 23 22 22 23
  26 26 20 19 22 23 22 25 26 26 26 27 27 26 24 25 19 21 26 27 27 26 27 24 21 21 26 26 28 27 27 27
  20 24 20 21 22 21 21 23 22 22 25 25 24 24 26 23 26 27 26 26 27 27 27 27 27 28 27 27 27 27 27 26`

/** Bits of the longest code; that of EOS too, which is all ones. */
export const CODE_BITS_MAX: number = 30

/** Bits of the code of each octet. */
export const codeBits: Uint8Array = Uint8Array.from(BITS.trim().split(/\s+/), Number)

/** The octets in the order of their codes. */
export const octetsByCode: Uint8Array = Uint8Array.from(codeBits.keys()).sort(
  (a, b) => bitsOf(a) - bitsOf(b) || a - b,
)

/** The code of each octet, in the low `codeBits` bits. */
export const codes: Uint32Array = new Uint32Array(256)
let code = 0
let bits = 0
for (const octet of octetsByCode) {
  code <<= bitsOf(octet) - bits
  bits = bitsOf(octet)
  codes[octet] = code++
}

function bitsOf(octet: number): number {
  return codeBits[octet] as number
}
