/** What the entry takes besides its octets (RFC 7541 §4.1). */
export const ENTRY_BYTES: number = 32

/** The size of the table before anything is announced (RFC 9113 §6.5.2). */
export const TABLE_BYTES_DEFAULT: number = 4096

/** Entries that the ring begins with; it doubles when it is full, up to what the bytes let in. */
const CAPACITY_FIRST = 16

/** The dynamic table of a decoder: a ring of entries, the newest first, bounded by `bytesMax` (RFC 7541 §4). */
export class DecoderTable {
  /** Bytes that entries may take; changed by `resize` only. */
  bytesMax: number
  /** Bytes that entries take. */
  bytes: number
  /** Entries in the table. */
  count: number
  /** By position in the ring; a power of two of them. */
  #names: string[]
  #values: string[]
  #mask: number
  /** Position of the next entry. */
  #next: number

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax
    this.count = 0
    this.bytes = 0
    this.#names = new Array(CAPACITY_FIRST).fill('')
    this.#values = new Array(CAPACITY_FIRST).fill('')
    this.#mask = CAPACITY_FIRST - 1
    this.#next = 0
  }

  /** The name of an entry; `age` is 0 for the newest and below `count`. */
  name(age: number): string {
    return this.#names[(this.#next - 1 - age) & this.#mask] as string
  }

  /** The value of an entry; `age` is 0 for the newest and below `count`. */
  value(age: number): string {
    return this.#values[(this.#next - 1 - age) & this.#mask] as string
  }

  /** Adds an entry, after making room; one that is larger than the table empties it (RFC 7541 §4.4). */
  insert(name: string, value: string): void {
    const bytes = name.length + value.length + ENTRY_BYTES
    this.#evict(this.bytesMax - bytes)
    if (bytes > this.bytesMax) return
    if (this.count > this.#mask) this.#grow()
    const at = this.#next
    this.#names[at] = name
    this.#values[at] = value
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
      this.bytes -= (this.#names[at] as string).length + (this.#values[at] as string).length + ENTRY_BYTES
      // The ring must not keep the strings alive.
      this.#names[at] = ''
      this.#values[at] = ''
      this.count--
    }
  }

  #grow(): void {
    const names: string[] = new Array((this.#mask + 1) * 2).fill('')
    const values: string[] = new Array(names.length).fill('')
    for (let index = 0; index < this.count; index++) {
      const at = (this.#next - this.count + index) & this.#mask
      names[index] = this.#names[at] as string
      values[index] = this.#values[at] as string
    }
    this.#names = names
    this.#values = values
    this.#mask = names.length - 1
    this.#next = this.count
  }
}
