import { CostScan } from './cost-scan.ts'
import type { BackendStatus, Picker, Selection, SelectionInput } from './selection.ts'
import { WeightedDraw, weightsOf } from './weights.ts'

/** Pairs tried before one pass over the eligible ones; and passes before giving up. */
const PAIRS_MAX = 4
const PASSES_MAX = 16

/**
 * Draws two by weight and takes the one with fewer requests in flight for its weight. O(1), and nearly as even as
 * the true minimum, without the herd that runs to the one that looks best. Needs leases (`acquire`).
 */
export function powerOfTwoChoices(): Selection {
  return {
    name: 'power-of-two-choices',
    build: (input) => new TwoChoicesPicker(input, requestCost(input)),
  }
}

/** In a moment without an answer, a backend that is busy but unknown costs more than any that is known. */
const UNKNOWN_BUSY_COST = 1e9

/**
 * Draws two by weight and takes the one with the lower expected wait: its peak-sensitive latency estimate times the
 * requests it holds. Reacts within one answer to a backend that slows down. Needs leases that are released with
 * `latencyMs`; without that it behaves as `powerOfTwoChoices`. O(1).
 */
export function peakEwma(): Selection {
  return {
    name: 'peak-ewma',
    build: (input) => new TwoChoicesPicker(input, latencyCost(input)),
  }
}

/** Requests in flight for the weight: what least requests and two choices go by. */
export function requestCost({ backends, statuses }: SelectionInput): (index: number) => number {
  const weights = weightsOf(backends)
  return (index) => (statuses[index] as BackendStatus).inFlight / (weights[index] as number)
}

function latencyCost({ backends, statuses, now }: SelectionInput): (index: number) => number {
  const weights = weightsOf(backends)
  return (index) => {
    const status = statuses[index] as BackendStatus
    const latencyMs = status.latencyMs(now())
    // Never tried and idle: the cheapest there is, so that it is tried.
    const cost =
      latencyMs === 0 && status.inFlight > 0
        ? UNKNOWN_BUSY_COST + status.inFlight
        : latencyMs * (status.inFlight + 1)
    return cost / (weights[index] as number)
  }
}

class TwoChoicesPicker implements Picker {
  readonly #statuses: readonly BackendStatus[]
  readonly #cost: (index: number) => number
  readonly #draw: WeightedDraw
  readonly #scan: CostScan
  #step = 0

  constructor({ backends, statuses, random }: SelectionInput, cost: (index: number) => number) {
    const weights = weightsOf(backends)
    this.#statuses = statuses
    this.#cost = cost
    this.#draw = new WeightedDraw(weights, random)
    this.#scan = new CostScan(statuses, weights, cost, random)
  }

  begin(): number {
    this.#step = 0
    return this.#pair()
  }

  next(): number {
    this.#step++
    if (this.#step < PAIRS_MAX) return this.#pair()
    if (this.#step === PAIRS_MAX) this.#scan.begin()
    return this.#step < PAIRS_MAX + PASSES_MAX ? this.#scan.next() : -1
  }

  #pair(): number {
    const first = this.#draw.draw()
    let second = this.#draw.draw()
    if (second === first) second = this.#draw.draw()
    if (second === first) return first
    if (!(this.#statuses[second] as BackendStatus).eligible) return first
    if (!(this.#statuses[first] as BackendStatus).eligible) return second
    return this.#cost(second) < this.#cost(first) ? second : first
  }
}
