import { codeBits, codes } from './huffman-code.ts'

/** Bits of the codes of all that is common in text; they take the short way. */
const SHORT_BITS = 15

/** By octet: its code × 16 + the bits of it, if there are `SHORT_BITS` at most; 0 otherwise. */
const shortCodes: Int32Array = Int32Array.from(codes, (code, octet) => {
  const bits = codeBits[octet] as number
  return bits <= SHORT_BITS ? (code << 4) | bits : 0
})

/** Bytes of `text` in Huffman code; 0 if a character is above U+00FF, or the text is empty. */
export function huffmanBytes(text: string): number {
  let bits = 0
  for (let index = 0; index < text.length; index++) bits += codeBits[text.charCodeAt(index)] as number
  return (bits + 7) >>> 3
}

/** Writes `text`, of characters up to U+00FF, in Huffman code to `into` from `at`; returns where it ends. */
export function huffmanEncode(text: string, into: Uint8Array, at: number): number {
  // The low `bits` bits of `window` are not written yet; 15 at most between characters.
  let window = 0
  let bits = 0
  for (let index = 0; index < text.length; index++) {
    const octet = text.charCodeAt(index)
    const short = shortCodes[octet] as number
    if (short === 0) {
      let code = codes[octet] as number
      let more = codeBits[octet] as number
      // Whole bytes go ahead, so that 24 bits fit in; and so do the first bits of a code that is longer.
      if (bits >= 8) {
        bits -= 8
        into[at++] = window >>> bits
      }
      if (more > 24) {
        more -= 16
        window = (window << 16) | (code >>> more)
        code &= (1 << more) - 1
        into[at++] = window >>> (bits + 8)
        into[at++] = window >>> bits
      }
      window = (window << more) | code
      bits += more
      if (bits >= 24) {
        bits -= 8
        into[at++] = window >>> bits
      }
    } else {
      const more = short & 15
      window = (window << more) | (short >>> 4)
      bits += more
    }
    if (bits >= 16) {
      bits -= 16
      into[at] = window >>> (bits + 8)
      into[at + 1] = window >>> bits
      at += 2
    }
  }
  if (bits >= 8) {
    bits -= 8
    into[at++] = window >>> bits
  }
  if (bits > 0) into[at++] = (window << (8 - bits)) | (0xff >>> bits)
  return at
}
