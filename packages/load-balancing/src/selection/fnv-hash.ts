import { Fnv64 } from './hash.ts'
import type { Picker, Selection, SelectionInput, SelectionKey } from './selection.ts'

/**
 * The key's FNV-1a hash modulo the weights: the same key always meets the same backend, as in Pingora, fallbacks
 * included. Cheap, but a change of the set moves nearly every key; `ketama`, `maglev` and `rendezvous` move only
 * their share. Fallbacks do not go by weight. A request without a key is placed at random.
 */
export function fnvHash(): Selection {
  return {
    name: 'fnv-hash',
    build: (input) => new FnvPicker(input),
  }
}

class FnvPicker implements Picker {
  readonly #hash: Fnv64 = new Fnv64()
  readonly #count: number
  /** Sum of the weights up to and with each backend. */
  readonly #ends: Float64Array
  readonly #weightTotal: number
  readonly #random: () => number

  constructor({ backends, random }: SelectionInput) {
    this.#count = backends.length
    this.#ends = new Float64Array(backends.length)
    this.#random = random
    let sum = 0
    for (const [index, backend] of backends.entries()) {
      sum += backend.weight
      this.#ends[index] = sum
    }
    this.#weightTotal = sum
  }

  begin(key: SelectionKey | undefined): number {
    const hash = this.#hash
    if (key === undefined) {
      hash.high = Math.floor(this.#random() * 0x1_0000_0000)
      hash.low = Math.floor(this.#random() * 0x1_0000_0000)
    } else hash.hash(key)
    const target = hash.modulo(this.#weightTotal)
    let low = 0
    let high = this.#count - 1
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#ends[middle] as number) <= target) low = middle + 1
      else high = middle
    }
    return low
  }

  next(): number {
    this.#hash.rehash()
    return this.#hash.modulo(this.#count)
  }
}
