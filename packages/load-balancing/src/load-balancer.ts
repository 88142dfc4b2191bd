import { type BackgroundService, type BackgroundTask, backgroundService, parseAddress } from '@cirque/core'
import type { Backend, BackendLike } from './backend.ts'
import { integerIn, show } from './check.ts'
import { ConnectionLease } from './connection-lease.ts'
import {
  type Discovery,
  type DiscoveryFunction,
  StaticDiscovery,
  toDiscovery,
} from './discovery/discovery.ts'
import { type BalancerListener, guarded, Listeners } from './events.ts'
import { Feedback } from './feedback.ts'
import { HealthChecker, type HealthCheckOptions } from './health/checker.ts'
import type { HealthCheck } from './health/health-check.ts'
import type { Lease } from './lease.ts'
import { type Member, NO_GROUP } from './member.ts'
import { type LoadBalancerOptions, type LoadBalancerSettings, loadBalancerSettings } from './options.ts'
import { type SelectOptions, Walk } from './pick.ts'
import { type Refusal, type WaitOptions, WaitQueue } from './queue.ts'
import { checkSelection, Roster, type RosterChange } from './roster.ts'
import type { Selection, SelectionKey } from './selection/selection.ts'
import { BalancerSharing } from './sharing.ts'
import { type BalancerSummary, summarize } from './summary.ts'
import { Updater, type UpdateTiming } from './updater.ts'
import { Upkeep } from './upkeep.ts'

let fill: (balancer: LoadBalancer, backends: readonly Backend[]) => void

/**
 * Chooses a backend for each request among those that discovery finds and health allows.
 *
 * `select` only chooses. `acquire` also counts the request until its lease is released with an outcome: that is what
 * least requests, peak EWMA, caps, ejection and circuit breakers live on. Backends start healthy; checks and updates
 * run in `backgroundService()` (or `start`), and nothing else here holds a timer or a socket.
 *
 * @example
 * const upstreams = LoadBalancer.fromAddresses(['10.0.0.1:80', '10.0.0.2:80'], roundRobin())
 * upstreams.setHealthCheck(new TcpHealthCheck(), { intervalMs: 1_000 })
 * server.addService(upstreams.backgroundService())
 */
export class LoadBalancer implements BackgroundTask {
  readonly #settings: LoadBalancerSettings
  readonly #selection: Selection
  readonly #listeners: Listeners
  readonly #feedback: Feedback
  readonly #roster: Roster
  readonly #updater: Updater
  readonly #walk: Walk
  readonly #queue: WaitQueue
  readonly #sharing: BalancerSharing
  readonly #upkeep: Upkeep
  #running = false
  #serving = false
  #everUpdated = false
  #closed = false

