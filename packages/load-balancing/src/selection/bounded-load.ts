import { numberIn, onlyKeys, show } from '../check.ts'
import { CostScan } from './cost-scan.ts'
import type {
  BackendStatus,
  GroupStatus,
  Picker,
  Selection,
  SelectionInput,
  SelectionKey,
} from './selection.ts'
import { requestCost } from './two-choices.ts'
import { weightsOf } from './weights.ts'

/** Options of {@link boundedLoad}. */
export interface BoundedLoadOptions {
  /** How far above its fair share of the requests in flight a backend may go. 1 to 100. Default 1.25. */
  readonly factor?: number
}

/** Proposals of the inner selection to look at before the least loaded one is taken. */
const PROPOSALS_MAX = 64

/**
 * Consistent hashing with bounded loads: the inner selection's choice, unless that backend holds more than `factor`
 * times its fair share of all requests in flight; then the next in the key's order. A hot key spreads out, the others
 * stay where they are. Needs leases (`acquire`).
 *
 * @example
 * boundedLoad(ketama(), { factor: 1.5 })
 */
export function boundedLoad(inner: Selection, options: BoundedLoadOptions = {}): Selection {
  onlyKeys('boundedLoad', options, ['factor'])
  if (typeof inner?.build !== 'function') {
    throw new TypeError(`Expected a selection such as ketama(), received ${show(inner)}`)
  }
  const factor = numberIn('factor', options.factor ?? 1.25, 1, 100)
  return {
    name: `bounded-load(${inner.name})`,
    build: (input) => new BoundedLoadPicker(inner.build(input), factor, input),
    buildInSlices: async (input, signal) => {
      const picker = await (inner.buildInSlices?.(input, signal) ?? inner.build(input))
      return new BoundedLoadPicker(picker, factor, input)
    },
  }
}

class BoundedLoadPicker implements Picker {
  readonly #inner: Picker
  readonly #factor: number
  readonly #statuses: readonly BackendStatus[]
  readonly #group: GroupStatus
  readonly #weights: Float64Array
  readonly #scan: CostScan
  #exhausted = false

  constructor(inner: Picker, factor: number, input: SelectionInput) {
    this.#inner = inner
    this.#factor = factor
    this.#statuses = input.statuses
    this.#group = input.group
    this.#weights = weightsOf(input.backends)
    this.#scan = new CostScan(input.statuses, this.#weights, requestCost(input), input.random)
  }

  begin(key: SelectionKey | undefined): number {
    this.#exhausted = false
    return this.#firstBelow(this.#inner.begin(key))
  }

  next(): number {
    return this.#exhausted ? this.#scan.next() : this.#firstBelow(this.#inner.next())
  }

  #firstBelow(proposal: number): number {
    let index = proposal
    for (let steps = 0; index >= 0 && steps < PROPOSALS_MAX; steps++) {
      if (this.#isBelow(index)) return index
      index = this.#inner.next()
    }
    this.#exhausted = true
    this.#scan.begin()
    return this.#scan.next()
  }

  /** Whether the backend would stay within its share, rounded up, with one more request. */
  #isBelow(index: number): boolean {
    const { inFlight, eligibleWeight } = this.#group
    const share = (this.#weights[index] as number) / Math.max(1, eligibleWeight)
    return (
      (this.#statuses[index] as BackendStatus).inFlight < Math.ceil(this.#factor * (inFlight + 1) * share)
    )
  }
}
