import { ENTRY_BYTES, TABLE_BYTES_DEFAULT } from './decoder-table.ts'
import { EncoderTable } from './encoder-table.ts'
import { huffmanBytes, huffmanEncode } from './huffman-encode.ts'
import { assertInteger, INTEGER_BYTES_MAX, writeInteger } from './integer.ts'
import { latin1Write } from './latin1.ts'
import { nameHash, STATIC_COUNT, staticIndex, staticNames, staticValues } from './static-table.ts'

/** Options of {@link HpackEncoder}. */
export interface HpackEncoderOptions {
  /** Most bytes of the dynamic table that we are willing to use, whatever the peer offers. Default 4096. */
  readonly tableBytesMax?: number
}

/** Names whose values change from one message to the next: a copy in the table would only push others out. */
const CHANGING: ReadonlySet<string> = new Set([
  ':path',
  'age',
  'content-length',
  'content-location',
  'content-range',
  'etag',
  'expires',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'last-modified',
  'location',
  'range',
  'referer',
  'retry-after',
])

/** Secrets: a table shared with what an attacker sends would tell them, guess by guess (RFC 7541 §7.1.3). */
const SECRET: ReadonlySet<string> = new Set(['authorization', 'proxy-authorization'])

/** Secrets if they are short, and otherwise too long to guess; not indexed in any case. */
const SECRET_IF_SHORT: ReadonlySet<string> = new Set(['cookie', 'set-cookie'])
const SHORT = 20

const INDEX = 0
const DO_NOT_INDEX = 1
const NEVER_INDEX = 2
const NEVER_INDEX_SHORT = 3

/** What to do by the index of a name in the static table. */
const policies: Uint8Array = Uint8Array.from(staticNames, (name) => {
  if (CHANGING.has(name)) return DO_NOT_INDEX
  if (SECRET.has(name)) return NEVER_INDEX
  return SECRET_IF_SHORT.has(name) ? NEVER_INDEX_SHORT : INDEX
})

/** How often in a row a name may come with another value and still be indexed; after that, every how many times it is. */
const MISSES_MAX = 4
const RETRY_EVERY = 16
/** A multiple of `RETRY_EVERY` where the count goes back, so that it stays small. */
const MISSES_WRAP = 256
const MISS_SLOTS = 64
const NO_MISSES: readonly number[] = new Array(MISS_SLOTS).fill(0)

/** Places of a list for which the last field is remembered: the next message is much like the last one. */
const GUESSED_MAX = 32
const NO_GUESSES: readonly number[] = new Array(GUESSED_MAX).fill(0)

/** The two size updates that a block may begin with. */
const UPDATES_BYTES_MAX: number = 2 * INTEGER_BYTES_MAX
/** A field besides its octets: its first byte and two lengths, or an index and one length. */
const FIELD_BYTES_MAX: number = 1 + 2 * INTEGER_BYTES_MAX

/** First bytes of a literal field, by what its receiver is to do with it (RFC 7541 §6.2). */
const INDEXED = 0x40
const NOT_INDEXED = 0
const NEVER_INDEXED = 0x10

const LENGTH_PREFIX = 0x7f
/** A text up to this length is written by a loop; for others one call into Node.js takes less time. */
const LOOP_MAX = 16
/** Takes no time to speak of for a string that V8 keeps in one byte per character, as all but all are. */
const ABOVE_LATIN1: RegExp = /[\u0100-\uffff]/

/**
 * The encoder of one direction of one HTTP/2 connection (RFC 7541).
 *
 * Fields that come again take a byte or two. What changes with every message is not put into the table, and secrets are
 * marked never to be indexed.
 *
 * @example
 * const encoder = new HpackEncoder()
 * const fields = [':status', '200', 'server', 'cirque']
 * const into = Buffer.allocUnsafe(encoder.boundOf(fields))
 * const block = into.subarray(0, encoder.encode(fields, into, 0))
 */
export class HpackEncoder {
  readonly #table: EncoderTable
  readonly #tableBytesMax: number
  /** Values in a row that were new for their name, by the hash of it. */
  readonly #misses: number[]
  /** By place in the list: the field that was found there, as − its static index or its number in the table; or 0. */
  readonly #guesses: number[]
  /** The least size that the next block must go through, and the one it must end with; −1 if there is nothing to say. */
  #lowest: number
  #final: number

