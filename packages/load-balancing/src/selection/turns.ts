import { isUniform } from './weights.ts'

/**
 * Whose turn it is, when one of the greatest weight has a turn in every round and one with a share of that weight in
 * that share of the rounds; within a round in the order of the set.
 *
 * Goes from turn to turn, not from round to round: with one heavy backend among thousands nearly all rounds are the
 * heavy one's alone. O(log n) a turn, O(1) for equal weights.
 */
export class Turns {
  readonly #count: number
  readonly #weights: Float64Array
  readonly #weightMax: number
  readonly #isUniform: boolean
  /** How many turns each has had. */
  readonly #taken: Float64Array
  /** The next turn of each, as round × count + index: a heap, the smallest first. At most 2^24 × 2^24. */
  readonly #heap: Float64Array
  #position = 0

  constructor(weights: Float64Array) {
    this.#count = weights.length
    this.#weights = weights
    this.#weightMax = weights.reduce((greatest, weight) => Math.max(greatest, weight), 1)
    this.#isUniform = isUniform(weights)
    this.#taken = new Float64Array(weights.length)
    this.#heap = Float64Array.from(weights, (_weight, index) => this.#turnOf(index)).sort()
  }

  /** The index whose turn is next. There must be one. */
  next(): number {
    if (this.#isUniform) {
      const position = this.#position
      this.#position = position + 1 === this.#count ? 0 : position + 1
      return position
    }
    const index = (this.#heap[0] as number) % this.#count
    this.#taken[index] = (this.#taken[index] as number) + 1
    this.#replaceFirst(this.#turnOf(index))
    return index
  }

  /** The first round in which the share of one, summed up, makes its next whole turn. */
  #turnOf(index: number): number {
    const turn = (this.#taken[index] as number) + 1
    const round = Math.ceil((turn * this.#weightMax) / (this.#weights[index] as number))
    return round * this.#count + index
  }

  #replaceFirst(turn: number): void {
    const heap = this.#heap
    const size = heap.length
    let position = 0
    for (;;) {
      let child = position * 2 + 1
      if (child >= size) break
      if (child + 1 < size && (heap[child + 1] as number) < (heap[child] as number)) child++
      const other = heap[child] as number
      if (other >= turn) break
      heap[position] = other
      position = child
    }
    heap[position] = turn
  }
}
