import type { BalancerEvent, Listeners } from './events.ts'
import type { HealthThresholds } from './health/health-state.ts'
import { Lease, type LeaseOwner, type Outcome } from './lease.ts'
import { type Group, type Member, NO_GROUP } from './member.ts'
import type { LoadBalancerSettings } from './options.ts'
import type { CircuitBreakerState } from './resilience/circuit-breaker.ts'

/** What the feedback tells its balancer. */
export interface FeedbackOwner {
  /** A backend may have become eligible: somebody who waits can be served. */
  onRoom(): void
  /** The last lease on a backend that has left the set is back. */
  onLeft(member: Member): void
  /** A check has changed a backend's health. */
  onHealth(): void
}

/** Turns leases, health results and the passing of time into the state of members. */
export class Feedback implements LeaseOwner {
  readonly #settings: LoadBalancerSettings
  readonly #listeners: Listeners
  readonly #owner: FeedbackOwner
  /** Members with an ejection or a breaker that time will change. */
  readonly #timed: Set<Member> = new Set()
  /** When the first of them changes; infinity if none. */
  wakeAt: number = Number.POSITIVE_INFINITY

  constructor(settings: LoadBalancerSettings, listeners: Listeners, owner: FeedbackOwner) {
    this.#settings = settings
    this.#listeners = listeners
    this.#owner = owner
  }

