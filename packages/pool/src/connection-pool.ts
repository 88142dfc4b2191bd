import { CoarseTimer, sharedWheel, TIMER_MS_MAX, type TimerWheel } from '@cirque/timeout'
import {
  callback,
  count,
  type EntryOptions,
  type EvictReason,
  type Limits,
  limitsOf,
  milliseconds,
  type PoolOptions,
} from './options.ts'
import { IdleOrder, PoolEntry, PoolGroup } from './pool-entry.ts'

/** Counts since the pool was made. */
export interface PoolStats {
  /** Calls of `acquire` that gave a connection. */
  readonly hits: number
  /** Calls of `acquire` that gave none. */
  readonly misses: number
  /** Connections given up, by reason. */
  readonly evictions: Readonly<Record<EvictReason, number>>
}

/** Sweeps are at least this far apart: an expired connection is never handed out, so its closing can wait. */
const SWEEP_GAP_MS = 250

/**
 * Keeps connections that are idle, by key, for whoever needs one to the same place again.
 *
 * It holds any kind of connection and knows nothing of it: the caller adds one when it is made, releases it when both
 * sides ended on a message boundary, and removes it when it died. The number of idle ones is capped, that of used ones
 * is the caller's business. A key that has no connection costs nothing. `acquire` and `release` take constant time.
 *
 * @example
 * const entry = pool.acquire(key) ?? pool.add(key, await dial(key))
 * try { await exchange(entry.connection); pool.release(entry) } catch (error) { pool.remove(entry); throw error }
 */
export class ConnectionPool<C> {
  readonly #limits: Limits
  readonly #onEvict: ((connection: C, reason: EvictReason) => void) | undefined
  readonly #wheel: TimerWheel
  readonly #sweepTimer: CoarseTimer
  readonly #groups: Map<string, PoolGroup<C>> = new Map()
  readonly #idle: IdleOrder<C> = new IdleOrder()
  readonly #evictions: Record<EvictReason, number>
  #usedCount: number = 0
  #hits: number = 0
  #misses: number = 0
  /** When the next sweep is due; `Infinity` when none is. */
  #sweepAtMs: number = Number.POSITIVE_INFINITY
  #isClosed: boolean = false

  /**
   * @throws {RangeError} If an option is not within its bounds.
   * @throws {TypeError} If an option is unknown, or `onEvict` is not a function.
   */
  constructor(options?: PoolOptions<C>) {
    this.#limits = limitsOf(options as PoolOptions<never> | undefined)
    this.#onEvict = callback('onEvict', options?.onEvict)
    this.#wheel = options?.wheel ?? sharedWheel
    if (typeof this.#wheel?.advance !== 'function') {
      throw new TypeError(`wheel must be a TimerWheel, got ${String(this.#wheel)}`)
    }
    this.#sweepTimer = new CoarseTimer({ onTimer: () => this.#sweep() }, 0, this.#wheel)
    this.#evictions = { 'idle-timeout': 0, age: 0, uses: 0, capacity: 0, 'key-capacity': 0, closed: 0 }
  }

  /** Connections that wait for a user. */
  get idleCount(): number {
    return this.#idle.count
  }

  /** Connections that are with a user. */
  get usedCount(): number {
    return this.#usedCount
  }

  /** Connections of `key` that wait for a user. */
  idleCountOf(key: string): number {
    return this.#groups.get(key)?.idleCount ?? 0
  }

