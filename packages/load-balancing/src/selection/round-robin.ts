import type { Picker, Selection, SelectionInput } from './selection.ts'
import { isUniform, weightsOf } from './weights.ts'

/**
 * Takes turns, in proportion to the weights and as evenly spread as they allow: 5, 1, 1 gives `a b a a a c a`, not
 * five `a` in a row.
 *
 * A backend that cannot serve loses its turns, and the others share them by weight. Costs O(1) for equal weights,
 * O(log n) otherwise.
 */
export function roundRobin(): Selection {
  return new RoundRobin()
}

class RoundRobin implements Selection {
  readonly name: string = 'round-robin'
  /** Builds so far: each starts at another place, or frequent updates would favour whoever comes first. */
  #buildCount = 0

  build(input: SelectionInput): Picker {
    const weights = weightsOf(input.backends)
    const start = this.#buildCount++
    return isUniform(weights) ? new Rotation(weights.length, start) : new Timetable(weights, start)
  }
}

/** Equal weights: the next one each time. */
class Rotation implements Picker {
  readonly #count: number
  #position: number

  constructor(count: number, start: number) {
    this.#count = count
    this.#position = start % count
  }

  begin(): number {
    return this.next()
  }

  next(): number {
    const position = this.#position
    this.#position = position + 1 === this.#count ? 0 : position + 1
    return position
  }
}

/** Where the fraction part of its multiples is spread most evenly over [0, 1). */
const GOLDEN_RATIO = (Math.sqrt(5) - 1) / 2

/** Virtual time at which all due times are moved back, long before a double gets too coarse for 1 / 65,535. */
const REBASE_AT = 2 ** 20

/**
 * Earliest due time first. A backend of weight w is due every 1 / w, and those of equal weight are offset evenly
 * from each other. The heap orders them by due time; what was proposed in this walk is kept aside, and put back
 * with its next due time when the next walk begins.
 */
class Timetable implements Picker {
  readonly #periods: Float64Array
  readonly #dues: Float64Array
  readonly #heap: Int32Array
  #heapSize: number
  readonly #aside: Int32Array
  #asideCount = 0
  #started = false

  constructor(weights: Float64Array, start: number) {
    const count = weights.length
    this.#periods = new Float64Array(count)
    this.#dues = new Float64Array(count)
    this.#heap = new Int32Array(count)
    this.#aside = new Int32Array(count)
    this.#heapSize = 0
    const peers = new Map<number, number>()
    for (const weight of weights) peers.set(weight, (peers.get(weight) ?? 0) + 1)
    const seen = new Map<number, number>()
    for (let index = 0; index < count; index++) {
      const weight = weights[index] as number
      const rank = seen.get(weight) ?? 0
      seen.set(weight, rank + 1)
      const phase = ((rank + 0.5) / (peers.get(weight) as number) + start * GOLDEN_RATIO) % 1
      this.#periods[index] = 1 / weight
      this.#dues[index] = phase / weight
      this.#push(index)
    }
  }

  begin(): number {
    if (this.#started) this.#reschedule()
    this.#started = true
    return this.#heap[0] as number
  }

  next(): number {
    if (this.#heapSize <= 1) return -1
    this.#aside[this.#asideCount++] = this.#popRoot()
    return this.#heap[0] as number
  }

  /** Gives the root, which was taken, and those passed over before it their next due time after the root's. */
  #reschedule(): void {
    const dues = this.#dues
    const root = this.#heap[0] as number
    const time = dues[root] as number
    dues[root] = time + (this.#periods[root] as number)
    this.#siftDown(0)
    while (this.#asideCount > 0) {
      const index = this.#aside[--this.#asideCount] as number
      const due = dues[index] as number
      const period = this.#periods[index] as number
      dues[index] = due + period * (Math.floor((time - due) / period) + 1)
      this.#push(index)
    }
    if (time > REBASE_AT) {
      for (let index = 0; index < dues.length; index++) dues[index] = (dues[index] as number) - time
    }
  }

  /** Ties go to the lower index, so that the order does not depend on the heap's history. */
  #isBefore(a: number, b: number): boolean {
    const dueA = this.#dues[a] as number
    const dueB = this.#dues[b] as number
    return dueA < dueB || (dueA === dueB && a < b)
  }

  #push(index: number): void {
    const heap = this.#heap
    let position = this.#heapSize++
    while (position > 0) {
      const parent = (position - 1) >> 1
      const other = heap[parent] as number
      if (!this.#isBefore(index, other)) break
      heap[position] = other
      position = parent
    }
    heap[position] = index
  }

  #popRoot(): number {
    const heap = this.#heap
    const root = heap[0] as number
    heap[0] = heap[--this.#heapSize] as number
    this.#siftDown(0)
    return root
  }

  #siftDown(start: number): void {
    const heap = this.#heap
    const size = this.#heapSize
    const index = heap[start] as number
    let position = start
    for (;;) {
      let child = position * 2 + 1
      if (child >= size) break
      if (child + 1 < size && this.#isBefore(heap[child + 1] as number, heap[child] as number)) child++
      const other = heap[child] as number
      if (!this.#isBefore(other, index)) break
      heap[position] = other
      position = child
    }
    heap[position] = index
  }
}
