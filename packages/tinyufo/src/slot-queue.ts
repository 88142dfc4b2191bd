/** No slot: the end of a queue. */
export const NO_SLOT = -1

/** The links of all slots, shared by the queues: a slot is in at most one of them. */
export class SlotLinks {
  next: Int32Array
  previous: Int32Array

  constructor(capacity: number) {
    this.next = new Int32Array(capacity)
    this.previous = new Int32Array(capacity)
  }

  grow(capacity: number): void {
    this.next = grown(this.next, new Int32Array(capacity))
    this.previous = grown(this.previous, new Int32Array(capacity))
  }
}

/** A first-in, first-out queue of slots with a weight, from which any slot can be taken in constant time. */
export class SlotQueue {
  readonly #links: SlotLinks
  #head = NO_SLOT
  #tail = NO_SLOT
  weight = 0

  constructor(links: SlotLinks) {
    this.#links = links
  }

  push(slot: number, weight: number): void {
    const { next, previous } = this.#links
    next[slot] = NO_SLOT
    previous[slot] = this.#tail
    if (this.#tail === NO_SLOT) this.#head = slot
    else next[this.#tail] = slot
    this.#tail = slot
    this.weight += weight
  }

  /** The oldest slot, or `NO_SLOT`. */
  peek(): number {
    return this.#head
  }

  /** Takes out a slot that is in this queue. */
  remove(slot: number, weight: number): void {
    const { next, previous } = this.#links
    const before = previous[slot] as number
    const after = next[slot] as number
    if (before === NO_SLOT) this.#head = after
    else next[before] = after
    if (after === NO_SLOT) this.#tail = before
    else previous[after] = before
    this.weight -= weight
  }

  clear(): void {
    this.#head = NO_SLOT
    this.#tail = NO_SLOT
    this.weight = 0
  }
}

/** Copies a typed array into a larger one and returns the larger one. */
export function grown<A extends Int32Array | Uint32Array | Uint8Array>(from: A, to: A): A {
  to.set(from)
  return to
}
