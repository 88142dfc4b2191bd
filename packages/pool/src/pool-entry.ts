import type { ConnectionPool } from './connection-pool.ts'

/** One connection of a pool, from `add` until it is evicted or removed. Made by the pool only. */
export class PoolEntry<C> {
  readonly connection: C
  /** How often it has been used, the current use included. */
  get useCount(): number {
    return this.uses
  }
  /** What it is pooled under. */
  get key(): string {
    return this.group.key
  }
  /** Where it is: with a user, waiting for one, or no longer in the pool. */
  get state(): 'used' | 'idle' | 'gone' {
    return this.stage
  }

  /** @internal */
  readonly pool: ConnectionPool<C>
  /** @internal */
  readonly group: PoolGroup<C>
  /** @internal */
  stage: 'used' | 'idle' | 'gone'
  /** @internal */
  uses: number
  /** Uses after which it is not kept. @internal */
  readonly usesEnd: number
  /** When it is too old. @internal */
  readonly ageEndMs: number
  /** This connection's share of jitter, by which every time and count of its own is shortened. @internal */
  readonly spread: number
  /** Idle time unless a release says otherwise. @internal */
  readonly idleTimeoutMs: number
  /** When it stops being worth anything: idle too long, or too old. @internal */
  idleEndMs: number
  /** Neighbours among the idle of its key. @internal */
  above: PoolEntry<C> | undefined
  /** @internal */
  below: PoolEntry<C> | undefined
  /** Neighbours among all idle ones. @internal */
  older: PoolEntry<C> | undefined
  /** @internal */
  newer: PoolEntry<C> | undefined

  /** @internal */
  constructor(
    connection: C,
    pool: ConnectionPool<C>,
    group: PoolGroup<C>,
    limits: { usesEnd: number; ageEndMs: number; spread: number; idleTimeoutMs: number },
  ) {
    this.connection = connection
    this.pool = pool
    this.group = group
    this.stage = 'used'
    this.uses = 1
    this.usesEnd = limits.usesEnd
    this.ageEndMs = limits.ageEndMs
    this.spread = limits.spread
    this.idleTimeoutMs = limits.idleTimeoutMs
    this.idleEndMs = 0
    this.above = undefined
    this.below = undefined
    this.older = undefined
    this.newer = undefined
  }
}

/** The connections of one key; it lives as long as there is one, used or idle. */
export class PoolGroup<C> {
  readonly key: string
  /** The idle one released last, which is the first to be used again. */
  top: PoolEntry<C> | undefined = undefined
  bottom: PoolEntry<C> | undefined = undefined
  idleCount: number = 0
  /** Used and idle together. */
  count: number = 0
  /** No longer the group of its key: what is in use now shall not come back. */
  isDetached: boolean = false

  constructor(key: string) {
    this.key = key
  }

  push(entry: PoolEntry<C>): void {
    const top = this.top
    entry.below = top
    if (top === undefined) this.bottom = entry
    else top.above = entry
    this.top = entry
    this.idleCount++
  }

  take(entry: PoolEntry<C>): void {
    const { above, below } = entry
    if (above === undefined) this.top = below
    else above.below = below
    if (below === undefined) this.bottom = above
    else below.above = above
    entry.above = undefined
    entry.below = undefined
    this.idleCount--
  }
}

/** All idle connections of a pool, by the time they were released. */
export class IdleOrder<C> {
  oldest: PoolEntry<C> | undefined = undefined
  newest: PoolEntry<C> | undefined = undefined
  count: number = 0

  append(entry: PoolEntry<C>): void {
    const newest = this.newest
    entry.older = newest
    if (newest === undefined) this.oldest = entry
    else newest.newer = entry
    this.newest = entry
    this.count++
  }

  take(entry: PoolEntry<C>): void {
    const { older, newer } = entry
    if (older === undefined) this.oldest = newer
    else older.newer = newer
    if (newer === undefined) this.newest = older
    else newer.older = older
    entry.older = undefined
    entry.newer = undefined
    this.count--
  }
}
