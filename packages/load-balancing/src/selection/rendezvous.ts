import { hash32, mix } from './hash.ts'
import type { BackendStatus, Picker, Selection, SelectionInput, SelectionKey } from './selection.ts'
import { isUniform, weightsOf } from './weights.ts'

/** Proposals before giving up: each costs a pass. */
const PASSES_MAX = 16

/**
 * Highest random weight: each backend gets a score from the key and its own address, and the best one that can serve
 * wins. Perfectly even, no table, and only the keys of a backend that leaves move, over all others by weight. Looks
 * at every backend, O(n): for more than about a hundred take `maglev` or `ketama`. A request without a key is placed
 * at random.
 */
export function rendezvous(): Selection {
  return {
    name: 'rendezvous',
    build: (input) => new RendezvousPicker(input),
  }
}

class RendezvousPicker implements Picker {
  readonly #statuses: readonly BackendStatus[]
  readonly #seeds: Uint32Array
  /** Null for equal weights: then the hash itself is the score. */
  readonly #weights: Float64Array | null
  readonly #random: () => number
  #key = 0
  #step = 0
  #lastScore = 0
  #lastIndex = 0

  constructor({ backends, statuses, random }: SelectionInput) {
    const weights = weightsOf(backends)
    this.#statuses = statuses
    this.#seeds = Uint32Array.from(backends, (backend) => hash32(backend.address))
    this.#weights = isUniform(weights) ? null : weights
    this.#random = random
  }

  begin(key: SelectionKey | undefined): number {
    this.#key = key === undefined ? Math.floor(this.#random() * 0x1_0000_0000) : hash32(key)
    this.#step = 0
    this.#lastScore = Number.POSITIVE_INFINITY
    this.#lastIndex = -1
    return this.#best()
  }

  next(): number {
    return ++this.#step < PASSES_MAX ? this.#best() : -1
  }

  /** The best that comes after the last one found; equal scores in the order of the set. */
  #best(): number {
    let best = -1
    let bestScore = Number.NEGATIVE_INFINITY
    for (let index = 0; index < this.#seeds.length; index++) {
      if (!(this.#statuses[index] as BackendStatus).eligible) continue
      const score = this.#score(index)
      if (score <= bestScore) continue
      if (score > this.#lastScore || (score === this.#lastScore && index <= this.#lastIndex)) continue
      best = index
      bestScore = score
    }
    this.#lastScore = bestScore
    this.#lastIndex = best
    return best
  }

  #score(index: number): number {
    const hash = mix(this.#key ^ (this.#seeds[index] as number))
    if (this.#weights === null) return hash
    // Weighted scores as in "Weighted Distributed Hash Tables" (Schindelhauer, Schomaker, 2005).
    return -(this.#weights[index] as number) / Math.log((hash + 0.5) / 0x1_0000_0000)
  }
}
