import { type Bucket, buildContinuum, Continuum } from '@cirque/ketama'
import type { Backend } from '../backend.ts'
import { booleanOf, integerIn, onlyKeys } from '../check.ts'
import type { Picker, Selection, SelectionInput, SelectionKey } from './selection.ts'

/** Options of {@link ketama}. */
export interface KetamaOptions {
  /** Points per unit of weight. From 1. Default 160, the number of nginx: change it and the choice is no longer nginx's. */
  readonly pointsPerWeight?: number
  /** Whether the brackets of IPv6 are hashed. Default true, as in nginx; false is what Pingora does. */
  readonly ipv6Brackets?: boolean
}

/**
 * The consistent-hash ring of nginx (`hash … consistent`) and Pingora: the same key meets the same backend there and
 * here, and a change of the set moves only its share of the keys. O(1) on average. A request without a key is placed
 * at random. Weights cost memory: 160 points of 10 to 14 bytes for each unit, so keep them small.
 */
export function ketama(options: KetamaOptions = {}): Selection {
  onlyKeys('ketama', options, ['pointsPerWeight', 'ipv6Brackets'])
  if (options.pointsPerWeight !== undefined) integerIn('pointsPerWeight', options.pointsPerWeight, 1, 65_535)
  if (options.ipv6Brackets !== undefined) booleanOf('ipv6Brackets', options.ipv6Brackets)
  return {
    name: 'ketama',
    build: (input) => new KetamaPicker(new Continuum(buckets(input.backends), options), input),
    buildInSlices: async (input, signal) => {
      const ring = await buildContinuum(buckets(input.backends), { ...options, signal })
      return new KetamaPicker(ring, input)
    },
  }
}

function buckets(backends: readonly Backend[]): Bucket[] {
  return backends.map(({ address, weight }) => ({ address, weight }))
}

class KetamaPicker implements Picker {
  readonly #ring: Continuum
  readonly #pointCount: number
  readonly #hasOthers: boolean
  readonly #random: () => number
  #point = 0
  #stepsLeft = 0

  constructor(ring: Continuum, { backends, random }: SelectionInput) {
    this.#ring = ring
    this.#hasOthers = backends.length > 1
    this.#pointCount = ring.pointCount
    this.#random = random
  }

  begin(key: SelectionKey | undefined): number {
    this.#point =
      key === undefined
        ? Math.floor(this.#random() * this.#pointCount)
        : (this.#ring.pointIndex(key) as number)
    this.#stepsLeft = this.#pointCount
    return this.#ring.nodeIndexAt(this.#point) as number
  }

  /** The owner of the next point that is another backend's. */
  next(): number {
    if (!this.#hasOthers) return -1
    const before = this.#ring.nodeIndexAt(this.#point)
    while (--this.#stepsLeft > 0) {
      this.#point = this.#point + 1 === this.#pointCount ? 0 : this.#point + 1
      const node = this.#ring.nodeIndexAt(this.#point) as number
      if (node !== before) return node
    }
    return -1
  }
}
