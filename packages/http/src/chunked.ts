import { bounded } from './bounded.ts'
import { FIELD_VALUE, TOKEN } from './characters.ts'
import { REFUSED, scanner } from './field-scanner.ts'
import type { HttpProfile } from './head-facts.ts'
import { type HeadFailure, type HeadFailureCode, REQUEST_FAILURES } from './head-failure.ts'
import { HEAD_FAILED, NEED_MORE } from './head-parser.ts'
import { latin1 } from './latin1.ts'
import { isForbiddenTrailer } from './trailers.ts'

/** Who takes the payload of a chunked body. */
export interface ChunkSink {
  /**
   * Called for each run of payload with the chunk it lies in; nothing is copied. It must not call back into
   * the decoder. To pause, stop feeding: what was fed is delivered.
   */
  onChunkData(chunk: Buffer, start: number, end: number): void
}

/** Bounds of one chunked body. */
export interface ChunkedDecoderOptions {
  /**
   * Default `strict`. `lenient` drops forbidden trailer fields instead of refusing the body, and takes any visible
   * characters as chunk extensions.
   */
  readonly profile?: HttpProfile
  /** Bytes of one chunk line with its CRLF. Default 8,192. */
  readonly chunkLineBytesMax?: number
  /**
   * Bytes of chunk extensions in a body beyond one per byte of payload. Default 16,384. Extensions are
   * dropped; this bounds what they may cost, and long streams that sign each chunk still pass.
   */
  readonly extensionBytesMax?: number
  /** Bytes of the trailer section with its empty line. Default 8,192. */
  readonly trailerBytesMax?: number
  /** Trailer fields. Default 64. */
  readonly trailerFieldsMax?: number
}

const CR = 0x0d
const LF = 0x0a
const SEMICOLON = 0x3b
const EQUALS = 0x3d
const QUOTE = 0x22
const BACKSLASH = 0x5c
/** 16 hexadecimal digits are 64 bits; the value itself must stay below 2^53. */
const SIZE_DIGITS_MAX = 16
const BYTES_CEILING = 1_048_576

/** Where the next byte falls. */
const SIZE = 0
const EXTENSION = 1
const SIZE_LF = 2
const DATA = 3
const DATA_CR = 4
const DATA_LF = 5
const TRAILER = 6
const DONE = 7

/** Where in a chunk extension the next byte falls (RFC 9112 §7.1.1). A line may end in the last three. */
const NAME_START = 0
const VALUE_START = 1
const QUOTED = 2
const QUOTED_PAIR = 3
const NAME = 4
const VALUE = 5
const AFTER_QUOTED = 6

/** Value of each hexadecimal digit, 255 for every other byte. */
const HEX: Uint8Array = new Uint8Array(256).fill(255)
for (let digit = 0; digit < 16; digit++) {
  HEX[digit.toString(16).charCodeAt(0)] = digit
  HEX[digit.toString(16).toUpperCase().charCodeAt(0)] = digit
}

/**
 * Decodes a chunked body (RFC 9112 §7.1) and collects its trailers.
 *
 * A size is hexadecimal digits only and at most 2^53 - 1; lines end with CRLF in both profiles, since a line
 * end that only some readers see is what request smuggling is made of.
 */
export class ChunkedDecoder {
  /** True when the body and its trailer section have ended. */
  done: boolean = false
  /**
   * Set when the body is refused and kept until `reset`. Its status is for a client's body; a fault in a
   * response body is the upstream's, and the head has usually been sent by then.
   */
  failure: HeadFailure | null = null
  /** Trailer fields as `[name, value, …]`, or null when there are none. */
  trailers: string[] | null = null
  /** Payload bytes delivered so far. */
  bytesDecoded: number = 0
  /** Where to go on after `execute` has delivered all the runs that it was allowed; -1 when it took all bytes. */
  stoppedAt: number = -1

  private readonly lenient: boolean
  private readonly chunkLineBytesMax: number
  private readonly extensionBytesMax: number
  private readonly trailerBytesMax: number
  private readonly trailerFieldsMax: number
  private state: number = SIZE
  private remaining: number = 0
  private digits: number = 0
  private lineBytes: number = 0
  private extensionBytes: number = 0
  private extensionPart: number = NAME_START
  private trailer: Buffer | null = null
  private trailerBytes: number = 0

