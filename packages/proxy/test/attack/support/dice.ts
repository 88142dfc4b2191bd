/** Numbers that are the same in each run of the same seed. */
export class Dice {
  #state: number

  constructor(seed: number) {
    this.#state = Math.imul(seed + SEED + 1, 2_654_435_761) >>> 0
  }

  /** From 0 up to and without 1. */
  next(): number {
    // mulberry32
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let bits = this.#state
    bits = Math.imul(bits ^ (bits >>> 15), bits | 1)
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61)
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32
  }

  /** An integer from `least` to `most`, both included. */
  integer(least: number, most: number): number {
    return least + Math.floor(this.next() * (most - least + 1))
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }

  pick<T>(choices: readonly T[]): T {
    return choices[Math.floor(this.next() * choices.length)] as T
  }
}

/** How many runs a suite makes: `usual`, or what CIRQUE_ATTACK_RUNS says. */
export function runCount(usual: number): number {
  return fromEnvironment('CIRQUE_ATTACK_RUNS', usual, 1)
}

/** Added to the seeds of all dice: CIRQUE_ATTACK_SEED, or 0. Other numbers give other runs. */
const SEED: number = fromEnvironment('CIRQUE_ATTACK_SEED', 0, 0)

function fromEnvironment(name: string, usual: number, least: number): number {
  const given = Number(process.env[name] ?? usual)
  if (!Number.isInteger(given) || given < least) {
    throw new RangeError(`${name} must be an integer of at least ${least}, not ${given}`)
  }
  return given
}

/** The time that a suite of so many runs may take: what `usual` runs take at most, and in proportion beyond. */
export function runTimeout(usual: number): number {
  return 120_000 * Math.max(1, Math.ceil(runCount(usual) / usual))
}