  /** A copy of the counters. */
  stats(): PoolStats {
    return { hits: this.#hits, misses: this.#misses, evictions: { ...this.#evictions } }
  }

  /**
   * Registers a connection that was just made and is in use. Called once per connection, also when the pool is closed
   * already: its release is then refused.
   *
   * @param key - Everything that decides who the connection talks to.
   * @param options - Limits of this connection, in place of the pool's.
   * @throws {RangeError} If an option is not within its bounds.
   */
  add(key: string, connection: C, options?: EntryOptions): PoolEntry<C> {
    const limits = this.#limits
    const ageMaxMs = milliseconds('ageMaxMs', options?.ageMaxMs ?? limits.ageMaxMs)
    const usesMax = count('usesMax', options?.usesMax ?? limits.usesMax)
    const idleTimeoutMs = milliseconds('idleTimeoutMs', options?.idleTimeoutMs ?? limits.idleTimeoutMs)
    const spread = 1 - limits.jitter * Math.random()
    const entry = new PoolEntry(connection, this, this.#groupOf(key), {
      usesEnd: usesMax === 0 ? Number.POSITIVE_INFINITY : Math.max(1, Math.round(usesMax * spread)),
      ageEndMs: ageMaxMs === 0 ? Number.POSITIVE_INFINITY : this.#wheel.now() + ageMaxMs * spread,
      spread,
      idleTimeoutMs,
    })
    entry.group.count++
    this.#usedCount++
    return entry
  }

  /**
   * Takes the connection of `key` that was released last, or `undefined`: the caller then makes one. Connections past
   * their idle time or age are evicted on the way. Called once per attempt to send a request.
   */
  acquire(key: string): PoolEntry<C> | undefined {
    const group = this.#groups.get(key)
    if (group !== undefined) {
      const nowMs = this.#wheel.now()
      for (let entry = group.top; entry !== undefined; entry = group.top) {
        if (entry.idleEndMs > nowMs) {
          this.#takeIdle(entry)
          entry.stage = 'used'
          entry.uses++
          this.#usedCount++
          this.#hits++
          return entry
        }
        this.#evict(entry, entry.ageEndMs <= nowMs ? 'age' : 'idle-timeout')
      }
    }
    this.#misses++
    return undefined
  }

