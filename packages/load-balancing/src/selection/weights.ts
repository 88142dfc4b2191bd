import type { Backend } from '../backend.ts'

/** Weights of backends in one array, as pickers read them. */
export function weightsOf(backends: readonly Backend[]): Float64Array {
  return Float64Array.from(backends, (backend) => backend.weight)
}

/** Whether all weights are the same. */
export function isUniform(weights: Float64Array): boolean {
  return weights.every((weight) => weight === weights[0])
}

/** Draws an index at random in proportion to the weights, in constant time (Vose's alias method). */
export class WeightedDraw {
  readonly #random: () => number
  readonly #count: number
  /** Null for equal weights. */
  readonly #chances: Float64Array | null
  readonly #aliases: Uint32Array

  constructor(weights: Float64Array, random: () => number) {
    const count = weights.length
    this.#random = random
    this.#count = count
    this.#aliases = new Uint32Array(count)
    this.#chances = isUniform(weights) ? null : new Float64Array(count).fill(1)
    if (this.#chances !== null) fillAliases(weights, this.#chances, this.#aliases)
  }

  draw(): number {
    const position = this.#random() * this.#count
    const index = Math.floor(position)
    if (this.#chances === null) return index
    // The fraction is as random as the index: one number serves both.
    return position - index < (this.#chances[index] as number) ? index : (this.#aliases[index] as number)
  }
}

function fillAliases(weights: Float64Array, chances: Float64Array, aliases: Uint32Array): void {
  const count = weights.length
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  const scaled = weights.map((weight) => (weight * count) / total)
  const small: number[] = []
  const large: number[] = []
  for (let index = 0; index < count; index++) ((scaled[index] as number) < 1 ? small : large).push(index)
  while (small.length > 0 && large.length > 0) {
    const less = small.pop() as number
    const more = large.at(-1) as number
    chances[less] = scaled[less] as number
    aliases[less] = more
    scaled[more] = (scaled[more] as number) - (1 - (scaled[less] as number))
    if ((scaled[more] as number) < 1) small.push(large.pop() as number)
  }
}