  /** @throws {RangeError} If a limit is out of its bounds. @throws {TypeError} If the profile is unknown. */
  constructor(options: ChunkedDecoderOptions = {}) {
    const profile = options.profile ?? 'strict'
    if (profile !== 'strict' && profile !== 'lenient') {
      throw new TypeError(`Profile must be "strict" or "lenient", received ${JSON.stringify(profile)}`)
    }
    this.lenient = profile === 'lenient'
    this.chunkLineBytesMax = bounded(
      'chunkLineBytesMax',
      options.chunkLineBytesMax ?? 8192,
      18,
      BYTES_CEILING,
    )
    this.extensionBytesMax = bounded(
      'extensionBytesMax',
      options.extensionBytesMax ?? 16_384,
      0,
      BYTES_CEILING,
    )
    this.trailerBytesMax = bounded('trailerBytesMax', options.trailerBytesMax ?? 8192, 2, BYTES_CEILING)
    this.trailerFieldsMax = bounded('trailerFieldsMax', options.trailerFieldsMax ?? 64, 0, 4096)
  }

  /**
   * Feeds the bytes from `start` to `end`.
   *
   * @param runsMax - Runs of payload to deliver at most, so that thousands of tiny chunks can be spread over time. When
   *   more follow, the result is `NEED_MORE` and `stoppedAt` says where to go on. Default: no bound.
   * @returns The offset after the body's end when it is complete, `NEED_MORE` with all bytes taken, or
   * `HEAD_FAILED`; payload before the fault has been delivered.
   */
  execute(
    chunk: Buffer,
    start: number,
    end: number,
    sink: ChunkSink,
    runsMax: number = Number.POSITIVE_INFINITY,
  ): number {
    if (this.failure !== null) return HEAD_FAILED
    this.stoppedAt = -1
    let runs = 0
    let index = start
    while (index < end) {
      switch (this.state) {
        case SIZE:
          index = this.takeSize(chunk, index, end)
          if (index < 0) return HEAD_FAILED
          break
        case EXTENSION:
          index = this.takeExtension(chunk, index, end)
          if (index < 0) return HEAD_FAILED
          break
        case SIZE_LF:
          if (chunk[index++] !== LF) return this.fail('INVALID_CHUNK')
          this.lineBytes = 0
          this.digits = 0
          this.state = this.remaining === 0 ? TRAILER : DATA
          break
        case DATA: {
          if (runs++ === runsMax) {
            this.stoppedAt = index
            return NEED_MORE
          }
          const size = Math.min(this.remaining, end - index)
          this.remaining -= size
          this.bytesDecoded += size
          if (this.remaining === 0) this.state = DATA_CR
          sink.onChunkData(chunk, index, index + size)
          index += size
          break
        }
        case DATA_CR:
          if (chunk[index++] !== CR) return this.fail('INVALID_CHUNK')
          this.state = DATA_LF
          break
        case DATA_LF:
          if (chunk[index++] !== LF) return this.fail('INVALID_CHUNK')
          this.state = SIZE
          break
        case TRAILER:
          return this.takeTrailer(chunk, index, end)
        default:
          return index
      }
    }
    return this.done ? index : NEED_MORE
  }

  /** Forgets everything: the next byte starts a new body. */
  reset(): void {
    this.done = false
    this.failure = null
    this.trailers = null
    this.bytesDecoded = 0
    this.stoppedAt = -1
    this.state = SIZE
    this.remaining = 0
    this.digits = 0
    this.lineBytes = 0
    this.extensionBytes = 0
    this.extensionPart = NAME_START
    this.trailer = null
    this.trailerBytes = 0
  }

  private fail(code: HeadFailureCode): number {
    this.failure = REQUEST_FAILURES[code]
    this.trailer = null
    return HEAD_FAILED
  }

  private takeSize(chunk: Buffer, start: number, end: number): number {
    let index = start
    while (index < end) {
      const byte = chunk[index] as number
      const digit = HEX[byte] as number
      if (digit === 255) {
        if (this.digits === 0) return this.fail('INVALID_CHUNK')
        if (byte === CR) this.state = SIZE_LF
        else if (byte !== SEMICOLON) return this.fail('INVALID_CHUNK')
        else {
          this.state = EXTENSION
          this.extensionPart = NAME_START
        }
        this.lineBytes = this.digits + 1
        return index + 1
      }
      this.remaining = this.remaining * 16 + digit
      if (++this.digits > SIZE_DIGITS_MAX || this.remaining > Number.MAX_SAFE_INTEGER) {
        return this.fail('INVALID_CHUNK')
      }
      index++
    }
    return index
  }

  private takeExtension(chunk: Buffer, start: number, end: number): number {
    let index = start
    if (this.lenient) while (index < end && FIELD_VALUE[chunk[index] as number] === 1) index++
    else while (index < end && this.takeExtensionByte(chunk[index] as number)) index++
    const taken = index - start
    this.lineBytes += taken
    this.extensionBytes += taken
    if (this.lineBytes + 2 > this.chunkLineBytesMax) return this.fail('INVALID_CHUNK')
    if (this.extensionBytes > this.extensionBytesMax + this.bytesDecoded) return this.fail('INVALID_CHUNK')
    if (index === end) return index
    if (chunk[index] !== CR || (!this.lenient && this.extensionPart < NAME)) return this.fail('INVALID_CHUNK')
    this.state = SIZE_LF
    return index + 1
  }

