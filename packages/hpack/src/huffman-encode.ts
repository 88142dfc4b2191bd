import { codeBits, codes } from './huffman-code.ts'

/**
 * Bytes of `text` in Huffman code.
 *
 * @returns NaN if a character is above U+00FF.
 */
export function huffmanBytes(text: string): number {
  let bits = 0
  for (let index = 0; index < text.length; index++) bits += codeBits[text.charCodeAt(index)] as number
  return (bits + 7) >>> 3
}

/** Writes `text`, of characters up to U+00FF, in Huffman code to `into` from `at`; returns where it ends. */
export function huffmanEncode(text: string, into: Uint8Array, at: number): number {
  // The low `bits` bits of `window` are not written yet; up to seven between characters.
  let window = 0
  let bits = 0
  for (let index = 0; index < text.length; index++) {
    const octet = text.charCodeAt(index)
    let code = codes[octet] as number
    let more = codeBits[octet] as number
    if (more > 24) {
      // 7 + 30 bits do not fit into an integer: the first sixteen go ahead.
      more -= 16
      window = (window << 16) | (code >>> more)
      code &= (1 << more) - 1
      into[at++] = window >>> (bits + 8)
      into[at++] = window >>> bits
    }
    window = (window << more) | code
    bits += more
    while (bits >= 8) {
      bits -= 8
      into[at++] = window >>> bits
    }
  }
  if (bits > 0) into[at++] = (window << (8 - bits)) | (0xff >>> bits)
  return at
}
