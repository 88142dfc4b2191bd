import { crc32 as zlibCrc32 } from 'node:zlib'

/** From this length on, zlib's native loop beats ours in spite of the call (bench/continuum.bench.ts). */
const NATIVE_LENGTH_MIN = 48

/** The reflected CRC-32 polynomial of IEEE 802.3, which zlib, nginx and memcached clients share. */
const POLYNOMIAL = 0xedb88320

const TABLE: Int32Array = makeTable()

/**
 * CRC-32 of the UTF-8 form of a string or of bytes, as an unsigned 32-bit integer.
 *
 * @throws {TypeError} If `key` is neither: a number would have no length, and all numbers the same hash.
 */
export function crc32(key: string | Uint8Array): number {
  let state = -1
  if (typeof key === 'string') {
    const { length } = key
    if (length >= NATIVE_LENGTH_MIN) return zlibCrc32(key)
    for (let index = 0; index < length; index++) {
      const unit = key.charCodeAt(index)
      // Only ASCII is one byte per unit in UTF-8.
      if (unit > 0x7f) return zlibCrc32(key)
      state = (TABLE[(state ^ unit) & 0xff] as number) ^ (state >>> 8)
    }
  } else {
    if (!(key instanceof Uint8Array)) {
      throw new TypeError(`Key must be a string or a Uint8Array, received ${describe(key)}`)
    }
    const { length } = key
    if (length >= NATIVE_LENGTH_MIN) return zlibCrc32(key)
    for (let index = 0; index < length; index++) {
      state = (TABLE[(state ^ (key[index] as number)) & 0xff] as number) ^ (state >>> 8)
    }
  }
  return ~state >>> 0
}

/** Goes on from a finished CRC with the four bytes of `word`, lowest first. */
export function crc32Word(crc: number, word: number): number {
  let state = ~crc ^ word
  state = (TABLE[state & 0xff] as number) ^ (state >>> 8)
  state = (TABLE[state & 0xff] as number) ^ (state >>> 8)
  state = (TABLE[state & 0xff] as number) ^ (state >>> 8)
  state = (TABLE[state & 0xff] as number) ^ (state >>> 8)
  return ~state >>> 0
}

function describe(value: unknown): string {
  return value === null ? 'null' : typeof value
}

function makeTable(): Int32Array {
  const table = new Int32Array(256)
  for (let byte = 0; byte < 256; byte++) {
    let state = byte
    for (let bit = 0; bit < 8; bit++) state = state & 1 ? POLYNOMIAL ^ (state >>> 1) : state >>> 1
    table[byte] = state
  }
  return table
}
