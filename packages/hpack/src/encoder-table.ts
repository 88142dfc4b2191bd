import { ENTRY_BYTES } from './decoder-table.ts'

/** Entries that the ring begins with; it doubles when it is full, up to what the bytes let in. */
const CAPACITY_FIRST = 16
/** Copied, which is much cheaper than to fill anew; and typed arrays are expensive to make above 64 bytes. */
const NO_TEXTS: readonly string[] = new Array(CAPACITY_FIRST).fill('')
const NO_ENTRIES: readonly number[] = new Array(CAPACITY_FIRST).fill(-1)

/** Entries of one hash that a search looks at: what lies deeper is sent anew, which costs bytes and not time. */
const DEPTH_MAX = 8

/**
 * The dynamic table of an encoder: a ring of entries, the newest first, bounded by `bytesMax` (RFC 7541 §4), with a
 * chain through the entries whose names have equal hashes.
 *
 * Nothing is removed from a chain: an entry's place is taken by a newer one, and a link that leads to a newer entry
 * than its own is a chain's end.
 */
export class EncoderTable {
  /** Bytes that entries may take; changed by `resize` only. */
  bytesMax: number
  /** Bytes that entries take. */
  bytes: number
  /** Entries in the table, and all that ever were in it: the number of the newest one. */
  count: number
  inserted: number
  /** By position in the ring: the field, and the `nameHash` of it. */
  names: string[]
  values: string[]
  hashes: number[]
  /** Position of the next older entry of the same hash, by position; −1 is none. */
  #older: number[]
  /** Position of the newest entry, by the low bits of the hash; −1 is none. */
  #newest: number[]
  #mask: number
  #next: number

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax
    this.bytes = 0
    this.count = 0
    this.inserted = 0
    this.names = NO_TEXTS.slice()
    this.values = NO_TEXTS.slice()
    this.hashes = NO_ENTRIES.slice()
    this.#older = NO_ENTRIES.slice()
    this.#newest = NO_ENTRIES.slice()
    this.#mask = CAPACITY_FIRST - 1
    this.#next = 0
  }

  /** The position in the ring of an entry; `age` is 0 for the newest and below `count`. */
  position(age: number): number {
    return (this.#next - 1 - age) & this.#mask
  }

  /**
   * Looks for a field.
   *
   * @param hash - The `nameHash` of `name`.
   * @returns Its age, 0 for the newest; −2 − the age of another field of its name; −1 if there is none.
   */
  find(name: string, value: string, hash: number): number {
    const mask = this.#mask
    let named = -1
    let previous = -1
    let at = this.#newest[hash & mask] as number
    for (let depth = 0; at >= 0 && depth < DEPTH_MAX; depth++) {
      const age = (this.#next - 1 - at) & mask
      if (age <= previous || age >= this.count) break
      if (this.names[at] === name) {
        if (this.values[at] === value) return age
        if (named === -1) named = -2 - age
      }
      previous = age
      at = this.#older[at] as number
    }
    return named
  }

  /** Adds an entry, after making room; one that is larger than the table empties it (RFC 7541 §4.4). */
  insert(name: string, value: string, hash: number): void {
    const bytes = name.length + value.length + ENTRY_BYTES
    this.#evict(this.bytesMax - bytes)
    if (bytes > this.bytesMax) return
    if (this.count > this.#mask) this.#grow()
    this.#put(this.#next, name, value, hash)
    this.#next = (this.#next + 1) & this.#mask
    this.count++
    this.inserted++
    this.bytes += bytes
  }

  /** Sets `bytesMax`, and evicts what no longer fits (RFC 7541 §4.3). */
  resize(bytesMax: number): void {
    this.bytesMax = bytesMax
    this.#evict(bytesMax)
  }

  #put(at: number, name: string, value: string, hash: number): void {
    const slot = hash & this.#mask
    this.names[at] = name
    this.values[at] = value
    this.hashes[at] = hash
    this.#older[at] = this.#newest[slot] as number
    this.#newest[slot] = at
  }

  #evict(bytesLeft: number): void {
    while (this.bytes > bytesLeft && this.count > 0) {
      const at = (this.#next - this.count) & this.#mask
      this.bytes -= (this.names[at] as string).length + (this.values[at] as string).length + ENTRY_BYTES
      // The ring must not keep the strings alive.
      this.names[at] = ''
      this.values[at] = ''
      this.count--
    }
  }

  #grow(): void {
    const names = this.names
    const values = this.values
    const hashes = this.hashes
    const oldest = this.#next
    const capacity = names.length * 2
    this.names = new Array(capacity).fill('')
    this.values = new Array(capacity).fill('')
    this.hashes = new Array(capacity).fill(-1)
    this.#older = new Array(capacity).fill(-1)
    this.#newest = new Array(capacity).fill(-1)
    this.#mask = capacity - 1
    for (let index = 0; index < names.length; index++) {
      const at = (oldest + index) & (names.length - 1)
      this.#put(index, names[at] as string, values[at] as string, hashes[at] as number)
    }
    this.#next = names.length
  }
}
