import { CostScan } from './cost-scan.ts'
import type { Picker, Selection, SelectionInput } from './selection.ts'
import { requestCost } from './two-choices.ts'
import { weightsOf } from './weights.ts'

/** Proposals before giving up: each costs a pass. */
const PASSES_MAX = 16

/**
 * Takes the one with the fewest requests in flight for its weight; ties are drawn by weight. Needs leases
 * (`acquire`). Looks at every backend, O(n): for more than about a hundred take `powerOfTwoChoices`.
 */
export function leastRequests(): Selection {
  return {
    name: 'least-requests',
    build: (input) => new LeastRequestsPicker(input),
  }
}

class LeastRequestsPicker implements Picker {
  readonly #scan: CostScan
  #step = 0

  constructor(input: SelectionInput) {
    this.#scan = new CostScan(input.statuses, weightsOf(input.backends), requestCost(input), input.random)
  }

  begin(): number {
    this.#step = 0
    this.#scan.begin()
    return this.#scan.next()
  }

  next(): number {
    return ++this.#step < PASSES_MAX ? this.#scan.next() : -1
  }
}
