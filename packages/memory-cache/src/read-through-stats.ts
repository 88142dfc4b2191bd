/** Counters of a `ReadThroughCache` since it was made. For `multiGet` each key counts as a call. */
export interface ReadThroughStats {
  /** Fresh values out of memory. */
  readonly hits: number
  /** Fresh "not found" answers out of memory. */
  readonly negativeHits: number
  /** Stale values given out, while a renewal runs or because a load failed. */
  readonly stale: number
  /** Calls that found nothing and waited for a load. */
  readonly misses: number
  /** Calls that found an expired value and waited for a load. */
  readonly expired: number
  /** Of the misses and expired: calls that were answered by the load of another. */
  readonly lockHits: number
  /** Calls that waited `lockTimeoutMs` and then loaded by themselves. */
  readonly lockTimeouts: number
  /** Calls that found a load older than `lockAgeMs` and loaded by themselves. */
  readonly lockAgeouts: number
  /** Calls of a loader. */
  readonly loads: number
  /** Of the loads: those that failed or timed out. */
  readonly loadErrors: number
  /** Of the loads: those that took longer than `loadTimeoutMs`. */
  readonly loadTimeouts: number
  /** Of the loads: those given up because no call waited any more. */
  readonly loadsAbandoned: number
  /** Of the loads: those in the background. */
  readonly refreshes: number
  /** Loads not started because of `loadsMax`. */
  readonly loadsRefused: number
  /** Calls refused because of `waitersMax`. */
  readonly waitersRefused: number
  /** Entries pushed out to make room. */
  readonly evictions: number
  /** Loads under way now; at most `loadsMax`. */
  readonly loading: number
  /** Calls waiting now; at most `waitersMax`. */
  readonly waiting: number
}

/** The numbers behind `ReadThroughStats`. */
export class ReadThroughCounters {
  hits = 0
  negativeHits = 0
  stale = 0
  misses = 0
  expired = 0
  lockHits = 0
  lockTimeouts = 0
  lockAgeouts = 0
  loads = 0
  loadErrors = 0
  loadTimeouts = 0
  loadsAbandoned = 0
  refreshes = 0
  loadsRefused = 0
  waitersRefused = 0
}
