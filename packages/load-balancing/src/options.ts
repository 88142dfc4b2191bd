import { functionOf, integerIn, milliseconds, numberIn, onlyKeys, show } from './check.ts'
import {
  type CircuitBreakerOptions,
  type CircuitBreakerSettings,
  circuitBreakerSettings,
} from './resilience/circuit-breaker.ts'
import { type OutlierOptions, type OutlierSettings, outlierSettings } from './resilience/outlier.ts'

/** Options of {@link LoadBalancer}. */
export interface LoadBalancerOptions {
  /** Name of the background service, and shown in the summary. Default `load-balancer`. */
  readonly name?: string
  /** Time between discoveries. Milliseconds, from 1. Default: once at start, then as the discovery asks for. */
  readonly updateIntervalMs?: number
  /** A discovery that takes longer has failed. Milliseconds, from 1. Default 30,000. */
  readonly updateTimeoutMs?: number
  /** Most backends in a set; a larger one is refused. From 1. Default 65,536. */
  readonly backendsMax?: number
  /**
   * If fewer than this percentage of a priority group's enabled backends are usable, health and ejection are ignored
   * in it: spreading requests over all is better than crushing the few that are left. 0 to 100. Default 0: never.
   */
  readonly panicPercent?: number
  /** Most leases per backend at a time. From 1. Default: no cap. */
  readonly inFlightMax?: number
  /** Most open connections per backend that `acquireConnection` grants. From 1. Default: no cap. */
  readonly connectionsMax?: number
  /** Requests that may wait for a backend below its cap. From 0. Default 1,024. */
  readonly queueMax?: number
  /** How long a request may wait. Milliseconds, from 1. Default 1,000. */
  readonly queueTimeoutMs?: number
  /**
   * A backend that is new or healthy again gets a share that grows over this time from `slowStartPercentMin` to all.
   * Milliseconds; 0, the default, gives it all at once. Backends of the first set start with all.
   */
  readonly slowStartMs?: number
  /** Where the slow start begins. Above 0 to 100. Default 10. */
  readonly slowStartPercentMin?: number
  /** Ejection by what the proxy sees, through leases. Default: none; `{}` for the defaults. */
  readonly outlier?: OutlierOptions
  /** A circuit breaker for each backend, fed through leases. Default: none; `{}` for the defaults. */
  readonly circuitBreaker?: CircuitBreakerOptions
  /** How fast the latency estimate forgets: to a third in this time. Milliseconds, from 1. Default 10,000. */
  readonly latencyDecayMs?: number
  /** Monotonic milliseconds. Default `performance.now`. */
  readonly now?: () => number
  /** Uniform in [0, 1). Default `Math.random`. */
  readonly random?: () => number
}

/** The options with every default filled in. */
export interface LoadBalancerSettings {
  readonly name: string
  readonly updateIntervalMs: number | undefined
  readonly updateTimeoutMs: number
  readonly backendsMax: number
  readonly panicPercent: number
  readonly inFlightMax: number
  readonly connectionsMax: number
  readonly queueMax: number
  readonly queueTimeoutMs: number
  readonly slowStartMs: number
  readonly slowStartPercentMin: number
  readonly outlier: OutlierSettings | undefined
  readonly circuitBreaker: CircuitBreakerSettings | undefined
  readonly latencyDecayMs: number
  readonly now: () => number
  readonly random: () => number
}

const OPTION_NAMES: readonly string[] = [
  'name',
  'updateIntervalMs',
  'updateTimeoutMs',
  'backendsMax',
  'panicPercent',
  'inFlightMax',
  'connectionsMax',
  'queueMax',
  'queueTimeoutMs',
  'slowStartMs',
  'slowStartPercentMin',
  'outlier',
  'circuitBreaker',
  'latencyDecayMs',
  'now',
  'random',
]

/** Checks the options and fills in the defaults. */
export function loadBalancerSettings(options: LoadBalancerOptions): LoadBalancerSettings {
  onlyKeys('LoadBalancer', options, OPTION_NAMES)
  const { name = 'load-balancer', updateIntervalMs, inFlightMax, connectionsMax } = options
  if (typeof name !== 'string' || name === '') throw new TypeError(`Expected a name, received ${show(name)}`)
  const now = options.now
  const random = options.random
  return {
    name,
    updateIntervalMs:
      updateIntervalMs === undefined ? undefined : milliseconds('updateIntervalMs', updateIntervalMs),
    updateTimeoutMs: milliseconds('updateTimeoutMs', options.updateTimeoutMs ?? 30_000),
    backendsMax: integerIn('backendsMax', options.backendsMax ?? 65_536, 1, 16_777_216),
    panicPercent: numberIn('panicPercent', options.panicPercent ?? 0, 0, 100),
    inFlightMax: capOf('inFlightMax', inFlightMax),
    connectionsMax: capOf('connectionsMax', connectionsMax),
    queueMax: integerIn('queueMax', options.queueMax ?? 1_024, 0, Number.MAX_SAFE_INTEGER),
    queueTimeoutMs: milliseconds('queueTimeoutMs', options.queueTimeoutMs ?? 1_000),
    slowStartMs: milliseconds('slowStartMs', options.slowStartMs ?? 0, 0),
    slowStartPercentMin: numberIn('slowStartPercentMin', options.slowStartPercentMin ?? 10, 0.01, 100),
    outlier: options.outlier === undefined ? undefined : outlierSettings(options.outlier),
    circuitBreaker:
      options.circuitBreaker === undefined ? undefined : circuitBreakerSettings(options.circuitBreaker),
    latencyDecayMs: milliseconds('latencyDecayMs', options.latencyDecayMs ?? 10_000),
    now: now === undefined ? monotonicNow : functionOf('now', now),
    random: random === undefined ? Math.random : functionOf('random', random),
  }
}

function capOf(name: string, value: number | undefined): number {
  return value === undefined ? Number.POSITIVE_INFINITY : integerIn(name, value, 1, Number.MAX_SAFE_INTEGER)
}

function monotonicNow(): number {
  return performance.now()
}
