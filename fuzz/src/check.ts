import { inspect, isDeepStrictEqual } from 'node:util'

/** Throws unless both are deeply equal. `what` says what must hold: findings are told apart by it. */
export function same(what: string, actual: unknown, expected: unknown): void {
  if (isDeepStrictEqual(actual, expected)) return
  const options = { depth: 6, maxStringLength: 400, breakLength: 120 }
  throw new Error(
    `${what}\n  actual:   ${inspect(actual, options)}\n  expected: ${inspect(expected, options)}`,
  )
}

/** Throws unless `condition` holds. */
export function holds(what: string, condition: boolean): void {
  if (!condition) throw new Error(what)
}

/**
 * Runs `act`, which may refuse its input with one of `kinds`; any other error is a finding.
 *
 * @returns What `act` returned, or `undefined` after a refusal.
 */
export function orRefused<T>(
  act: () => T,
  ...kinds: readonly (new (
    ...args: never[]
  ) => Error)[]
): T | undefined {
  try {
    return act()
  } catch (error) {
    if (kinds.some((kind) => (error as Error).constructor === kind)) return undefined
    throw error
  }
}

/** Where an input is cut for a test of splits: a few places that depend on the bytes alone. */
export function cutsOf(input: Buffer): number[] {
  let hash = 0x811c9dc5
  const cuts = new Set<number>()
  for (const byte of input.subarray(0, 256)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0
  for (let index = 0; index < 3 && input.length > 0; index += 1) {
    cuts.add(hash % input.length)
    hash = Math.imul(hash ^ (hash >>> 13), 0x5bd1e995) >>> 0
  }
  return [...cuts].sort((a, b) => a - b)
}
