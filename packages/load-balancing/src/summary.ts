import type { Backend } from './backend.ts'
import { guarded } from './events.ts'
import type { HealthCheck } from './health/health-check.ts'
import type { CircuitBreakerState } from './resilience/circuit-breaker.ts'
import type { Roster } from './roster.ts'

/** The state of one backend. */
export interface BackendSummary {
  readonly address: string
  /** What the health check calls it; its address otherwise. */
  readonly label: string
  readonly weight: number
  readonly priority: number
  /** May be chosen now. */
  readonly eligible: boolean
  readonly enabled: boolean
  readonly healthy: boolean
  readonly ejected: boolean
  /** `undefined` without a circuit breaker. */
  readonly breaker: CircuitBreakerState | undefined
  readonly inFlight: number
  readonly connectionCount: number
  /** 0 while nothing is known. */
  readonly latencyMs: number
}

/** The state of a balancer at one moment. */
export interface BalancerSummary {
  readonly name: string
  readonly selection: string
  readonly eligibleCount: number
  readonly waitingCount: number
  /** Priorities of the groups that ignore health because too few are usable. */
  readonly panicking: readonly number[]
  readonly backends: readonly BackendSummary[]
  /** One line, naming the backends that are out and why (the first ten). */
  toString(): string
}

const NAMED_MAX = 10

export function summarize(
  name: string,
  selection: string,
  roster: Roster,
  check: HealthCheck | undefined,
  waitingCount: number,
  now: number,
): BalancerSummary {
  const backends: BackendSummary[] = []
  for (const { address } of roster.backends) {
    const member = roster.members.get(address)
    if (member === undefined) continue
    backends.push({
      address,
      label: labelOf(member.backend, check),
      weight: member.backend.weight,
      priority: member.backend.priority,
      eligible: member.eligible,
      enabled: member.enabled,
      healthy: member.health.healthy,
      ejected: member.ejected,
      breaker: member.breaker?.state,
      inFlight: member.inFlight,
      connectionCount: member.connectionCount,
      latencyMs: member.latencyMs(now),
    })
  }
  const eligibleCount = backends.reduce((count, { eligible }) => count + (eligible ? 1 : 0), 0)
  const panicking = roster.groups.filter((group) => group.panicking).map((group) => group.priority)
  const head = `${name}: ${eligibleCount} of ${backends.length} backends eligible (${selection})`
  return {
    name,
    selection,
    eligibleCount,
    waitingCount,
    panicking,
    backends,
    toString: () => head + describeOut(backends),
  }
}

function labelOf(backend: Backend, check: HealthCheck | undefined): string {
  let label = backend.address
  guarded(() => {
    label = check?.backendSummary?.(backend) ?? label
  })
  return label
}

function describeOut(backends: readonly BackendSummary[]): string {
  const out = backends.filter(({ eligible }) => !eligible)
  if (out.length === 0) return ''
  const named = out.slice(0, NAMED_MAX).map((backend) => `${backend.label} ${reason(backend)}`)
  const rest = out.length > NAMED_MAX ? `, and ${out.length - NAMED_MAX} more` : ''
  return `; out: ${named.join(', ')}${rest}`
}

function reason(backend: BackendSummary): string {
  if (!backend.enabled) return 'disabled'
  if (!backend.healthy) return 'unhealthy'
  if (backend.ejected) return 'ejected'
  if (backend.breaker !== undefined && backend.breaker !== 'closed') return `breaker ${backend.breaker}`
  return 'at its cap'
}
