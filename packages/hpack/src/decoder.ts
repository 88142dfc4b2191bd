import { DecoderTable, ENTRY_BYTES, TABLE_BYTES_DEFAULT } from './decoder-table.ts'
import { edgeFlaw, NAME_FLAW, nameFlaw, VALUE_FLAW, valueFlaw } from './field-rules.ts'
import { decodedBytesMax, huffmanDecode } from './huffman-decode.ts'
import { assertInteger, integerEnd, readContinuation } from './integer.ts'
import { latin1Slice } from './latin1.ts'
import { LiteralCache } from './literal-cache.ts'
import { STATIC_COUNT, staticNames, staticValues } from './static-table.ts'

/** Why a block gave no list: see `HpackDecoder.failure`. */
export type HpackFailure = 'COMPRESSION_ERROR' | 'LIST_TOO_LARGE'

/** Options of {@link HpackDecoder}. */
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

/** Length of the first list, name and value of 16 fields; later ones are expected to be as long as the one before. */
const LENGTH_FIRST = 32

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
  /** Of the last list: what is wrong with its fields, `NAME_FLAW | VALUE_FLAW`. */
  #flaws: number
  #lengthExpected: number
  readonly #cache: LiteralCache
  /** What `#literalField` read. */
  #name: string
  #value: string
  #fieldBytes: number
  #fieldFlaws: number
  /** What `#literal` read: its octets, whether or not there was room for a string, and what is wrong with it. */
  #octets: number
  #flaw: number

  /** @throws {RangeError} If an option is out of range. */
  constructor(options: HpackDecoderOptions = {}) {
    const {
      tableBytesMax = TABLE_BYTES_DEFAULT,
      listBytesMax = LIST_BYTES_MAX,
      fieldsMax = FIELDS_MAX,
    } = options
    assertInteger('tableBytesMax', tableBytesMax)
    assertInteger('listBytesMax', listBytesMax)
    assertInteger('fieldsMax', fieldsMax)
    this.#listBytesMax = listBytesMax
    this.#fieldsMax = fieldsMax
    this.#tableBytesMax = tableBytesMax
    // The peer says by a size update that it uses more than the default.
    this.#table = new DecoderTable(Math.min(tableBytesMax, TABLE_BYTES_DEFAULT))
    this.#updateDue = -1
    this.#failure = null
    this.#neverIndexed = null
    this.#flaws = 0
    this.#lengthExpected = Math.min(LENGTH_FIRST, fieldsMax * 2)
    this.#cache = new LiteralCache()
    this.#name = ''
    this.#value = ''
    this.#fieldBytes = 0
    this.#fieldFlaws = 0
    this.#octets = 0
    this.#flaw = 0
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

  /**
   * Whether a name or a value of the last list breaks RFC 9113 §8.2.1: a name that is no token or has upper case, but for
   * the colon that pseudo-header fields begin with; a value with a control other than tab, or with white space at an end.
   * Found out once for each literal, so that it costs nothing for what comes from a table.
   */
  get malformed(): boolean {
    return this.#flaws !== 0
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
    assertInteger('tableBytesMax', bytes)
    this.#tableBytesMax = bytes
    const inUse = this.#updateDue < 0 ? this.#table.bytesMax : this.#updateDue
    if (bytes < inUse) this.#updateDue = bytes
  }

  /**
   * Decodes one complete field block: the fragments of HEADERS or PUSH_PROMISE and its CONTINUATIONs, joined.
   *
   * @returns The flat list [name, value, …] in order, as latin1 strings; null if there is none: see `failure`. Names and
   *   values are as the peer sent them, with whatever octets it chose: see `malformed`.
   * @throws {RangeError} If `start` to `end` does not lie in `block`. Nothing else throws, whatever the block holds.
   */
  decode(block: Buffer, start: number, end: number): string[] | null {
    if (!(start >= 0 && start <= end && end <= block.length)) {
      throw new RangeError(`No block from ${start} to ${end} in ${block.length} bytes`)
    }
    if (this.#failure === 'COMPRESSION_ERROR') return null
    this.#failure = null
    this.#neverIndexed = null
    this.#flaws = 0
    let at = this.#sizeUpdates(block, start, end)
    if (at < 0) return this.#fail()
    const table = this.#table
    const lengthMax = this.#fieldsMax * 2
    // Of the right length from the start, most of the time: to grow it would take half of the time of a block.
    const list: string[] = new Array(this.#lengthExpected)
    let length = 0
    // Below zero, and from then on, the list is too large.
    let bytesLeft = this.#listBytesMax
    let flaws = 0

    while (at < end) {
      if (length === lengthMax) bytesLeft = -1
      const first = block[at++] as number
      let name: string
      let value: string
      if (first < 0x80) {
        at = this.#literalField(block, first, at, end, bytesLeft)
        if (at < 0) return this.#fail()
        name = this.#name
        value = this.#value
        bytesLeft -= this.#fieldBytes
        flaws |= this.#fieldFlaws
      } else {
        let index = first & 0x7f
        if (index === 0x7f) {
          index = readContinuation(block, at, end, 0x7f)
          at = integerEnd
        }
        if (index <= STATIC_COUNT) {
          if (index <= 0) return this.#fail()
          name = staticNames[index] as string
          value = staticValues[index] as string
          bytesLeft -= name.length + value.length + ENTRY_BYTES
        } else {
          const age = index - STATIC_COUNT - 1
          if (age >= table.count) return this.#fail()
          const position = table.position(age)
          const mark = table.marks[position] as number
          name = table.fields[position * 2] as string
          value = table.fields[position * 2 + 1] as string
          bytesLeft -= mark >>> 2
          flaws |= mark
        }
      }
      if (bytesLeft < 0) continue
      list[length++] = name
      list[length++] = value
    }

    // They may be long, and the connection may be idle from now on.
    this.#name = ''
    this.#value = ''
    if (bytesLeft < 0) {
      this.#failure = 'LIST_TOO_LARGE'
      this.#neverIndexed = null
      return null
    }
    this.#flaws = flaws & (NAME_FLAW | VALUE_FLAW)
    if (list.length !== length) list.length = length
    this.#lengthExpected = length
    return list
  }

  /**
   * Reads a field that is not in a table (RFC 7541 §6.2), and adds it to the dynamic table if it says so; sets `#name`,
   * `#value`, `#fieldBytes` and `#fieldFlaws`.
   *
   * @param first - Its first byte, the one before `at`.
   * @param bytesLeft - What the list may still take; strings for the list alone are built only if they fit.
   * @returns Where it ends, −1 if it is wrong.
   */
  #literalField(block: Buffer, first: number, at: number, end: number, bytesLeft: number): number {
    // A size update past the start of a block is an error (RFC 7541 §4.2).
    if ((first & 0xe0) === 0x20) return -1
    const table = this.#table
    const indexed = first >= 0x40
    const prefix = indexed ? 0x3f : 0x0f
    let next = at
    let index = first & prefix
    if (index === prefix) {
      index = readContinuation(block, at, end, prefix)
      if (index < 0) return -1
      next = integerEnd
    }
    // What goes into the table is needed even where the list is too large, but then only what fits the table.
    let room = (indexed ? Math.max(bytesLeft, table.bytesMax) : bytesLeft) - ENTRY_BYTES
    let name: string
    let flaws = 0
    let octets: number
    if (index === 0) {
      next = this.#literal(block, next, end, room, !indexed, true)
      if (next < 0) return -1
      name = this.#value
      octets = this.#octets
      flaws = this.#flaw
    } else {
      if (index <= STATIC_COUNT) {
        name = staticNames[index] as string
      } else {
        const age = index - STATIC_COUNT - 1
        if (age >= table.count) return -1
        const position = table.position(age)
        name = table.fields[position * 2] as string
        flaws = (table.marks[position] as number) & NAME_FLAW
      }
      octets = name.length
    }
    room -= octets
    next = this.#literal(block, next, end, room, !indexed, false)
    if (next < 0) return -1
    octets += this.#octets
    flaws |= this.#flaw
    if (indexed) {
      // An entry that is larger than the table empties it; its strings may not have been built.
      if (octets + ENTRY_BYTES > table.bytesMax) table.clear()
      else table.insert(name, this.#value, flaws)
    } else if (first >= 0x10 && bytesLeft >= octets + ENTRY_BYTES) {
      this.#neverIndexed ??= new Set()
      this.#neverIndexed.add(name)
    }
    this.#name = name
    this.#fieldBytes = octets + ENTRY_BYTES
    this.#fieldFlaws = flaws
    return next
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
   * Reads a string literal (RFC 7541 §5.2); sets `#value`, `#octets` and `#flaw`.
   *
   * @param room - With more octets than this no string is built.
   * @param recurring - Whether the same may come again, as it does where a peer does not index.
   * @param isName - By which rule to look for a flaw.
   * @returns Where it ends, −1 if it is wrong.
   */
  #literal(
    block: Buffer,
    at: number,
    end: number,
    room: number,
    recurring: boolean,
    isName: boolean,
  ): number {
    if (at >= end) return -1
    const first = block[at] as number
    let start = at + 1
    let length = first & 0x7f
    if (length === 0x7f) {
      length = readContinuation(block, start, end, 0x7f)
      if (length < 0) return -1
      start = integerEnd
    }
    const stop = start + length
    if (stop > end) return -1
    if (length === 0) {
      this.#value = ''
      this.#octets = 0
      this.#flaw = isName ? NAME_FLAW : 0
      return stop
    }
    if (recurring && this.#cache.isWorthwhile()) this.#knownText(block, at, start, stop, room, isName)
    else this.#text(block, first, start, stop, room, isName)
    return this.#octets < 0 ? -1 : stop
  }

  /** As `#text`, for a literal that may have come before. */
  #knownText(block: Buffer, at: number, start: number, stop: number, room: number, isName: boolean): void {
    const cache = this.#cache
    const slot = cache.find(block, at, stop, isName)
    if (slot >= 0) {
      this.#value = cache.text(slot)
      this.#octets = this.#value.length
      this.#flaw = cache.flaw(slot)
      return
    }
    this.#text(block, block[at] as number, start, stop, room, isName)
    if (this.#octets >= 0 && this.#octets <= room) {
      cache.add(block, at, stop, isName, this.#value, this.#flaw)
    }
  }

  /** Decodes a literal whose first byte is `first`; sets `#value`, `#octets`, which is −1 if it is wrong, and `#flaw`. */
  #text(block: Buffer, first: number, start: number, stop: number, room: number, isName: boolean): void {
    const length = stop - start
    if (first < 0x80) {
      this.#octets = length
      this.#flaw = isName ? nameFlaw(block, start, stop) : valueFlaw(block, start, stop)
      this.#value = length > room ? '' : latin1Slice(block, start, stop)
      return
    }
    const octetsMax = decodedBytesMax(length)
    const octets = octetsMax < SCRATCH_BYTES ? scratch : Buffer.allocUnsafeSlow(octetsMax + 1)
    const decoded = huffmanDecode(block, start, stop, octets)
    if (decoded < 0) {
      this.#octets = -1
      return
    }
    const count = decoded >>> 1
    this.#octets = count
    if (isName) this.#flaw = nameFlaw(octets, 0, count)
    else this.#flaw = decoded % 2 === 1 ? VALUE_FLAW : edgeFlaw(octets, 0, count)
    this.#value = count > room ? '' : latin1Slice(octets, 0, count)
  }

  #fail(): null {
    this.#failure = 'COMPRESSION_ERROR'
    this.#neverIndexed = null
    return null
  }
}
