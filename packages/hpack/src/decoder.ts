import { DecoderTable, ENTRY_BYTES, TABLE_BYTES_DEFAULT } from './decoder-table.ts'
import { decodedBytesMax, huffmanDecode } from './huffman-decode.ts'
import { INTEGER_END, integerEnd, readContinuation } from './integer.ts'
import { STATIC_COUNT, staticNames, staticValues } from './static-table.ts'

/** Why a block gave no list: see `HpackDecoder.failure`. */
export type HpackFailure = 'COMPRESSION_ERROR' | 'LIST_TOO_LARGE'

export interface HpackDecoderOptions {
  /**
   * SETTINGS_HEADER_TABLE_SIZE that the peer knows: upper bound of the dynamic table, in bytes. Default 4096, which is
   * in force before any SETTINGS; announce less by `setTableBytesMax` once the peer has acknowledged it.
   */
  readonly tableBytesMax?: number
  /** Most bytes of a list, counted as RFC 9113 §6.5.2 does: name, value and 32 for each field. Default 65536. */
  readonly listBytesMax?: number
  /** Most fields of a list. Default 256. */
  readonly fieldsMax?: number
}

const LIST_BYTES_MAX = 65_536
const FIELDS_MAX = 256

/** Octets of one Huffman string on their way to a string: used within one call, never across. */
const SCRATCH_BYTES = 16_384
const scratch: Buffer = Buffer.allocUnsafeSlow(SCRATCH_BYTES)

/** What `#literal` gives where the string must not be built. */
const SKIPPED = ''

/**
 * The decoder of one direction of one HTTP/2 connection (RFC 7541).
 *
 * Strict: what RFC 7541 calls a decoding error is one. Bounded: a list beyond its limits is not built, but read to
 * its end so that the dynamic table stays in step. It never throws on input.
 *
 * @example
 * const decoder = new HpackDecoder()
 * const fields = decoder.decode(block, 0, block.length) // [':status', '200', 'server', 'cirque']
 * if (fields === null) console.error(decoder.failure)
 */
export class HpackDecoder {
  readonly #listBytesMax: number
  readonly #fieldsMax: number
  readonly #table: DecoderTable
  #tableBytesMax: number
  /** The least that the peer has acknowledged since its last block, if that is less than it uses; −1 if not. */
  #updateDue: number
  #failure: HpackFailure | null
  #neverIndexed: Set<string> | null
  /** Where the last literal ended, and how many octets it has. */
  #at: number
  #octets: number

  /** @throws {RangeError} If an option is out of range. */
  constructor(options: HpackDecoderOptions = {}) {
    const {
      tableBytesMax = TABLE_BYTES_DEFAULT,
      listBytesMax = LIST_BYTES_MAX,
      fieldsMax = FIELDS_MAX,
    } = options
    assertCount('tableBytesMax', tableBytesMax)
    assertCount('listBytesMax', listBytesMax)
    assertCount('fieldsMax', fieldsMax)
    this.#listBytesMax = listBytesMax
    this.#fieldsMax = fieldsMax
    this.#tableBytesMax = tableBytesMax
    // The peer says by a size update that it uses more than the default.
    this.#table = new DecoderTable(Math.min(tableBytesMax, TABLE_BYTES_DEFAULT))
    this.#updateDue = -1
    this.#failure = null
    this.#neverIndexed = null
    this.#at = 0
    this.#octets = 0
  }

  /**
   * Why the last `decode` gave null. `COMPRESSION_ERROR`: the connection is at its end, the decoder is out of step for
   * good and will decode nothing more. `LIST_TOO_LARGE`: only the stream is; the table is in step and the decoder goes on.
   */
  get failure(): HpackFailure | null {
    return this.#failure
  }

  /**
   * Names of the last list whose fields were marked never to be indexed, null if there were none. Whoever forwards them
   * must mark them again (RFC 7541 §6.2.3): hand this to `HpackEncoder.encode`.
   */
  get neverIndexed(): ReadonlySet<string> | null {
    return this.#neverIndexed
  }

  /** Bytes that the entries of the dynamic table take (RFC 7541 §4.1). */
  get tableBytes(): number {
    return this.#table.bytes
  }

  /**
   * Sets the bound of the dynamic table; call it when the peer acknowledges SETTINGS that change it. If it falls below
   * what the peer uses, the next block must begin with a size update (RFC 9113 §4.3.1).
   *
   * @throws {RangeError} If `bytes` is no integer from 0 to 2^28 − 1.
   */
  setTableBytesMax(bytes: number): void {
    assertCount('tableBytesMax', bytes)
    this.#tableBytesMax = bytes
    const inUse = this.#updateDue < 0 ? this.#table.bytesMax : this.#updateDue
    if (bytes < inUse) this.#updateDue = bytes
  }

