import type { Backend } from './backend.ts'
import { HealthState } from './health/health-state.ts'
import type { CircuitBreaker } from './resilience/circuit-breaker.ts'
import type { OutlierState } from './resilience/outlier.ts'
import type { BackendStatus, GroupStatus, Picker } from './selection/selection.ts'

/**
 * What one balancer knows of one address. Lives as long as the address is in the set (and as leases on it are held),
 * whatever objects discovery brings for it.
 */
export class Member implements BackendStatus {
  backend: Backend
  group: Group
  /** May be chosen now; see {@link Group.refresh}. */
  eligible: boolean = false
  /** Enabled, healthy and not ejected: what the panic threshold counts. */
  usable: boolean = false
  enabled: boolean = true
  ejected: boolean = false
  readonly health: HealthState = new HealthState()
  readonly outlier: OutlierState | null
  readonly breaker: CircuitBreaker | null
  inFlight: number = 0
  inFlightMax: number
  connectionCount: number = 0
  /** The walk that proposed it last; see `pick`. */
  stamp: number = 0
  /** When its slow start began; −1 when it takes full traffic. */
  rampStart: number = -1
  readonly #decayMs: number
  #latencyMs = 0
  #latencyAt = 0

  constructor(
    backend: Backend,
    group: Group,
    outlier: OutlierState | null,
    breaker: CircuitBreaker | null,
    decayMs: number,
  ) {
    this.backend = backend
    this.group = group
    this.outlier = outlier
    this.breaker = breaker
    this.inFlightMax = Number.POSITIVE_INFINITY
    this.#decayMs = decayMs
  }

  latencyMs(now: number): number {
    if (this.#latencyMs === 0) return 0
    return this.#latencyMs * Math.exp((this.#latencyAt - now) / this.#decayMs)
  }

  /**
   * Takes a latency into the estimate: a higher one replaces it, a lower one pulls it down over `decayMs`.
   * A failure only ever raises it, or a backend that fails fast would look like the best one.
   */
  observeLatency(latencyMs: number, ok: boolean, now: number): void {
    const share = Math.exp((this.#latencyAt - now) / this.#decayMs)
    if (latencyMs >= this.#latencyMs * share) this.#latencyMs = latencyMs
    else if (ok) this.#latencyMs = this.#latencyMs * share + latencyMs * (1 - share)
    else return
    this.#latencyAt = now
  }
}

/** The backends of one priority in one set: immutable but for the counts. Replaced as a whole by an update. */
export class Group implements GroupStatus {
  readonly priority: number
  readonly members: readonly Member[]
  readonly backends: readonly Backend[]
  readonly #panicPercent: number
  picker: Picker | null = null
  eligibleCount: number = 0
  usableCount: number = 0
  enabledCount: number = 0
  ejectedCount: number = 0
  eligibleWeight: number = 0
  inFlight: number = 0
  /** Too few usable backends: health and ejection are ignored. */
  panicking: boolean = false

  constructor(
    priority: number,
    backends: readonly Backend[],
    members: readonly Member[],
    panicPercent: number,
  ) {
    this.priority = priority
    this.backends = backends
    this.members = members
    this.#panicPercent = panicPercent
  }

  /** Counts everything anew. */
  recount(): void {
    this.usableCount = 0
    this.enabledCount = 0
    this.ejectedCount = 0
    this.inFlight = 0
    for (const member of this.members) {
      member.usable = member.enabled && !member.ejected && member.health.healthy
      if (member.usable) this.usableCount++
      if (member.enabled) this.enabledCount++
      if (member.ejected) this.ejectedCount++
      this.inFlight += member.inFlight
    }
    this.panicking = this.#isPanic()
    this.#recountEligible()
  }

  /** Brings `eligible` and the counts up to date after something about one member changed. */
  refresh(member: Member): void {
    const usable = member.enabled && !member.ejected && member.health.healthy
    if (usable !== member.usable) {
      member.usable = usable
      this.usableCount += usable ? 1 : -1
    }
    if (this.#isPanic() !== this.panicking) {
      this.panicking = !this.panicking
      this.#recountEligible()
      return
    }
    const eligible = this.#isEligible(member)
    if (eligible === member.eligible) return
    member.eligible = eligible
    this.eligibleCount += eligible ? 1 : -1
    this.eligibleWeight += eligible ? member.backend.weight : -member.backend.weight
  }

  /** Enables or disables a member; follow it with `refresh`. */
  setEnabled(member: Member, enabled: boolean): void {
    if (member.enabled === enabled) return
    member.enabled = enabled
    this.enabledCount += enabled ? 1 : -1
  }

  /** Ejects a member or takes it back; follow it with `refresh`. */
  setEjected(member: Member, ejected: boolean): void {
    if (member.ejected === ejected) return
    member.ejected = ejected
    this.ejectedCount += ejected ? 1 : -1
  }

  /** Whether the group could lose one more usable backend without falling below the panic threshold, or empty. */
  canLoseOne(): boolean {
    const left = this.usableCount - 1
    return left > 0 && left * 100 >= this.#panicPercent * this.enabledCount
  }

  /** Whether only its cap keeps a member from being chosen. */
  isSaturated(member: Member): boolean {
    return (
      (member.usable || (this.panicking && member.enabled)) &&
      member.inFlight >= member.inFlightMax &&
      (member.breaker === null || member.breaker.admits)
    )
  }

  #isPanic(): boolean {
    return this.usableCount * 100 < this.#panicPercent * this.enabledCount
  }

  #isEligible(member: Member): boolean {
    return (
      (member.usable || (this.panicking && member.enabled)) &&
      member.inFlight < member.inFlightMax &&
      (member.breaker === null || member.breaker.admits)
    )
  }

  #recountEligible(): void {
    this.eligibleCount = 0
    this.eligibleWeight = 0
    for (const member of this.members) {
      member.eligible = this.#isEligible(member)
      if (!member.eligible) continue
      this.eligibleCount++
      this.eligibleWeight += member.backend.weight
    }
  }
}

class NoGroup extends Group {
  /** It has no members, so no change of one can matter. */
  override refresh(): void {}
}

/** The group of members that are not in the set, or not yet. */
export const NO_GROUP: Group = new NoGroup(0, [], [], 0)
