import type { BackendStatus } from './selection.ts'

/**
 * Finds the cheapest eligible backend in one pass, those already found in this walk left out. Ties are drawn at
 * random by weight. O(n): the first choice of selections that need the true minimum, the last resort of the others.
 */
export class CostScan {
  readonly #statuses: readonly BackendStatus[]
  readonly #weights: Float64Array
  readonly #cost: (index: number) => number
  readonly #random: () => number
  /** The walk in which each backend was found last. */
  readonly #found: Uint32Array
  #walk = 0

  constructor(
    statuses: readonly BackendStatus[],
    weights: Float64Array,
    cost: (index: number) => number,
    random: () => number,
  ) {
    this.#statuses = statuses
    this.#weights = weights
    this.#cost = cost
    this.#random = random
    this.#found = new Uint32Array(weights.length)
  }

  /** Starts a walk: everything may be found again. */
  begin(): void {
    this.#walk = this.#walk === 0xffff_ffff ? 1 : this.#walk + 1
    if (this.#walk === 1) this.#found.fill(0)
  }

  /** The cheapest that this walk has not found yet, or −1. */
  next(): number {
    const statuses = this.#statuses
    let best = -1
    let costMin = Number.POSITIVE_INFINITY
    let tieWeight = 0
    for (let index = 0; index < statuses.length; index++) {
      if (!(statuses[index] as BackendStatus).eligible || this.#found[index] === this.#walk) continue
      const cost = this.#cost(index)
      const weight = this.#weights[index] as number
      if (cost < costMin || best === -1) {
        best = index
        costMin = cost
        tieWeight = weight
      } else if (cost === costMin) {
        tieWeight += weight
        if (this.#random() * tieWeight < weight) best = index
      }
    }
    if (best !== -1) this.#found[best] = this.#walk
    return best
  }
}
