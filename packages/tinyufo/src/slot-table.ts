import { grown, SlotLinks } from './slot-queue.ts'

/** Slots in a table that has just been made; it doubles when full. */
const CAPACITY_INITIAL = 64

/** The entries as columns: one slot number per entry, reused after release. */
export class SlotTable<K, V> {
  readonly links: SlotLinks = new SlotLinks(CAPACITY_INITIAL)
  /** `undefined` where the slot is free. */
  readonly keys: (K | undefined)[] = []
  readonly values: (V | undefined)[] = []
  weights: Uint32Array = new Uint32Array(CAPACITY_INITIAL)
  hashes: Uint32Array = new Uint32Array(CAPACITY_INITIAL)
  /** Reads seen, capped; see `TinyUfo`. */
  uses: Uint8Array = new Uint8Array(CAPACITY_INITIAL)
  /** 1 for the main queue, 0 for the small one. */
  inMain: Uint8Array = new Uint8Array(CAPACITY_INITIAL)
  readonly #free: number[] = []

  acquire(key: K, value: V, weight: number, hash: number): number {
    const slot = this.#free.pop() ?? this.#append()
    this.keys[slot] = key
    this.values[slot] = value
    this.weights[slot] = weight
    this.hashes[slot] = hash
    this.uses[slot] = 0
    this.inMain[slot] = 0
    return slot
  }

  /** Frees a slot and lets go of its key and value. */
  release(slot: number): void {
    this.keys[slot] = undefined
    this.values[slot] = undefined
    this.#free.push(slot)
  }

  #append(): number {
    const slot = this.keys.length
    if (slot === this.uses.length) this.#grow(slot * 2)
    this.keys.push(undefined)
    this.values.push(undefined)
    return slot
  }

  #grow(capacity: number): void {
    this.links.grow(capacity)
    this.weights = grown(this.weights, new Uint32Array(capacity))
    this.hashes = grown(this.hashes, new Uint32Array(capacity))
    this.uses = grown(this.uses, new Uint8Array(capacity))
    this.inMain = grown(this.inMain, new Uint8Array(capacity))
  }
}
