import type { TimerWheel } from '@cirque/timeout'

/** Why a connection left the pool without anyone having asked for it by {@link ConnectionPool.remove}. */
export type EvictReason = 'idle-timeout' | 'age' | 'uses' | 'capacity' | 'key-capacity' | 'closed'

/** Limits of a single connection, in place of the pool's. */
export interface EntryOptions {
  /** As in {@link PoolOptions}. */
  readonly idleTimeoutMs?: number | undefined
  /** As in {@link PoolOptions}. */
  readonly ageMaxMs?: number | undefined
  /** As in {@link PoolOptions}. */
  readonly usesMax?: number | undefined
}

/** Options of a {@link ConnectionPool}. */
export interface PoolOptions<C> extends EntryOptions {
  /** Idle connections in all; 0 pools none. Default 128. The least recently used one goes first. */
  readonly idleMax?: number | undefined
  /** Idle connections per key; 0 pools none. Default: `idleMax`. The key's least recently used one goes first. */
  readonly idlePerKeyMax?: number | undefined
  /** Milliseconds a connection may be idle; 0 pools none. Default 60,000. */
  readonly idleTimeoutMs?: number | undefined
  /** Milliseconds from `add` until a connection is no longer kept or handed out; 0 is no limit. Default 3,600,000. */
  readonly ageMaxMs?: number | undefined
  /** Uses, the first included, after which a connection is no longer kept; 0 is no limit. Default 0. */
  readonly usesMax?: number | undefined
  /**
   * Share, 0 to 1, by which each connection's idle time, age and uses are shortened at most, so that connections
   * made together do not end together. They are never lengthened. Default 0.1.
   */
  readonly jitter?: number | undefined
  /**
   * Called once for each connection that the pool gives up, to close it; the pool has forgotten it by then and may be
   * used from within. What it throws, or rejects with, becomes a process warning of type `PoolWarning`. Not called for
   * `remove`.
   */
  readonly onEvict?: ((connection: C, reason: EvictReason) => void) | undefined
  /** The timers and the clock. Default: the shared wheel of `@cirque/timeout`. */
  readonly wheel?: TimerWheel | undefined
}

/** The options with their defaults, checked. */
export interface Limits {
  readonly idleMax: number
  readonly idlePerKeyMax: number
  readonly idleTimeoutMs: number
  readonly ageMaxMs: number
  readonly usesMax: number
  readonly jitter: number
}

const OPTION_NAMES: readonly string[] = [
  'idleMax',
  'idlePerKeyMax',
  'idleTimeoutMs',
  'ageMaxMs',
  'usesMax',
  'jitter',
  'onEvict',
  'wheel',
]

export function limitsOf(options: PoolOptions<never> | undefined): Limits {
  if (options !== undefined && (typeof options !== 'object' || options === null || Array.isArray(options))) {
    throw new TypeError(`The options of the pool must be an object, got ${String(options)}`)
  }
  for (const name of Object.keys(options ?? {})) {
    if (OPTION_NAMES.includes(name)) continue
    throw new TypeError(`Unknown option "${name}" of the pool; known are ${OPTION_NAMES.join(', ')}`)
  }
  const idleMax = count('idleMax', options?.idleMax ?? 128)
  const jitter = options?.jitter ?? 0.1
  if (!(typeof jitter === 'number' && jitter >= 0 && jitter <= 1))
    throw new RangeError(`jitter must be from 0 to 1, got ${jitter}`)
  return {
    idleMax,
    idlePerKeyMax: count('idlePerKeyMax', options?.idlePerKeyMax ?? idleMax),
    idleTimeoutMs: milliseconds('idleTimeoutMs', options?.idleTimeoutMs ?? 60_000),
    ageMaxMs: milliseconds('ageMaxMs', options?.ageMaxMs ?? 3_600_000),
    usesMax: count('usesMax', options?.usesMax ?? 0),
    jitter,
  }
}

export function callback<T>(name: string, value: T): T {
  if (value !== undefined && typeof value !== 'function') {
    throw new TypeError(`${name} must be a function, got ${String(value)}`)
  }
  return value
}

export function count(name: string, value: number): number {
  if (!(Number.isSafeInteger(value) && value >= 0)) {
    throw new RangeError(`${name} must be an integer of 0 or more, got ${value}`)
  }
  return value
}

export function milliseconds(name: string, value: number): number {
  if (!(Number.isFinite(value) && value >= 0)) {
    throw new RangeError(`${name} must be a number of 0 or more, got ${value}`)
  }
  return value
}