  /**
   * Gives a connection back, to be used again. Called once per use, and only when both sides ended exactly on a message
   * boundary; else `remove` it.
   *
   * Over a cap the least recently used idle one makes room: of the key for `idlePerKeyMax`, of all for `idleMax`.
   *
   * @param idleTimeoutMs - For this time only, such as the peer's own hint less a margin; 0 gives the connection up.
   * @returns False when it was not kept: evicted (`onEvict` has been called), or gone before.
   * @throws {Error} If it is idle already: released twice, it could come to serve two users at once.
   * @throws {TypeError} If the entry belongs to another pool.
   */
  release(entry: PoolEntry<C>, idleTimeoutMs: number = entry.idleTimeoutMs): boolean {
    this.#checkOwn(entry)
    if (entry.stage === 'gone') return false
    if (entry.stage === 'idle') throw new Error('The connection was released already')
    const { group } = entry
    const nowMs = this.#wheel.now()
    const refusal = this.#refusal(entry, idleTimeoutMs, nowMs)
    if (refusal !== undefined) {
      this.#evict(entry, refusal)
      return false
    }

    entry.idleEndMs = Math.min(nowMs + idleTimeoutMs * entry.spread, entry.ageEndMs)
    entry.stage = 'idle'
    this.#usedCount--
    group.push(entry)
    this.#idle.append(entry)
    if (entry.idleEndMs < this.#sweepAtMs) this.#sweepBy(entry.idleEndMs, nowMs)

    if (group.idleCount > this.#limits.idlePerKeyMax)
      this.#evict(group.bottom as PoolEntry<C>, 'key-capacity')
    if (this.#idle.count > this.#limits.idleMax) this.#evict(this.#idle.oldest as PoolEntry<C>, 'capacity')
    return true
  }

  /**
   * Forgets a connection that died or shall not be used again, in whatever state it is; doing so twice is harmless.
   * The caller closes it: `onEvict` is not called.
   *
   * @throws {TypeError} If the entry belongs to another pool.
   */
  remove(entry: PoolEntry<C>): void {
    this.#checkOwn(entry)
    if (entry.stage !== 'gone') this.#forget(entry)
  }

  /**
   * Evicts the idle connections of `key`, and refuses those in use when they are released. Connections added later are
   * kept as usual. For a backend that left, or whose credentials changed.
   */
  drainKey(key: string): void {
    const group = this.#groups.get(key)
    if (group === undefined) return
    this.#groups.delete(key)
    group.isDetached = true
    for (let entry = group.top; entry !== undefined; entry = group.top) this.#evict(entry, 'closed')
  }

  /** Evicts every idle connection and refuses every later release. Doing so twice is harmless. */
  close(): void {
    this.#isClosed = true
    this.#sweepTimer.cancel()
    this.#sweepAtMs = Number.POSITIVE_INFINITY
    for (let entry = this.#idle.oldest; entry !== undefined; entry = this.#idle.oldest)
      this.#evict(entry, 'closed')
  }

  #groupOf(key: string): PoolGroup<C> {
    let group = this.#groups.get(key)
    if (group === undefined) {
      group = new PoolGroup(key)
      this.#groups.set(key, group)
    }
    return group
  }

  /** Why a connection in use cannot be kept. */
  #refusal(entry: PoolEntry<C>, idleTimeoutMs: number, nowMs: number): EvictReason | undefined {
    if (this.#isClosed || entry.group.isDetached) return 'closed'
    if (entry.uses >= entry.usesEnd) return 'uses'
    if (entry.ageEndMs <= nowMs) return 'age'
    // Written so that NaN is refused too.
    if (!(idleTimeoutMs > 0)) return 'idle-timeout'
    if (this.#limits.idleMax === 0) return 'capacity'
    if (this.#limits.idlePerKeyMax === 0) return 'key-capacity'
    return undefined
  }

  #takeIdle(entry: PoolEntry<C>): void {
    entry.group.take(entry)
    this.#idle.take(entry)
  }

  /** Takes the entry out of every list and count. */
  #forget(entry: PoolEntry<C>): void {
    if (entry.stage === 'idle') this.#takeIdle(entry)
    else this.#usedCount--
    entry.stage = 'gone'
    const { group } = entry
    group.count--
    if (group.count === 0 && !group.isDetached) {
      group.isDetached = true
      this.#groups.delete(group.key)
    }
  }

  /** All state is settled before user code runs, so that it may throw or come back in. */
  #evict(entry: PoolEntry<C>, reason: EvictReason): void {
    this.#forget(entry)
    this.#evictions[reason]++
    try {
      const result: unknown = this.#onEvict?.(entry.connection, reason)
      // An async function fits the type; its rejection must not end the process.
      if (result instanceof Promise) result.catch(warn)
    } catch (error) {
      warn(error)
    }
  }

  #sweepBy(atMs: number, nowMs: number): void {
    const delayMs = Math.min(Math.max(atMs - nowMs, SWEEP_GAP_MS), TIMER_MS_MAX)
    this.#sweepAtMs = nowMs + delayMs
    this.#sweepTimer.arm(delayMs)
  }

  /** Evicts what has expired, and comes back when the next one will. Not armed again when nothing is idle. */
  #sweep(): void {
    const nowMs = this.#wheel.now()
    this.#sweepAtMs = Number.POSITIVE_INFINITY
    const expired: PoolEntry<C>[] = []
    let nextMs = Number.POSITIVE_INFINITY
    for (let entry = this.#idle.oldest; entry !== undefined; entry = entry.newer) {
      if (entry.idleEndMs <= nowMs) expired.push(entry)
      else if (entry.idleEndMs < nextMs) nextMs = entry.idleEndMs
    }
    if (nextMs !== Number.POSITIVE_INFINITY) this.#sweepBy(nextMs, nowMs)
    for (const entry of expired) {
      // User code that ran for an earlier one may have taken it meanwhile, even released it anew.
      if (entry.stage !== 'idle' || entry.idleEndMs > nowMs) continue
      this.#evict(entry, entry.ageEndMs <= nowMs ? 'age' : 'idle-timeout')
    }
  }

  #checkOwn(entry: PoolEntry<C>): void {
    if (entry.pool !== this) throw new TypeError('The entry belongs to another pool')
  }
}

function warn(error: unknown): void {
  const detail = error instanceof Error ? (error.stack ?? error.message) : undefined
  process.emitWarning('onEvict threw', { type: 'PoolWarning', ...(detail === undefined ? {} : { detail }) })
}
