import { Backend, type LoadBalancer, type SelectionKey } from '@cirque/load-balancing'

/** Addresses 10.0.0.1:80, 10.0.0.2:80 … in the order of the set. */
export function addresses(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `10.0.${index >> 8}.${index & 255}:80`)
}

/** Backends with these weights. */
export function weighted(weights: readonly number[]): Backend[] {
  return addresses(weights.length).map(
    (address, index) => new Backend(address, { weight: weights[index] ?? 1 }),
  )
}

/** A small generator with a fixed seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 0x1_0000_0000
  }
}

/** A clock that is moved by hand. */
export class Clock {
  ms = 0
  readonly now = (): number => this.ms
}

/** How often each backend is chosen. */
export function shares(
  balancer: LoadBalancer,
  count: number,
  key: (index: number) => SelectionKey | undefined = () => undefined,
): Map<string, number> {
  const counts = new Map<string, number>()
  for (let index = 0; index < count; index++) {
    const address = balancer.select(key(index))?.address ?? 'none'
    counts.set(address, (counts.get(address) ?? 0) + 1)
  }
  return counts
}
