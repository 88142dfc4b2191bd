/** What the entry takes besides its octets (RFC 7541 §4.1). */
export const ENTRY_BYTES: number = 32

/** The size of the table before anything is announced (RFC 9113 §6.5.2). */
export const TABLE_BYTES_DEFAULT: number = 4096

/** Entries that the ring begins with; it doubles when it is full, up to what the bytes let in. */
const CAPACITY_FIRST = 16
/** Copied, which is much cheaper than to fill anew. */
const NO_FIELDS: readonly string[] = new Array(CAPACITY_FIRST * 2).fill('')
const NO_MARKS: readonly number[] = new Array(CAPACITY_FIRST).fill(0)

/** The dynamic table of a decoder: a ring of entries, the newest first, bounded by `bytesMax` (RFC 7541 §4). */
export class DecoderTable {
  /** Bytes that entries may take; changed by `resize` only. */
  bytesMax: number
  /** Bytes that entries take. */
  bytes: number
  /** Entries in the table. */
  count: number
  /** By position in the ring: name, value. Read with `position`, as a function call per field would show. */
  fields: string[]
  /** By position in the ring: the bytes of the entry × 4 + what is wrong with it, `NAME_FLAW | VALUE_FLAW`. */
  marks: number[]
  #mask: number
  /** Position of the next entry. */
  #next: number

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax
    this.bytes = 0
    this.count = 0
    this.fields = NO_FIELDS.slice()
    this.marks = NO_MARKS.slice()
    this.#mask = CAPACITY_FIRST - 1
    this.#next = 0
  }

  /** The position in the ring of an entry; `age` is 0 for the newest and below `count`. */
  position(age: number): number {
    return (this.#next - 1 - age) & this.#mask
  }

  /** Adds an entry, after making room; one that is larger than the table empties it (RFC 7541 §4.4). */
  insert(name: string, value: string, flaws: number): void {
    const bytes = name.length + value.length + ENTRY_BYTES
    this.#evict(this.bytesMax - bytes)
    if (bytes > this.bytesMax) return
    if (this.count > this.#mask) this.#grow()
    const at = this.#next
    this.fields[at * 2] = name
    this.fields[at * 2 + 1] = value
    this.marks[at] = bytes * 4 + flaws
    this.#next = (at + 1) & this.#mask
    this.count++
    this.bytes += bytes
  }

  /** Sets `bytesMax`, and evicts what no longer fits (RFC 7541 §4.3). */
  resize(bytesMax: number): void {
    this.bytesMax = bytesMax
    this.#evict(bytesMax)
  }

  /** Evicts all entries. */
  clear(): void {
    this.#evict(0)
  }

  #evict(bytesLeft: number): void {
    while (this.bytes > bytesLeft && this.count > 0) {
      const at = (this.#next - this.count) & this.#mask
      this.bytes -= (this.marks[at] as number) >>> 2
      // The ring must not keep the strings alive.
      this.fields[at * 2] = ''
      this.fields[at * 2 + 1] = ''
      this.count--
    }
  }

  #grow(): void {
    const capacity = this.marks.length * 2
    const fields: string[] = new Array(capacity * 2).fill('')
    const marks: number[] = new Array(capacity).fill(0)
    for (let index = 0; index < this.count; index++) {
      const at = (this.#next - this.count + index) & this.#mask
      fields[index * 2] = this.fields[at * 2] as string
      fields[index * 2 + 1] = this.fields[at * 2 + 1] as string
      marks[index] = this.marks[at] as number
    }
    this.fields = fields
    this.marks = marks
    this.#mask = capacity - 1
    this.#next = this.count
  }
}
