import { type Backend, sortBackends } from './backend.ts'
import { show } from './check.ts'
import { Group, Member, NO_GROUP } from './member.ts'
import type { LoadBalancerSettings } from './options.ts'
import { CircuitBreaker } from './resilience/circuit-breaker.ts'
import { OutlierState } from './resilience/outlier.ts'
import type { Picker, Selection, SelectionInput } from './selection/selection.ts'
import { letOthersRun, runAtOnce, runInSlices, STEP_ITEMS, type Steps } from './steps.ts'

/** A set that is ready to be built and published. */
interface Plan {
  readonly backends: readonly Backend[]
  readonly groups: readonly Group[]
  readonly members: ReadonlyMap<string, Member>
  /** Same addresses, weights, priorities and metadata as the set in place: its pickers stay. */
  readonly unchanged: boolean
}

/** What an update changed. */
export interface RosterChange {
  readonly added: readonly Member[]
  readonly removed: readonly Member[]
  /** Groups that panic now and did not before, or the other way round. */
  readonly panicChanged: readonly Group[]
}

/**
 * The members of a balancer, by address, and its priority groups.
 *
 * An update is prepared and built beside the set in place, then published in one go: there is no moment at which a
 * backend is listed and cannot be chosen, or the other way round.
 */
export class Roster {
  /** Sorted by address. */
  backends: readonly Backend[] = []
  /** In order of priority. */
  groups: readonly Group[] = []
  #members: ReadonlyMap<string, Member> = new Map()
  /** Members that left the set while leases on them were held: if they come back, their count goes on. */
  readonly #leaving: Map<string, Member> = new Map()
  readonly #selection: Selection
  readonly #settings: LoadBalancerSettings

  constructor(selection: Selection, settings: LoadBalancerSettings) {
    this.#selection = selection
    this.#settings = settings
  }

  get members(): ReadonlyMap<string, Member> {
    return this.#members
  }

  /** Replaces the set at once, holding the event loop. Throws without a change if the set is not valid. */
  replaceNow(backends: readonly Backend[], disabled: ReadonlySet<string> | undefined): RosterChange {
    const plan = runAtOnce(this.#prepare(backends))
    if (!plan.unchanged) {
      for (const group of plan.groups) group.picker = this.#selection.build(this.#input(group))
    }
    return this.#publish(plan, disabled)
  }

  /** Replaces the set, working in slices. Rejects without a change if the set is not valid or `signal` is aborted. */
  async replace(
    backends: readonly Backend[],
    disabled: ReadonlySet<string> | undefined,
    signal: AbortSignal,
  ): Promise<RosterChange> {
    const plan = await runInSlices(this.#prepare(backends), signal)
    if (!plan.unchanged) {
      for (const group of plan.groups) {
        await letOthersRun()
        group.picker = await this.#build(group, signal)
      }
      await letOthersRun()
    }
    signal.throwIfAborted()
    return this.#publish(plan, disabled)
  }

  /** A lease on a member that had left was given back: forget the member with its last one. */
  forget(member: Member): void {
    if (this.#leaving.get(member.backend.address) === member) this.#leaving.delete(member.backend.address)
  }

  #build(group: Group, signal: AbortSignal): Picker | Promise<Picker> {
    const input = this.#input(group)
    return this.#selection.buildInSlices?.(input, signal) ?? this.#selection.build(input)
  }

  #input(group: Group): SelectionInput {
    const { random, now } = this.#settings
    return { backends: group.backends, statuses: group.members, group, random, now }
  }

  *#prepare(given: readonly Backend[]): Steps<Plan> {
    if (given.length > this.#settings.backendsMax) {
      throw new RangeError(`${given.length} backends are more than backendsMax ${this.#settings.backendsMax}`)
    }
    const backends = yield* sortBackends(given)
    const byPriority = new Map<number, Backend[]>()
    const members = new Map<string, Member>()
    let unchanged = backends.length === this.backends.length
    for (let index = 0; index < backends.length; index++) {
      const backend = backends[index] as Backend
      unchanged &&= looksAlike(backend, this.backends[index])
      const group = byPriority.get(backend.priority)
      if (group === undefined) byPriority.set(backend.priority, [backend])
      else group.push(backend)
      members.set(backend.address, this.#memberFor(backend))
      if (index % STEP_ITEMS === STEP_ITEMS - 1) yield
    }
    const groups: Group[] = []
    for (const priority of [...byPriority.keys()].sort((a, b) => a - b)) {
      const inGroup = byPriority.get(priority) as Backend[]
      const groupMembers: Member[] = []
      for (const backend of inGroup) {
        groupMembers.push(members.get(backend.address) as Member)
        if (groupMembers.length % STEP_ITEMS === 0) yield
      }
      groups.push(new Group(priority, inGroup, groupMembers, this.#settings.panicPercent))
    }
    return { backends, groups, members, unchanged }
  }

  #memberFor(backend: Backend): Member {
    const known = this.#members.get(backend.address) ?? this.#leaving.get(backend.address)
    if (known !== undefined) return known
    const { outlier, circuitBreaker, latencyDecayMs } = this.#settings
    return new Member(
      backend,
      NO_GROUP,
      outlier === undefined ? null : new OutlierState(outlier),
      circuitBreaker === undefined ? null : new CircuitBreaker(circuitBreaker),
      latencyDecayMs,
    )
  }

  #publish(plan: Plan, disabled: ReadonlySet<string> | undefined): RosterChange {
    const added: Member[] = []
    const removed: Member[] = []
    const before = this.#members
    const panicking = new Map(this.groups.map((group) => [group.priority, group.panicking]))
    if (!plan.unchanged) {
      for (const member of before.values()) {
        if (!plan.members.has(member.backend.address)) removed.push(member)
      }
    }
    for (const backend of plan.backends) {
      const address = backend.address
      // Looked up again: while the plan was built a member may have left for good.
      const member = plan.members.get(address) as Member
      if (!before.has(address)) {
        added.push(member)
        this.#leaving.delete(address)
      }
      member.backend = backend
      member.inFlightMax = backend.inFlightMax ?? this.#settings.inFlightMax
      if (disabled !== undefined) member.enabled = !disabled.has(address)
    }
    for (const member of removed) {
      member.group = NO_GROUP
      member.eligible = false
      if (member.inFlight > 0 || member.connectionCount > 0) this.#leaving.set(member.backend.address, member)
    }
    if (!plan.unchanged) {
      for (const group of plan.groups) for (const member of group.members) member.group = group
      this.groups = plan.groups
      this.#members = plan.members
    }
    this.backends = plan.backends
    for (const group of this.groups) group.recount()
    const panicChanged = this.groups.filter(
      (group) => group.panicking !== (panicking.get(group.priority) ?? false),
    )
    return { added, removed, panicChanged }
  }
}

function looksAlike(a: Backend, b: Backend | undefined): boolean {
  return (
    b !== undefined &&
    a.address === b.address &&
    a.weight === b.weight &&
    a.priority === b.priority &&
    a.metadata === b.metadata
  )
}

/** Requires an object that can be a selection. */
export function checkSelection(selection: Selection): Selection {
  if (typeof selection?.build === 'function' && typeof selection.name === 'string') return selection
  throw new TypeError(`Expected a selection such as roundRobin(), received ${show(selection)}`)
}
