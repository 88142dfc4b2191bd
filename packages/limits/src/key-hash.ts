/**
 * What a limit counts by. The string `'1'`, the number `1` and the byte `1` are three different keys; only a hash
 * of the key is kept.
 */
export type LimitKey = string | number | Uint8Array

/** Words of the message that are mixed in at a time. */
const BLOCK_WORDS = 64

/** Kinds of keys, told apart in the last word of the message. */
const KIND_LATIN1 = 0
const KIND_UTF16 = 1
const KIND_BYTES = 2
const KIND_INTEGER = 3
const KIND_DOUBLE = 4

/**
 * Hashes keys to 64 bits with HalfSipHash-1-3 (J.-P. Aumasson and D. J. Bernstein): a keyed function, so a peer who
 * chooses the keys cannot choose which of them collide, and made of 32-bit steps, which are fast here.
 */
export class KeyHasher {
  /** Lower and upper half of the last hash. */
  low: number = 0
  high: number = 0
  readonly #seedLow: number
  readonly #seedHigh: number
  readonly #block: Int32Array = new Int32Array(BLOCK_WORDS)
  readonly #state: Int32Array = new Int32Array(4)

  constructor(seedLow: number, seedHigh: number) {
    this.#seedLow = seedLow | 0
    this.#seedHigh = seedHigh | 0
  }

  /** Hashes `key` into `low` and `high`. Throws a `TypeError` for anything but a string, a number or bytes. */
  hash(key: LimitKey): void {
    this.#start()
    if (typeof key === 'string') this.#hashString(key)
    else if (typeof key === 'number') this.#hashNumber(key)
    else if (key instanceof Uint8Array) this.#hashBytes(key)
    else throw new TypeError(`Key must be a string, a number or a Uint8Array, received ${typeof key}`)
  }

  #start(): void {
    const state = this.#state
    state[0] = this.#seedLow
    state[1] = this.#seedHigh ^ 0xee
    state[2] = this.#seedLow ^ 0x6c796765
    state[3] = this.#seedHigh ^ 0x74656462
  }

  #hashString(key: string): void {
    const block = this.#block
    const length = key.length
    let seen = 0
    let count = 0
    let index = 0
    for (; index + 4 <= length; index += 4) {
      const first = key.charCodeAt(index)
      const second = key.charCodeAt(index + 1)
      const third = key.charCodeAt(index + 2)
      const fourth = key.charCodeAt(index + 3)
      seen |= first | second | third | fourth
      block[count++] = first | (second << 8) | (third << 16) | (fourth << 24)
      if (count === BLOCK_WORDS) {
        this.#absorb(count)
        count = 0
      }
    }
    let last = 0
    for (let shift = 0; index < length; index++, shift += 8) {
      const unit = key.charCodeAt(index)
      seen |= unit
      last |= unit << shift
    }
    if (seen > 0xff) {
      this.#hashUtf16(key)
      return
    }
    block[count++] = last
    this.#finish(count, KIND_LATIN1, length)
  }

  /** The slower way for text beyond Latin-1: two units to a word. */
  #hashUtf16(key: string): void {
    const block = this.#block
    let count = 0
    this.#start()
    for (let index = 0; index < key.length; index += 2) {
      const second = index + 1 < key.length ? key.charCodeAt(index + 1) : 0
      block[count++] = key.charCodeAt(index) | (second << 16)
      if (count === BLOCK_WORDS) {
        this.#absorb(count)
        count = 0
      }
    }
    this.#finish(count, KIND_UTF16, key.length)
  }

  #hashNumber(key: number): void {
    const block = this.#block
    if ((key | 0) === key) {
      block[0] = key
      this.#finish(1, KIND_INTEGER, 0)
      return
    }
    const bits = toDoubleWords(key)
    block[0] = bits[0] as number
    block[1] = bits[1] as number
    this.#finish(2, KIND_DOUBLE, 0)
  }

  #hashBytes(key: Uint8Array): void {
    const block = this.#block
    const length = key.length
    let count = 0
    let index = 0
    for (; index + 4 <= length; index += 4) {
      block[count++] =
        (key[index] as number) |
        ((key[index + 1] as number) << 8) |
        ((key[index + 2] as number) << 16) |
        ((key[index + 3] as number) << 24)
      if (count === BLOCK_WORDS) {
        this.#absorb(count)
        count = 0
      }
    }
    let last = 0
    for (let shift = 0; index < length; index++, shift += 8) last |= (key[index] as number) << shift
    block[count++] = last
    this.#finish(count, KIND_BYTES, length)
  }

  #absorb(count: number): void {
    const state = this.#state
    const block = this.#block
    let v0 = state[0] as number
    let v1 = state[1] as number
    let v2 = state[2] as number
    let v3 = state[3] as number
    for (let index = 0; index < count; index++) {
      const word = block[index] as number
      v3 ^= word
      v0 = (v0 + v1) | 0
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0
      v0 = (v0 << 16) | (v0 >>> 16)
      v2 = (v2 + v3) | 0
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
      v0 = (v0 + v3) | 0
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
      v2 = (v2 + v1) | 0
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2
      v2 = (v2 << 16) | (v2 >>> 16)
      v0 ^= word
    }
    state[0] = v0
    state[1] = v1
    state[2] = v2
    state[3] = v3
  }

  /** Mixes in the rest with the kind and the length, then takes the two halves out. */
  #finish(count: number, kind: number, length: number): void {
    const block = this.#block
    let filled = count
    if (filled === BLOCK_WORDS) {
      this.#absorb(filled)
      filled = 0
    }
    block[filled++] = (length << 3) | kind
    this.#absorb(filled)
    const state = this.#state
    state[2] = (state[2] as number) ^ 0xee
    block[0] = 0
    block[1] = 0
    block[2] = 0
    this.#absorb(3)
    this.low = (state[1] as number) ^ (state[3] as number)
    state[1] = (state[1] as number) ^ 0xdd
    this.#absorb(3)
    this.high = (state[1] as number) ^ (state[3] as number)
  }
}

const doubles: Float64Array = new Float64Array(1)
const doubleWords: Int32Array = new Int32Array(doubles.buffer)

function toDoubleWords(value: number): Int32Array {
  // Assigning makes every NaN the same one.
  doubles[0] = Number.isNaN(value) ? Number.NaN : value
  return doubleWords
}