  /** @throws {RangeError} If `tableBytesMax` is no integer from 0 to 2^28 − 1. */
  constructor(options: HpackEncoderOptions = {}) {
    const { tableBytesMax = TABLE_BYTES_DEFAULT } = options
    assertInteger('tableBytesMax', tableBytesMax)
    this.#tableBytesMax = tableBytesMax
    this.#table = new EncoderTable(TABLE_BYTES_DEFAULT)
    this.#misses = NO_MISSES.slice()
    this.#guesses = NO_GUESSES.slice()
    this.#lowest = -1
    this.#final = -1
    this.#announce(Math.min(tableBytesMax, TABLE_BYTES_DEFAULT))
  }

  /** Bytes that the entries of the dynamic table take (RFC 7541 §4.1). */
  get tableBytes(): number {
    return this.#table.bytes
  }

  /**
   * Takes SETTINGS_HEADER_TABLE_SIZE of the peer; the next block tells it what we use of that (RFC 7541 §4.2).
   *
   * @throws {RangeError} If `bytes` is no integer from 0 to 2^32 − 1.
   */
  setPeerTableBytes(bytes: number): void {
    if (!Number.isInteger(bytes) || bytes < 0 || bytes > 0xffff_ffff) {
      throw new RangeError(`Table size must be an integer from 0 to 4294967295, received ${String(bytes)}`)
    }
    this.#announce(Math.min(bytes, this.#tableBytesMax))
  }

  /** Bytes that are always enough for a block of `fields`; about what their text takes. */
  boundOf(fields: readonly string[]): number {
    let bytes = UPDATES_BYTES_MAX
    for (let index = 0; index < fields.length; index += 2) {
      bytes += (fields[index] as string).length + (fields[index + 1] as string).length + FIELD_BYTES_MAX
    }
    return bytes
  }

  /**
   * Encodes the flat list [name, value, …] as one field block to `into` from `at`. Send the block, and in the order of
   * the calls: each changes the table of the peer.
   *
   * @param fields - Names in lowercase, pseudo-header fields first; characters up to U+00FF.
   * @param neverIndex - Names besides the usual secrets whose fields must never be indexed; null, the default, is none.
   * @returns Where the block ends, or −1 if there is no room for `boundOf(fields)` bytes: nothing has changed then.
   * @throws {TypeError} If a character is above U+00FF, a field is no string, or a name has no value. The encoder stays
   *   usable.
   * @throws {RangeError} If `at` is negative or no number.
   */
  encode(
    fields: readonly string[],
    into: Buffer,
    at: number,
    neverIndex: ReadonlySet<string> | null = null,
  ): number {
    if (fields.length % 2 !== 0) throw new TypeError('Fields must be a flat list of names and values')
    if (!(at >= 0)) throw new RangeError(`A block must begin within the buffer, received ${String(at)}`)
    const bound = this.boundOf(fields)
    if (!(bound <= into.length - at)) {
      if (Number.isNaN(bound)) throw new TypeError('Fields must be strings')
      return -1
    }
    let next = this.#lowest < 0 ? at : this.#sizeUpdates(into, at)
    for (let index = 0; index < fields.length; index += 2) {
      const name = fields[index] as string
      const value = fields[index + 1] as string
      const secret = neverIndex?.has(name) === true
      const guess = secret || index >= GUESSED_MAX * 2 ? 0 : this.#guess(name, value, index >> 1)
      if (guess !== 0) next = writeInteger(guess, 0x7f, 0x80, into, next)
      else next = this.#field(name, value, into, next, secret, index >> 1)
      if (next < 0) {
        // Entries were added, and sizes told, that the peer will not see: both tables start over.
        this.#lowest = 0
        this.#final = this.#table.bytesMax
        throw new TypeError(`Field '${name}' has a character above U+00FF`)
      }
    }
    return next
  }

