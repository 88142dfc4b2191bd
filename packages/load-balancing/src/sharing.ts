import type {
  BackgroundService,
  BackgroundTask,
  ServiceContext,
  SharedValue,
  WorkerContext,
} from '@cirque/core'
import { Backend, type BackendOptions } from './backend.ts'
import { guarded, type Listeners } from './events.ts'
import type { Feedback } from './feedback.ts'
import type { Member } from './member.ts'
import type { Roster, RosterChange } from './roster.ts'

/** Sets up to this size are put in place at once in a worker, before whatever the main thread sends next. */
const AT_ONCE_MAX = 4_096

/** A backend on its way to another thread. */
type SharedBackend = readonly [address: string, options: BackendOptions]

/** What the main thread knows of the backends that not all others do. */
interface SharedHealth {
  readonly unhealthy: readonly string[]
  readonly disabled: readonly string[]
}

/** What the sharing of a balancer works on. */
export interface SharedParts {
  readonly roster: Roster
  readonly feedback: Feedback
  readonly listeners: Listeners
  /** Every thread builds the same set by itself. */
  readonly isFixed: boolean
  /** A set was put in place. */
  readonly onReplaced: (change: RosterChange) => void
  /** Somebody who waits can perhaps be served. */
  readonly onRoom: () => void
}

/**
 * One balancer in many threads: the main thread discovers and checks, and publishes what it finds; the balancers that
 * workers have in its place follow.
 */
export class BalancerSharing {
  readonly #parts: SharedParts
  #backends: SharedValue<readonly SharedBackend[]> | undefined
  #health: SharedValue<SharedHealth> | undefined
  #publishedBackends: readonly Backend[] = []
  #isDue = false
  #applying: Promise<void> | undefined
  #reportError: (error: unknown) => void = () => undefined

  constructor(parts: SharedParts) {
    this.#parts = parts
  }

  /** The service of a balancer, which shares its state where there are threads. */
  service<T extends BackgroundTask>(inner: BackgroundService<T>): BackgroundService<T> {
    return {
      name: inner.name,
      task: inner.task,
      start: (context) => {
        this.#lead(context)
        return inner.start(context)
      },
      startInWorker: (context) => this.#follow(context),
      drain: () => inner.drain(),
      destroy: () => inner.destroy(),
    }
  }

  /** Set, health or what is enabled has changed: it is published at the end of this turn. */
  changed(): void {
    if (this.#health === undefined || this.#isDue) return
    this.#isDue = true
    queueMicrotask(() => {
      this.#isDue = false
      this.#publish()
    })
  }

  // --- in the main thread ------------------------------------------------------------------------

  #lead({ shared, logger }: ServiceContext): void {
    if (shared === undefined) return
    this.#backends = shared.value('backends')
    this.#health = shared.value('health')
    this.#reportError = (error) => logger.error('Cannot share backends with worker threads', { error })
    this.#publish()
  }

  #publish(): void {
    const { roster, isFixed } = this.#parts
    try {
      if (!isFixed && roster.backends !== this.#publishedBackends) {
        this.#publishedBackends = roster.backends
        this.#backends?.set(roster.backends.map(toShared))
      }
      const unhealthy: string[] = []
      const disabled: string[] = []
      for (const [address, member] of roster.members) {
        if (!member.health.healthy) unhealthy.push(address)
        if (!member.enabled) disabled.push(address)
      }
      this.#health?.set({ unhealthy, disabled })
    } catch (error) {
      this.#reportError(error) // metadata that cannot be copied, such as functions
    }
  }

  // --- in a worker -------------------------------------------------------------------------------

  #follow({ shared, logger }: WorkerContext): void {
    this.#reportError = (error) => logger.error('Cannot take over backends of the main thread', { error })
    shared.value<readonly SharedBackend[]>('backends').subscribe((backends) => this.#replace(backends))
    shared.value<SharedHealth>('health').subscribe((health) => this.#whenReplaced(() => this.#apply(health)))
  }

  #replace(shared: readonly SharedBackend[]): void {
    const { roster, onReplaced } = this.#parts
    if (this.#applying === undefined && shared.length <= AT_ONCE_MAX) {
      try {
        onReplaced(roster.replaceNow(shared.map(fromShared), undefined))
      } catch (error) {
        this.#reportError(error)
      }
      return
    }
    const applying = (this.#applying ?? Promise.resolve())
      .then(async () => onReplaced(await roster.replace(shared.map(fromShared), undefined, NEVER)))
      .catch((error: unknown) => this.#reportError(error))
      .then(() => {
        if (this.#applying === applying) this.#applying = undefined
      })
    this.#applying = applying
  }

  #whenReplaced(act: () => void): void {
    if (this.#applying === undefined) act()
    else void this.#applying.then(act)
  }

  #apply({ unhealthy, disabled }: SharedHealth): void {
    const sick = new Set(unhealthy)
    const off = new Set(disabled)
    for (const [address, member] of this.#parts.roster.members) {
      this.#applyTo(member, !sick.has(address), !off.has(address))
    }
    this.#parts.onRoom()
  }

  #applyTo(member: Member, healthy: boolean, enabled: boolean): void {
    const { feedback, listeners } = this.#parts
    const flips = member.health.healthy !== healthy
    if (!flips && member.enabled === enabled) return
    member.health.healthy = healthy
    member.group.setEnabled(member, enabled)
    if (flips && healthy) feedback.ramp(member)
    feedback.refresh(member)
    if (!flips) return
    const { backend } = member
    guarded(() => {
      if (healthy) listeners.emit({ type: 'healthy', backend })
      else listeners.emit({ type: 'unhealthy', backend, error: new Error('Its health check failed') })
    })
  }
}

function toShared({ address, weight, priority, inFlightMax, metadata, peerOptions }: Backend): SharedBackend {
  const options = { weight, priority, metadata, peerOptions }
  return [address, inFlightMax === undefined ? options : { ...options, inFlightMax }]
}

function fromShared([address, options]: SharedBackend): Backend {
  return new Backend(address, options)
}

const NEVER: AbortSignal = new AbortController().signal
