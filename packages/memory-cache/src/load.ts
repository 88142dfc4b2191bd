import type { CacheAnswer } from './answer.ts'
import type { LoadContext, ReadOptions } from './read-through-options.ts'

/** The status of an answer that a call loaded itself. */
export type MissStatus = 'miss' | 'expired'

/**
 * Why a loader is called: for one key (`single`), for one key past the lock (`bypass`: the result is not kept), for a
 * `multiGet` (`batch`), or to renew stale values in the background.
 */
export type LoadKind = 'single' | 'bypass' | 'batch' | 'refresh' | 'refresh-batch'

/** A call that waits for a key. It may move from one flight to another; its promise stays the same. */
export class Waiter<K, V, X> {
  readonly promise: Promise<CacheAnswer<V>>
  readonly resolve: (answer: CacheAnswer<V>) => void
  readonly reject: (reason: unknown) => void
  readonly key: K
  readonly options: ReadOptions<X>
  /** What the call is told if its own load answers it. */
  readonly missStatus: MissStatus
  /** The load was started for this call; otherwise the call only joined it. */
  isLeader = false
  hasRetried = false
  flight: Flight<K, V, X> | null = null
  /** Runs while the call follows another call's load. */
  lockTimer: NodeJS.Timeout | null = null
  onAbort: (() => void) | null = null

  constructor(key: K, options: ReadOptions<X>, missStatus: MissStatus) {
    const { promise, resolve, reject } = Promise.withResolvers<CacheAnswer<V>>()
    this.promise = promise
    this.resolve = resolve
    this.reject = reject
    this.key = key
    this.options = options
    this.missStatus = missStatus
  }

  stopLockTimer(): void {
    if (this.lockTimer !== null) clearTimeout(this.lockTimer)
    this.lockTimer = null
  }

  /** Lets go of the timer and the signal; called once, when the call is answered. */
  release(): void {
    this.stopLockTimer()
    if (this.onAbort !== null) this.options.signal?.removeEventListener('abort', this.onAbort)
    this.onAbort = null
  }
}

/** One key of a load, and the calls that wait for it. */
export class Flight<K, V, X> {
  readonly key: K
  readonly load: Load<K, V, X>
  readonly waiters: Set<Waiter<K, V, X>> = new Set()
  /** False for a load that bypasses the lock, and once the key was put or removed meanwhile: the result is dated. */
  isKept: boolean
  /** Calls that loaded by themselves rather than wait for this. */
  bypassCount = 0

  constructor(key: K, load: Load<K, V, X>, isKept: boolean) {
    this.key = key
    this.load = load
    this.isKept = isKept
  }

  add(waiter: Waiter<K, V, X>): void {
    this.waiters.add(waiter)
    waiter.flight = this
    this.load.waiterCount += 1
  }

  remove(waiter: Waiter<K, V, X>): void {
    this.waiters.delete(waiter)
    waiter.flight = null
    this.load.waiterCount -= 1
  }

  /** Takes all waiters off. */
  drain(): Waiter<K, V, X>[] {
    const waiters = [...this.waiters]
    for (const waiter of waiters) this.remove(waiter)
    return waiters
  }
}

/** One call of a loader. */
export class Load<K, V, X> implements LoadContext<X> {
  readonly extra: X | undefined
  readonly startedAtMs: number
  readonly kind: LoadKind
  readonly flights: Flight<K, V, X>[] = []
  waiterCount = 0
  /** Answered or given up; whatever the loader still brings is dropped. */
  isOver = false
  timer: NodeJS.Timeout | null = null
  #controller: AbortController | null = null
  #abortReason: unknown = undefined

  constructor(kind: LoadKind, extra: X | undefined, startedAtMs: number) {
    this.kind = kind
    this.extra = extra
    this.startedAtMs = startedAtMs
  }

  /** Uses `loadMany`. */
  get isBatch(): boolean {
    return this.kind === 'batch' || this.kind === 'refresh-batch'
  }

  /** Started to renew stale values: it goes on although no call waits. */
  get isBackground(): boolean {
    return this.kind === 'refresh' || this.kind === 'refresh-batch'
  }

  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController()
      if (this.#abortReason !== undefined) this.#controller.abort(this.#abortReason)
    }
    return this.#controller.signal
  }

  abort(reason: Error): void {
    this.#abortReason = reason
    this.#controller?.abort(reason)
  }
}
