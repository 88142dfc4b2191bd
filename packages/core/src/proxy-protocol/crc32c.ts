/** The Castagnoli polynomial, reflected (RFC 3720 appendix B.4). */
const POLYNOMIAL = 0x82f63b78

const TABLE: Uint32Array = new Uint32Array(256)
for (let byte = 0; byte < 256; byte++) {
  let remainder = byte
  for (let bit = 0; bit < 8; bit++) remainder = (remainder >>> 1) ^ (remainder & 1 ? POLYNOMIAL : 0)
  TABLE[byte] = remainder
}

/** The CRC32c of `bytes`, counting the four bytes at `zeroed` as zeros: where the checksum itself stands. */
export function crc32c(bytes: Uint8Array, zeroed: number): number {
  let remainder = 0xffffffff
  for (let at = 0; at < bytes.length; at++) {
    const byte = at >= zeroed && at < zeroed + 4 ? 0 : (bytes[at] as number)
    remainder = (remainder >>> 8) ^ (TABLE[(remainder ^ byte) & 0xff] as number)
  }
  return (remainder ^ 0xffffffff) >>> 0
}