  /**
   * Decodes one complete field block: the fragments of HEADERS or PUSH_PROMISE and its CONTINUATIONs, joined.
   *
   * @returns The flat list [name, value, …] in order, as latin1 strings; null if there is none: see `failure`. Names and
   *   values are as the peer sent them, with whatever octets it chose.
   */
  decode(block: Buffer, start: number, end: number): string[] | null {
    if (this.#failure === 'COMPRESSION_ERROR') return null
    this.#failure = null
    this.#neverIndexed = null
    let at = this.#sizeUpdates(block, start, end)
    if (at < 0) return this.#fail()
    const table = this.#table
    const listBytesMax = this.#listBytesMax
    const lengthMax = this.#fieldsMax * 2
    const list: string[] = []
    let bytes = 0
    let tooLarge = false

    while (at < end) {
      const first = block[at++] as number
      tooLarge ||= list.length >= lengthMax
      let name: string
      let value: string
      if (first >= 0x80) {
        let index = first & 0x7f
        if (index === 0x7f) {
          index = readContinuation(block, at, end, 0x7f)
          at = integerEnd
        }
        if (index <= STATIC_COUNT) {
          if (index <= 0) return this.#fail()
          name = staticNames[index] as string
          value = staticValues[index] as string
        } else {
          const age = index - STATIC_COUNT - 1
          if (age >= table.count) return this.#fail()
          name = table.name(age)
          value = table.value(age)
        }
        bytes += name.length + value.length + ENTRY_BYTES
        tooLarge ||= bytes > listBytesMax
      } else {
        // A size update past the start of a block is an error (RFC 7541 §4.2).
        if ((first & 0xe0) === 0x20) return this.#fail()
        const indexed = first >= 0x40
        const prefix = indexed ? 0x3f : 0x0f
        let index = first & prefix
        if (index === prefix) {
          index = readContinuation(block, at, end, prefix)
          if (index < 0) return this.#fail()
          at = integerEnd
        }
        // What goes into the table is needed even where the list is too large, but then only what fits the table.
        let room = tooLarge ? 0 : listBytesMax - bytes - ENTRY_BYTES
        if (indexed) room = Math.max(room, table.bytesMax - ENTRY_BYTES)
        if (index === 0) {
          name = this.#literal(block, at, end, room)
          at = this.#at
          if (at < 0) return this.#fail()
          bytes += this.#octets
          room -= this.#octets
        } else {
          if (index <= STATIC_COUNT) {
            name = staticNames[index] as string
          } else {
            const age = index - STATIC_COUNT - 1
            if (age >= table.count) return this.#fail()
            name = table.name(age)
          }
          bytes += name.length
          room -= name.length
        }
        value = this.#literal(block, at, end, room)
        at = this.#at
        if (at < 0) return this.#fail()
        bytes += this.#octets + ENTRY_BYTES
        room -= this.#octets
        tooLarge ||= bytes > listBytesMax
        if (indexed) {
          if (room >= 0) table.insert(name, value)
          else table.clear()
        } else if (first >= 0x10 && !tooLarge) {
          this.#neverIndexed ??= new Set()
          this.#neverIndexed.add(name)
        }
      }
      if (!tooLarge) list.push(name, value)
    }
    if (!tooLarge) return list
    this.#failure = 'LIST_TOO_LARGE'
    this.#neverIndexed = null
    return null
  }

  /** Reads the size updates that a block may begin with; returns where they end, −1 if they are wrong. */
  #sizeUpdates(block: Buffer, start: number, end: number): number {
    let at = start
    // RFC 7541 §4.2: the lowest of several sizes and the last, so two at most.
    for (let count = 0; at < end && ((block[at] as number) & 0xe0) === 0x20; count++) {
      if (count === 2) return -1
      let bytes = (block[at++] as number) & 0x1f
      if (bytes === 0x1f) {
        bytes = readContinuation(block, at, end, 0x1f)
        if (bytes < 0) return -1
        at = integerEnd
      }
      if (bytes > this.#tableBytesMax || (this.#updateDue >= 0 && bytes > this.#updateDue)) return -1
      this.#table.resize(bytes)
      this.#updateDue = -1
    }
    return this.#updateDue < 0 ? at : -1
  }

  /**
   * Reads a string literal (RFC 7541 §5.2); sets `#at` to its end, −1 if it is wrong, and `#octets`.
   *
   * @param room - With more octets than this no string is built.
   */
  #literal(block: Buffer, at: number, end: number, room: number): string {
    this.#at = -1
    if (at >= end) return SKIPPED
    const first = block[at++] as number
    let length = first & 0x7f
    if (length === 0x7f) {
      length = readContinuation(block, at, end, 0x7f)
      if (length < 0) return SKIPPED
      at = integerEnd
    }
    const stop = at + length
    if (stop > end) return SKIPPED
    if (first < 0x80) {
      this.#at = stop
      this.#octets = length
      return length > room ? SKIPPED : block.toString('latin1', at, stop)
    }
    const octetsMax = decodedBytesMax(length)
    const octets = octetsMax < SCRATCH_BYTES ? scratch : Buffer.allocUnsafeSlow(octetsMax + 1)
    const count = huffmanDecode(block, at, stop, octets)
    if (count < 0) return SKIPPED
    this.#at = stop
    this.#octets = count
    return count > room ? SKIPPED : octets.toString('latin1', 0, count)
  }

  #fail(): null {
    this.#failure = 'COMPRESSION_ERROR'
    this.#neverIndexed = null
    return null
  }
}

function assertCount(name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 0 || value >= INTEGER_END) {
    throw new RangeError(`${name} must be an integer from 0 to ${INTEGER_END - 1}, received ${String(value)}`)
  }
}
