import { Decision, type LimitPolicy } from './decision.ts'

/**
 * The generic cell rate algorithm (ITU-T I.371): one time per key, at which its quota is whole again.
 *
 * A unit moves that time on by `emissionMs`; a request fits if the time then is at most `burst × emissionMs` ahead.
 */
export interface GcraShape {
  readonly policy: LimitPolicy
  /** Milliseconds in which one unit comes back. */
  readonly emissionMs: number
  /** Units that may come at once. */
  readonly burst: number
}

/** Shortest time in which a whole burst may come back; clocks and doubles do not resolve much less. */
const REFILL_MS_MIN = 0.01

/** Puts a shape together; throws a `RangeError` if its burst is back so soon that it would limit nothing. */
export function makeShape(name: string, emissionMs: number, burst: number): GcraShape {
  const windowMs = burst * emissionMs
  if (windowMs < REFILL_MS_MIN) {
    throw new RangeError(
      `The whole burst must take ${REFILL_MS_MIN} ms or more to come back, received ${windowMs}`,
    )
  }
  return { policy: { name, limit: burst, windowMs }, emissionMs, burst }
}

/** Part of a unit that the rounding of doubles may take away. */
const ROUNDING = 1e-3

/** Moves a double on by its smallest step, or two of them. */
const NEXT_DOUBLE = 1 + Number.EPSILON

/** The key's time after `units` more, or -1 if they do not fit. */
export function step(shape: GcraShape, wholeAtMs: number, nowMs: number, units: number): number {
  const baseMs = Math.max(wholeAtMs, nowMs)
  const costMs = units * shape.emissionMs
  let nextMs = baseMs + costMs
  // A cost below what a double resolves at this time (after months, at billions per second) must still count.
  if (nextMs - baseMs < costMs * (1 - ROUNDING)) nextMs = Math.max(nextMs, baseMs) * NEXT_DOUBLE
  return nextMs - nowMs <= (shape.burst + ROUNDING) * shape.emissionMs ? nextMs : -1
}

/** Tells of a key whose time is `wholeAtMs` after the request, or before it where it was refused. */
export function decide(
  shape: GcraShape,
  wholeAtMs: number,
  nowMs: number,
  units: number,
  allowed: boolean,
): Decision {
  const { emissionMs, burst } = shape
  const resetMs = Math.max(0, wholeAtMs - nowMs)
  const remaining = Math.max(0, Math.floor(burst - resetMs / emissionMs + ROUNDING))
  let retryAfterMs = 0
  if (!allowed) {
    retryAfterMs = units > burst ? Number.POSITIVE_INFINITY : resetMs + (units - burst) * emissionMs
  }
  return new Decision(shape.policy, allowed, remaining, retryAfterMs, resetMs)
}
