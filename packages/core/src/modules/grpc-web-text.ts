const EQUALS = 0x3d

/** What each byte stands for in base64 (RFC 4648 §4); -1 for none. */
const VALUES: Int8Array = new Int8Array(256).fill(-1)
for (const [value, char] of [
  ...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/',
].entries()) {
  VALUES[char.charCodeAt(0)] = value
}

/**
 * Base64 as gRPC-Web's text form sends it: piece after piece, each of which may end in padding, wherever the
 * sender flushed. Nothing is skipped and nothing repaired.
 */
export class PiecewiseBase64Decoder {
  /** The characters of a quantum that is not complete: their bits, how many, and the padding after them. */
  #bits = 0
  #count = 0
  #padding = 0

  /** True between two quanta: the only place to end. */
  get complete(): boolean {
    return this.#count === 0
  }

  /** The bytes of the next characters, or null when those are no base64. */
  decode(text: Buffer): Buffer | null {
    const bytes = Buffer.allocUnsafe(((this.#count + text.length) >> 2) * 3 + 3)
    let size = 0
    for (let i = 0; i < text.length; i++) {
      const char = text[i] as number
      if (char === EQUALS) {
        if (this.#count < 2) return null
        this.#padding++
        if (this.#count + this.#padding < 4) continue
        // Two characters hold one byte, three hold two; the bits beyond must be 0 (RFC 4648 §3.5).
        const spare = this.#count === 2 ? 4 : 2
        if ((this.#bits & ((1 << spare) - 1)) !== 0) return null
        const value = this.#bits >> spare
        if (spare === 2) bytes[size++] = value >> 8
        bytes[size++] = value & 0xff
      } else {
        const value = VALUES[char] as number
        if (value < 0 || this.#padding > 0) return null
        this.#bits = (this.#bits << 6) | value
        if (++this.#count < 4) continue
        bytes[size++] = this.#bits >> 16
        bytes[size++] = (this.#bits >> 8) & 0xff
        bytes[size++] = this.#bits & 0xff
      }
      this.#bits = 0
      this.#count = 0
      this.#padding = 0
    }
    return bytes.subarray(0, size)
  }
}

const FRAME_HEAD_BYTES = 5

/**
 * Encodes gRPC frames in base64, with padding where a frame ends: a reader has all of a message as soon as it was
 * sent, even one that expects no padding elsewhere. At most two bytes of an incomplete frame wait.
 */
export class GrpcTextEncoder {
  #rest: Buffer = Buffer.alloc(0)
  /** Bytes of the present frame's head that came so far, and the length they tell. */
  #headBytes = 0
  #length = 0
  /** Bytes of its message still to come. */
  #remaining = 0

  encode(chunk: Buffer): Buffer {
    const whole = this.#endsFrame(chunk)
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    const size = whole ? bytes.length : bytes.length - (bytes.length % 3)
    this.#rest = Buffer.from(bytes.subarray(size))
    return Buffer.from(bytes.toString('base64', 0, size), 'latin1')
  }

  /** What still waits: the end of a body that ends within a frame. */
  flush(): Buffer {
    const text = this.#rest.toString('base64')
    this.#rest = Buffer.alloc(0)
    return Buffer.from(text, 'latin1')
  }

  /** Follows the frames; true when one ends with this chunk. */
  #endsFrame(chunk: Buffer): boolean {
    let at = 0
    while (at < chunk.length) {
      if (this.#headBytes < FRAME_HEAD_BYTES) {
        // A byte of flags, then the length.
        if (this.#headBytes > 0) this.#length = this.#length * 256 + (chunk[at] as number)
        at++
        if (++this.#headBytes < FRAME_HEAD_BYTES) continue
        this.#remaining = this.#length
      } else {
        const take = Math.min(this.#remaining, chunk.length - at)
        this.#remaining -= take
        at += take
      }
      if (this.#remaining > 0) continue
      this.#headBytes = 0
      this.#length = 0
    }
    return this.#headBytes === 0
  }
}