  /** The index of the field if it is the one that was found in this place of the last block, 0 otherwise. */
  #guess(name: string, value: string, place: number): number {
    const guess = this.#guesses[place] as number
    if (guess < 0) return staticNames[-guess] === name && staticValues[-guess] === value ? -guess : 0
    const table = this.#table
    const age = table.inserted - guess
    if (guess === 0 || age >= table.count) return 0
    const position = table.position(age)
    if (table.names[position] !== name || table.values[position] !== value) return 0
    this.#misses[(table.hashes[position] as number) & (MISS_SLOTS - 1)] = 0
    return STATIC_COUNT + 1 + age
  }

  /** Writes one field; returns where it ends, −1 if a character is above U+00FF. */
  #field(name: string, value: string, into: Buffer, at: number, secret: boolean, place: number): number {
    const hash = nameHash(name)
    const named = staticIndex(name, hash)
    let policy = policies[named] as number
    if (policy === NEVER_INDEX_SHORT) policy = value.length < SHORT ? NEVER_INDEX : DO_NOT_INDEX
    if (secret) policy = NEVER_INDEX
    if (policy === NEVER_INDEX) return writeLiteral(name, value, named, NEVER_INDEXED, into, at)

    for (let index = named; index !== 0 && staticNames[index] === name; index++) {
      if (staticValues[index] === value) {
        if (place < GUESSED_MAX) this.#guesses[place] = -index
        into[at] = 0x80 | index
        return at + 1
      }
    }
    if (policy === DO_NOT_INDEX) return writeLiteral(name, value, named, NOT_INDEXED, into, at)

    const slot = hash & (MISS_SLOTS - 1)
    const found = this.#table.find(name, value, hash)
    if (found >= 0) {
      this.#misses[slot] = 0
      if (place < GUESSED_MAX) this.#guesses[place] = this.#table.inserted - found
      return writeInteger(STATIC_COUNT + 1 + found, 0x7f, 0x80, into, at)
    }
    const index = named !== 0 || found === -1 ? named : STATIC_COUNT - 1 - found
    let misses = this.#misses[slot] as number
    // A name that is new is no sign of values that change.
    if (found < -1 || misses >= MISSES_MAX) {
      misses++
      this.#misses[slot] = misses < MISSES_WRAP ? misses : MISSES_WRAP - RETRY_EVERY
    }
    const bytes = name.length + value.length + ENTRY_BYTES
    if ((misses > MISSES_MAX && misses % RETRY_EVERY !== 0) || bytes > this.#table.bytesMax * 0.75) {
      return writeLiteral(name, value, index, NOT_INDEXED, into, at)
    }
    const end = writeLiteral(name, value, index, INDEXED, into, at)
    if (end >= 0) this.#table.insert(name, value, hash)
    return end
  }

  #announce(bytes: number): void {
    // Nothing to say: the table has that size, and was not smaller in between.
    if (this.#lowest < 0 && bytes === this.#table.bytesMax) return
    this.#lowest = this.#lowest < 0 ? bytes : Math.min(this.#lowest, bytes)
    this.#final = bytes
  }

  #sizeUpdates(into: Buffer, at: number): number {
    let next = at
    if (this.#lowest < this.#final) {
      this.#table.resize(this.#lowest)
      next = writeInteger(this.#lowest, 0x1f, 0x20, into, next)
    }
    this.#table.resize(this.#final)
    next = writeInteger(this.#final, 0x1f, 0x20, into, next)
    this.#lowest = -1
    this.#final = -1
    return next
  }
}

/**
 * Writes a literal field whose name has `index`, or 0; −1 if a character is above U+00FF.
 *
 * Huffman code is for what goes into the table: written once, it may take its time. A text that is not indexed is written
 * anew with each message, and there a byte saved costs more than to send it; `bench/hpack.bench.ts` has the figures.
 */
function writeLiteral(
  name: string,
  value: string,
  index: number,
  pattern: number,
  into: Buffer,
  at: number,
): number {
  const compact = pattern === INDEXED
  let next = writeInteger(index, compact ? 0x3f : 0x0f, pattern, into, at)
  if (index === 0) next = writeString(name, compact, into, next)
  return next < 0 ? next : writeString(value, compact, into, next)
}

/** Writes a string literal; −1 if a character is above U+00FF. */
function writeString(text: string, compact: boolean, into: Buffer, at: number): number {
  const { length } = text
  if (compact) {
    const bytes = huffmanBytes(text)
    if (bytes < length) {
      if (bytes === 0) return -1
      return huffmanEncode(text, into, writeInteger(bytes, LENGTH_PREFIX, 0x80, into, at))
    }
  }
  let next = writeInteger(length, LENGTH_PREFIX, 0, into, at)
  if (length > LOOP_MAX) {
    if (ABOVE_LATIN1.test(text)) return -1
    latin1Write(text, into, next)
    return next + length
  }
  let all = 0
  for (let index = 0; index < length; index++) {
    const octet = text.charCodeAt(index)
    all |= octet
    into[next++] = octet
  }
  return all > 0xff ? -1 : next
}
