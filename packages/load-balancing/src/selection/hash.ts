import { show } from '../check.ts'
import type { SelectionKey } from './selection.ts'

/** The start of FNV-1a with 64 bits, and its prime less 2^40 (draft-eastlake-fnv, §5). */
const OFFSET_HIGH = 0xcbf29ce4
const OFFSET_LOW = 0x84222325
const PRIME_LOW = 0x1b3

/**
 * FNV-1a, 64 bits, in two halves: BigInt would cost hundreds of nanoseconds per byte. An object holds the state of
 * one hash, so that hashing allocates nothing.
 */
export class Fnv64 {
  high: number = OFFSET_HIGH
  low: number = OFFSET_LOW

  /** Hashes a key from the start; text as UTF-8. */
  hash(key: SelectionKey): void {
    this.high = OFFSET_HIGH
    this.low = OFFSET_LOW
    if (typeof key === 'string') this.#text(key)
    else if (!(key instanceof Uint8Array)) throw wrongKey(key)
    else for (let index = 0; index < key.length; index++) this.#byte(key[index] as number)
  }

  /** Hashes the eight bytes of the present hash itself, least significant first: the next in its chain. */
  rehash(): void {
    const { high, low } = this
    this.high = OFFSET_HIGH
    this.low = OFFSET_LOW
    for (let shift = 0; shift < 32; shift += 8) this.#byte((low >>> shift) & 0xff)
    for (let shift = 0; shift < 32; shift += 8) this.#byte((high >>> shift) & 0xff)
  }

  /** The hash modulo an integer: up to 2^26 the parts stay exact in doubles. */
  modulo(divisor: number): number {
    if (divisor <= 0x400_0000) return ((this.high % divisor) * (0x1_0000_0000 % divisor) + this.low) % divisor
    return Number(((BigInt(this.high) << 32n) | BigInt(this.low)) % BigInt(divisor))
  }

  #text(text: string): void {
    for (let index = 0; index < text.length; index++) {
      const code = text.charCodeAt(index)
      if (code >= 0x80) {
        const rest = Buffer.from(text.slice(index))
        for (let offset = 0; offset < rest.length; offset++) this.#byte(rest[offset] as number)
        return
      }
      this.#byte(code)
    }
  }

  #byte(byte: number): void {
    const low = (this.low ^ byte) >>> 0
    const product = low * PRIME_LOW
    this.high = (this.high * PRIME_LOW + Math.floor(product / 0x1_0000_0000) + ((low << 8) >>> 0)) >>> 0
    this.low = product >>> 0
  }
}

/** Spreads each bit of a 32-bit number over all others (the finalizer of MurmurHash3). */
export function mix(value: number): number {
  let h = value ^ (value >>> 16)
  h = Math.imul(h, 0x85ebca6b)
  h ^= h >>> 13
  h = Math.imul(h, 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

/** A 32-bit hash of a key: FNV-1a over its UTF-8 bytes, then mixed. Cheaper than 64 bits. */
export function hash32(key: SelectionKey): number {
  let h = 0x811c9dc5
  if (typeof key === 'string') {
    for (let index = 0; index < key.length; index++) {
      const code = key.charCodeAt(index)
      if (code >= 0x80) return mix(continue32(h, Buffer.from(key.slice(index))))
      h = Math.imul(h ^ code, 0x01000193)
    }
    return mix(h)
  }
  if (!(key instanceof Uint8Array)) throw wrongKey(key)
  return mix(continue32(h, key))
}

/** A number has no length: hashed as bytes, all numbers would be one key and meet one backend. */
function wrongKey(key: unknown): TypeError {
  return new TypeError(`Expected a key to be a string or a Uint8Array, received ${show(key)}`)
}

function continue32(hash: number, bytes: Uint8Array): number {
  let h = hash
  for (let index = 0; index < bytes.length; index++) h = Math.imul(h ^ (bytes[index] as number), 0x01000193)
  return h
}