  /**
   * A balancer whose set is empty until the first update, which its background service does before it is ready.
   *
   * @throws {TypeError} If an argument is of the wrong type, or an option is unknown.
   * @throws {RangeError} If an option is out of range.
   */
  constructor(
    discovery: Discovery | DiscoveryFunction,
    selection: Selection,
    options: LoadBalancerOptions = {},
  ) {
    this.#settings = loadBalancerSettings(options)
    this.#listeners = new Listeners(this.#settings.name)
    this.#selection = checkSelection(selection)
    this.#feedback = new Feedback(this.#settings, this.#listeners, {
      onRoom: () => this.#serveQueue(),
      onLeft: (member) => this.#roster.forget(member),
      onHealth: () => this.#sharing.changed(),
    })
    this.#roster = new Roster(this.#selection, this.#settings)
    this.#updater = new Updater(toDiscovery(discovery), this.#roster, this.#settings)
    this.#walk = new Walk((member) => this.#feedback.passesRamp(member))
    this.#queue = new WaitQueue(this.#settings.queueMax, this.#settings.queueTimeoutMs)
    this.#upkeep = new Upkeep({
      settings: this.#settings,
      roster: this.#roster,
      feedback: this.#feedback,
      listeners: this.#listeners,
      updater: this.#updater,
      onUpdated: (change) => {
        this.#replaced(change)
        this.#sharing.changed()
      },
      onHealthForgotten: () => {
        this.#serveQueue()
        this.#sharing.changed()
      },
    })
    this.#sharing = new BalancerSharing({
      roster: this.#roster,
      feedback: this.#feedback,
      listeners: this.#listeners,
      isFixed: this.#updater.discovery instanceof StaticDiscovery,
      onReplaced: (change) => this.#replaced(change),
      onRoom: () => this.#serveQueue(),
    })
  }

  /**
   * A balancer over fixed addresses (`host:port`, `[ipv6]:port`, `unix:/path`), each of weight 1. Ready at once.
   *
   * @throws {TypeError} If an address is not valid or listed twice.
   */
  static fromAddresses(
    addresses: Iterable<string>,
    selection: Selection,
    options: LoadBalancerOptions = {},
  ): LoadBalancer {
    return fixedBalancer(addresses, selection, options)
  }

  /**
   * A balancer over fixed backends. Ready at once; throws as `fromAddresses` does. Holds the event loop while it builds,
   * so with thousands of backends it is for the start of a program.
   */
  static fromBackends(
    backends: Iterable<BackendLike>,
    selection: Selection,
    options: LoadBalancerOptions = {},
  ): LoadBalancer {
    return fixedBalancer(backends, selection, options)
  }

  static {
    fill = (balancer, backends) => {
      balancer.#roster.replaceNow(backends, undefined)
      balancer.#everUpdated = true
    }
  }

  /** The set in place, sorted by address. */
  get backends(): readonly Backend[] {
    return this.#roster.backends
  }

  /** The backend of the set with this address. */
  backend(address: string): Backend | undefined {
    return this.#member(address)?.backend
  }

  /**
   * Chooses a backend, or `undefined` if none can serve. Counts nothing, and allocates nothing.
   *
   * @param key - What hash-based selections choose by; the others ignore it.
   * @throws {TypeError} If a hash-based selection gets a key that is neither text nor bytes; `String(id)` for a number.
   */
  select(key?: SelectionKey, options?: SelectOptions): Backend | undefined {
    return this.#pick(key, options)?.backend
  }

  /** Chooses a backend and starts a request on it, or `undefined` if none can serve. Called once per attempt. */
  acquire(key?: SelectionKey, options?: SelectOptions): Lease | undefined {
    const member = this.#pick(key, options)
    return member === undefined ? undefined : this.#feedback.begin(member)
  }

  /**
   * As `acquire`, but waits while all usable backends are at their cap: in a queue of at most `queueMax`, for at most
   * `queueTimeoutMs`, first come first served. Resolves to the reason if there is no backend; answer 503 with it.
   */
  acquireOrWait(key?: SelectionKey, options?: WaitOptions): Promise<Lease | Refusal> {
    if (this.#closed) return Promise.resolve('closed')
    const lease = this.acquire(key, options)
    if (lease !== undefined) return Promise.resolve(lease)
    if (!this.#isSaturated()) return Promise.resolve('no-backend')
    return this.#queue.wait(key, options)
  }

  /**
   * Starts a request on a backend chosen before, as by `select` or a sticky session, whatever its state or cap.
   * `undefined` if it has left the set.
   */
  acquireFor(backend: Backend): Lease | undefined {
    const member = this.#roster.members.get(backend.address)
    return member === undefined ? undefined : this.#feedback.begin(member)
  }

  /** Takes one of the `connectionsMax` connections of a backend, for whoever dials; `undefined` if all are taken. */
  acquireConnection(backend: Backend): ConnectionLease | undefined {
    const member = this.#roster.members.get(backend.address)
    if (member === undefined || member.connectionCount >= this.#settings.connectionsMax) return undefined
    member.connectionCount++
    return new ConnectionLease(() => {
      member.connectionCount--
      if (member.group === NO_GROUP && member.inFlight === 0 && member.connectionCount === 0) {
        this.#roster.forget(member)
      }
    })
  }

  /** Whether `select` may choose this backend now: enabled, healthy, not ejected, breaker not open, below its cap. */
  isEligible(backend: BackendLike): boolean {
    this.#feedback.wake()
    return this.#member(backend)?.eligible ?? false
  }

  /**
   * Takes a backend out of, or back into, service by hand; independent of its health. Leases on it go on.
   *
   * @returns False if no backend of the set has the address.
   */
  setEnabled(backend: BackendLike, enabled: boolean): boolean {
    const member = this.#member(backend)
    if (member === undefined) return false
    member.group.setEnabled(member, enabled)
    this.#feedback.refresh(member)
    if (enabled) this.#serveQueue()
    this.#sharing.changed()
    return true
  }

  /**
   * Sets how backends are checked, from the next round on; `undefined` ends checking and makes all healthy.
   *
   * @throws {TypeError} If the check or an option is not valid.
   * @throws {RangeError} If a number is out of range.
   */
  setHealthCheck(check: HealthCheck | undefined, options: HealthCheckOptions = {}): void {
    this.#upkeep.setChecker(check === undefined ? undefined : new HealthChecker(check, options))
  }

  /** Checks every backend once, now. Resolves when all results are in; rejects only if `signal` is aborted. */
  runHealthCheck(signal: AbortSignal = NEVER): Promise<void> {
    return this.#upkeep.runChecks(signal)
  }

  /**
   * Asks discovery now and puts the set it finds in place in one go. While one update runs, a second call waits for it.
   * Rejects, with the last good set in place, if discovery fails or the set is not valid.
   */
  update(signal: AbortSignal = NEVER): Promise<void> {
    return this.#upkeep.update(signal)
  }

  /** How long the last successful update took; `undefined` before the first. */
  get lastUpdateTiming(): UpdateTiming | undefined {
    return this.#updater.timing
  }

  /** Requests that wait in `acquireOrWait`. */
  get waitingCount(): number {
    return this.#queue.count
  }

  /**
   * Calls `listener` at each change of health, breaker, panic or set; the function returned ends that.
   *
   * @throws {RangeError} Beyond {@link LISTENERS_MAX} listeners.
   */
  subscribe(listener: BalancerListener): () => void {
    return this.#listeners.add(listener)
  }

  /** A snapshot of every backend's state, for logs and admin pages; O(backends). `String(summary)` is one line. */
  summary(): BalancerSummary {
    this.#feedback.wake()
    const { name, now } = this.#settings
    return summarize(name, this.#selection.name, this.#roster, this.#upkeep.check, this.#queue.count, now())
  }

  /**
   * Updates and health checks as a service of a `Server`; ready after the first update, successful or not. In a server
   * with worker threads they run in the main thread, and the balancers that workers have in the place of this one
   * follow: backends, health, and what `setEnabled` said there. Load, ejections and circuit breakers are each thread's own.
   */
  backgroundService(): BackgroundService<LoadBalancer> {
    return this.#sharing.service(backgroundService(this.#settings.name, this))
  }

  /**
   * Runs updates and health checks until `shutdown` is aborted; what the background service calls.
   *
   * @throws {Error} If it is running already, or closed.
   */
  async start(shutdown: AbortSignal, ready: () => void): Promise<void> {
    if (this.#running) throw new Error(`Balancer "${this.#settings.name}" is running already`)
    if (this.#closed) throw new Error(`Balancer "${this.#settings.name}" is closed`)
    this.#running = true
    try {
      await this.#upkeep.run(shutdown, ready)
    } finally {
      this.#running = false
    }
  }

  /** Ends all waiting requests with `closed` and releases the health check's connections. `select` still works. */
  close(): void {
    this.#closed = true
    this.#queue.close()
    this.#upkeep.close()
  }

  #pick(key: SelectionKey | undefined, options: SelectOptions | undefined): Member | undefined {
    if (options?.maxIterations !== undefined) {
      integerIn('maxIterations', options.maxIterations, 1, Number.MAX_SAFE_INTEGER)
    }
    this.#feedback.wake()
    return this.#walk.pick(this.#roster.groups, key, options)
  }

  #member(backend: BackendLike): Member | undefined {
    const address = typeof backend === 'string' ? parseAddress(backend).text : backend.address
    return this.#roster.members.get(address)
  }

  /** Whether a backend could serve if it had fewer requests. */
  #isSaturated(): boolean {
    for (const group of this.#roster.groups) {
      for (const member of group.members) if (group.isSaturated(member)) return true
    }
    return false
  }

  #serveQueue(): void {
    if (this.#queue.count === 0 || this.#serving) return
    this.#serving = true
    const hasRoom = () => this.#roster.groups.some((group) => group.eligibleCount > 0)
    try {
      this.#queue.serve(hasRoom, ({ key, options }) => this.acquire(key, options))
    } finally {
      this.#serving = false
    }
  }

  #replaced(change: RosterChange): void {
    // Everyone is new in the first set: nobody to be slow for.
    if (this.#everUpdated) for (const member of change.added) this.#feedback.ramp(member)
    this.#everUpdated = true
    for (const group of change.panicChanged) this.#feedback.panicChanged(group)
    if (change.added.length > 0 || change.removed.length > 0) {
      const added = change.added.map((member) => member.backend)
      const removed = change.removed.map((member) => member.backend)
      for (const backend of removed) guarded(() => this.#upkeep.check?.forget?.(backend))
      this.#listeners.emit({ type: 'updated', added, removed })
    }
    this.#serveQueue()
  }
}

function fixedBalancer(
  backends: Iterable<BackendLike>,
  selection: Selection,
  options: LoadBalancerOptions,
): LoadBalancer {
  // A string is iterable, too: its first character would be reported as a wrong address.
  if (typeof backends === 'string' || typeof backends?.[Symbol.iterator] !== 'function') {
    throw new TypeError(`Expected a list of backends such as ['10.0.0.1:80'], received ${show(backends)}`)
  }
  const discovery = new StaticDiscovery(backends)
  const balancer = new LoadBalancer(discovery, selection, options)
  fill(balancer, discovery.backends)
  return balancer
}

const NEVER: AbortSignal = new AbortController().signal