  /** False for a byte that does not go on with the extensions: names, each with a token or a quoted string or none. */
  private takeExtensionByte(byte: number): boolean {
    const part = this.extensionPart
    let next = -1
    if (part === QUOTED) next = byte === QUOTE ? AFTER_QUOTED : byte === BACKSLASH ? QUOTED_PAIR : QUOTED
    else if (part === QUOTED_PAIR) next = QUOTED
    else if (TOKEN[byte] === 1) next = part === NAME_START || part === NAME ? NAME : VALUE
    else if (byte === SEMICOLON && part >= NAME) next = NAME_START
    else if (byte === EQUALS && part === NAME) next = VALUE_START
    else if (byte === QUOTE && part === VALUE_START) next = QUOTED
    if (next < 0 || FIELD_VALUE[byte] !== 1 || (part === AFTER_QUOTED && next === VALUE)) return false
    this.extensionPart = next
    return true
  }

  /** An empty section ends at once; any other is collected until its empty line and read as a whole. */
  private takeTrailer(chunk: Buffer, start: number, end: number): number {
    let index = start
    if (this.trailerBytes === 0 && index + 1 < end && chunk[index] === CR && chunk[index + 1] === LF) {
      return this.finish(index + 2)
    }
    const trailer = this.reserveTrailer(end - start)
    while (index < end) {
      if (this.trailerBytes === this.trailerBytesMax) return this.fail('INVALID_CHUNK')
      const byte = chunk[index++] as number
      const at = this.trailerBytes++
      trailer[at] = byte
      if (byte !== LF) {
        if (at > 0 && trailer[at - 1] === CR) return this.fail('BARE_CR')
        continue
      }
      if (at === 0 || trailer[at - 1] !== CR) return this.fail('BARE_LF')
      if (at === 1 || (at >= 3 && trailer[at - 2] === LF)) {
        if (!this.readTrailers(trailer, at - 1)) return HEAD_FAILED
        return this.finish(index)
      }
    }
    return NEED_MORE
  }

  /** The buffer for the trailer section with room for `more` bytes, or for all that it may hold. */
  private reserveTrailer(more: number): Buffer {
    const held = this.trailer
    const wanted = Math.min(this.trailerBytesMax, this.trailerBytes + more)
    if (held !== null && held.length >= wanted) return held
    const size = Math.min(this.trailerBytesMax, Math.max(wanted, held === null ? 256 : held.length * 2))
    const grown = Buffer.allocUnsafeSlow(size)
    if (held !== null) held.copy(grown, 0, 0, this.trailerBytes)
    this.trailer = grown
    return grown
  }

  private finish(after: number): number {
    this.done = true
    this.state = DONE
    this.trailer = null
    return after
  }

  private readTrailers(bytes: Buffer, end: number): boolean {
    const text = latin1(bytes, 0, end)
    const fields: string[] = []
    let count = 0
    let index = 0
    while (index < end) {
      const next = scanner.scan(bytes, index, end)
      if (next < 0) {
        this.fail(next === REFUSED ? trailerCode(scanner.code, index) : 'INVALID_CHUNK')
        return false
      }
      if (++count > this.trailerFieldsMax) {
        this.fail('TOO_MANY_FIELDS')
        return false
      }
      const name = text.substring(index, scanner.nameEnd)
      if (!isForbiddenTrailer(name)) {
        fields.push(name, text.substring(scanner.valueStart, scanner.valueEnd))
      } else if (!this.lenient) {
        this.fail('FORBIDDEN_TRAILER')
        return false
      }
      index = next
    }
    if (fields.length > 0) this.trailers = fields
    return true
  }
}

function trailerCode(code: HeadFailureCode, index: number): HeadFailureCode {
  return code === 'OBSOLETE_FOLD' && index === 0 ? 'LEADING_SPACE' : code
}

/**
 * The line that starts a chunk of `bytes` of payload, in upper-case hexadecimal. After the payload comes
 * CRLF; `encodeChunkHead(0)` starts the end: trailer lines and an empty line follow.
 *
 * @throws {RangeError} If `bytes` is no safe integer from 0.
 */
export function encodeChunkHead(bytes: number): string {
  if (!Number.isSafeInteger(bytes) || bytes < 0) {
    throw new RangeError(`Chunk size must be an integer from 0, received ${bytes}`)
  }
  return `${bytes.toString(16).toUpperCase()}\r\n`
}
