import { CostScan } from './cost-scan.ts'
import type { Picker, Selection, SelectionInput } from './selection.ts'
import { WeightedDraw, weightsOf } from './weights.ts'

/** Draws tried before one pass over the eligible ones finds what draws keep missing; and passes before giving up. */
const DRAWS_MAX = 4
const PASSES_MAX = 16

/** Draws at random, in proportion to the weights. O(1). Needs no state, so it suits many balancers over one set. */
export function random(): Selection {
  return {
    name: 'random',
    build: (input) => new RandomPicker(input),
  }
}

class RandomPicker implements Picker {
  readonly #draw: WeightedDraw
  readonly #scan: CostScan
  #step = 0

  constructor({ backends, statuses, random }: SelectionInput) {
    const weights = weightsOf(backends)
    this.#draw = new WeightedDraw(weights, random)
    this.#scan = new CostScan(statuses, weights, () => 0, random)
  }

  begin(): number {
    this.#step = 0
    return this.#draw.draw()
  }

  next(): number {
    this.#step++
    if (this.#step < DRAWS_MAX) return this.#draw.draw()
    if (this.#step === DRAWS_MAX) this.#scan.begin()
    return this.#step < DRAWS_MAX + PASSES_MAX ? this.#scan.next() : -1
  }
}