  /** Starts a request on a member. */
  begin(member: Member): Lease {
    member.inFlight++
    member.group.inFlight++
    const { breaker } = member
    let epoch = 0
    if (breaker !== null) {
      if (breaker.state === 'closed') epoch = breaker.begin(0)
      else {
        epoch = breaker.begin(this.#settings.now())
        this.#watch(member)
      }
    }
    if (breaker !== null || member.inFlight >= member.inFlightMax) this.refresh(member)
    return new Lease(this, member, epoch)
  }

  released(member: Member, breakerEpoch: number, outcome: Outcome | undefined): void {
    const wasEligible = member.eligible
    member.inFlight--
    member.group.inFlight--
    const verdict = verdictOf(outcome)
    const latencyMs = outcome?.latencyMs
    if (verdict !== undefined && latencyMs !== undefined && latencyMs >= 0 && latencyMs < Infinity) {
      member.observeLatency(latencyMs, verdict, this.#settings.now())
    }
    if (member.breaker !== null || (member.outlier !== null && verdict !== undefined)) {
      this.#judge(member, breakerEpoch, verdict, this.#settings.now())
    }
    this.refresh(member)
    if (member.eligible && !wasEligible) this.#owner.onRoom()
    if (member.group === NO_GROUP && member.inFlight === 0 && member.connectionCount === 0) {
      this.#owner.onLeft(member)
    }
  }

  /** A health check's result. Returns whether the member's health flipped; never for one that has left the set. */
  checked(member: Member, success: boolean, thresholds: HealthThresholds): boolean {
    if (member.group === NO_GROUP || !member.health.observe(success, thresholds)) return false
    if (success) this.ramp(member)
    this.refresh(member)
    if (success) this.#owner.onRoom()
    this.#owner.onHealth()
    return true
  }

  /** Starts the slow start of a member, if there is one. */
  ramp(member: Member): void {
    if (this.#settings.slowStartMs > 0) member.rampStart = this.#settings.now()
  }

  /** Whether a member in slow start takes this request. */
  passesRamp(member: Member): boolean {
    const { slowStartMs, slowStartPercentMin, now, random } = this.#settings
    const share = (now() - member.rampStart) / slowStartMs
    if (share >= 1) {
      member.rampStart = -1
      return true
    }
    return random() < Math.max(share, slowStartPercentMin / 100)
  }

  /** Brings the member's eligibility up to date, and tells when its group begins or ends to panic. */
  refresh(member: Member): void {
    const { group } = member
    const panicked = group.panicking
    group.refresh(member)
    if (group.panicking !== panicked) this.panicChanged(group)
  }

  /** As `refresh`, after a change that moves the counts of the whole group. */
  refreshAll(group: Group): void {
    const panicked = group.panicking
    group.recount()
    if (group.panicking !== panicked) this.panicChanged(group)
  }

  panicChanged(group: Group): void {
    this.#listeners.emit({ type: 'panic', priority: group.priority, panicking: group.panicking })
    this.#owner.onRoom()
  }

  /** Ends ejections and moves breakers whose time has come. */
  wake(): void {
    if (this.wakeAt !== Number.POSITIVE_INFINITY) this.#wakeTimed()
  }

  #wakeTimed(): void {
    const now = this.#settings.now()
    if (now < this.wakeAt) return
    this.wakeAt = Number.POSITIVE_INFINITY
    let room = false
    for (const member of this.#timed) {
      this.#advance(member, now)
      this.refresh(member)
      room ||= member.eligible
      this.#watch(member)
    }
    if (room) this.#owner.onRoom()
  }

  #advance(member: Member, now: number): void {
    if (member.ejected && (member.outlier?.ejectedUntil ?? 0) <= now) {
      member.group.setEjected(member, false)
      this.ramp(member)
      this.#tell(member, { type: 'returned', backend: member.backend })
    }
    const { breaker } = member
    if (breaker !== null) {
      const before = breaker.state
      breaker.advance(now)
      this.#tellBreaker(member, before)
    }
  }

  #judge(member: Member, breakerEpoch: number, verdict: boolean | undefined, now: number): void {
    const { breaker, outlier } = member
    if (breaker !== null) {
      const before = breaker.state
      breaker.end(verdict, breakerEpoch, now)
      if (before !== 'closed' || breaker.state !== 'closed') this.#watch(member)
      this.#tellBreaker(member, before)
    }
    if (outlier === null || verdict === undefined || member.ejected) return
    if (!outlier.observe(verdict, now) || !this.#mayEject(member)) return
    const ejectionMs = outlier.eject(now)
    member.group.setEjected(member, true)
    this.#watch(member)
    this.#tell(member, { type: 'ejected', backend: member.backend, ejectionMs })
  }

  /** Keeps the group above its panic threshold, never empties it, and holds to `ejectionPercentMax`. */
  #mayEject(member: Member): boolean {
    const { group } = member
    if (group === NO_GROUP || !member.usable || !group.canLoseOne()) return false
    const { ejectedCount } = group
    if (ejectedCount === 0) return true
    const percentMax = this.#settings.outlier?.ejectionPercentMax ?? 0
    return (ejectedCount + 1) * 100 <= percentMax * group.members.length
  }

  #tellBreaker(member: Member, before: CircuitBreakerState): void {
    const state = member.breaker?.state
    if (state === undefined || state === before) return
    if (state === 'closed') this.ramp(member)
    this.#tell(member, { type: `breaker-${state}`, backend: member.backend })
  }

  /** Whoever listens finds the member in its new state. One that has left the set is nobody's concern. */
  #tell(member: Member, event: BalancerEvent): void {
    this.refresh(member)
    if (member.group !== NO_GROUP) this.#listeners.emit(event)
  }

  /** Notes when time will change the member next. */
  #watch(member: Member): void {
    const ejectedUntil = member.ejected ? (member.outlier?.ejectedUntil ?? 0) : Number.POSITIVE_INFINITY
    const wakeAt = Math.min(ejectedUntil, member.breaker?.wakeAt ?? Number.POSITIVE_INFINITY)
    if (wakeAt === Number.POSITIVE_INFINITY) this.#timed.delete(member)
    else this.#timed.add(member)
    if (wakeAt < this.wakeAt) this.wakeAt = wakeAt
  }
}

function verdictOf(outcome: Outcome | undefined): boolean | undefined {
  if (outcome === undefined) return undefined
  if (outcome.ok) return true
  return outcome.source === undefined || outcome.source === 'upstream' ? false : undefined
}
