import { checkDurationMs, checkFunction, checkInteger, checkNames } from './check.ts'
import { CACHE_OPTION_NAMES, type MemoryCacheOptions } from './entry-store.ts'

/** The longest `setTimeout`: longer ones fire at once. */
const TIMEOUT_MS_MOST = 2 ** 31 - 1

/** What a loader found. */
export interface Loaded<V> {
  readonly value: V
  /** Time to live in place of the option `ttlMs`. 0: handed to the calls that wait for it, but not kept. */
  readonly ttlMs?: number
}

/** What a loader gets beside the key. */
export interface LoadContext<X> {
  /** Aborted when the load takes longer than `loadTimeoutMs`, or when no call waits for it any more. Made when read. */
  readonly signal: AbortSignal
  /** What the call that started the load gave as `extra`. Calls that join it later do not change it. */
  readonly extra: X | undefined
}

/** Options of one `get` or `multiGet`. */
export interface ReadOptions<X> {
  /** Passed on to the loader if this call starts it. */
  readonly extra?: X
  /** In place of the cache's own `staleWhileRevalidateMs`. */
  readonly staleWhileRevalidateMs?: number
  /** In place of the cache's own `staleIfErrorMs`. */
  readonly staleIfErrorMs?: number
  /** Ends the wait of this call, which rejects with the signal's reason. A value at hand is still given out. */
  readonly signal?: AbortSignal
}

/** Options of {@link ReadThroughCache}. */
export interface ReadThroughOptions<K, V, X> extends MemoryCacheOptions<K, V> {
  /**
   * Loads one key. Called at most once at a time per key, apart from the calls that the lock let go by. `undefined`
   * says that there is no such thing. It must not ask this cache for the same key. It should heed `context.signal`:
   * a load given up no longer counts, and what it still brings is dropped.
   */
  readonly load: (key: K, context: LoadContext<X>) => Loaded<V> | undefined | Promise<Loaded<V> | undefined>
  /** Loads the missing keys of one `multiGet`: one result per key, in their order. Default: `load` for each. */
  readonly loadMany?: (
    keys: readonly K[],
    context: LoadContext<X>,
  ) => readonly (Loaded<V> | undefined)[] | Promise<readonly (Loaded<V> | undefined)[]>
  /** Time to live where the loader names none. Default: `Infinity`. 0 keeps nothing. */
  readonly ttlMs?: number
  /** How long to remember that the loader found nothing. Default: 0, not at all. */
  readonly negativeTtlMs?: number
  /** For how long after its expiry a value is given out while a load in the background renews it. Default: 0. */
  readonly staleWhileRevalidateMs?: number
  /** For how long after its expiry a value is given out when its load fails or is refused. Default: 0. */
  readonly staleIfErrorMs?: number
  /** For how long after a failed load stale values are given out without trying again. Default: 1,000. */
  readonly retryAfterErrorMs?: number
  /** How long a call waits for another call's load before it loads by itself, uncached. Default: 10,000; 0: not at all. */
  readonly lockTimeoutMs?: number
  /** How old a load may be for a new call to wait for it; past that the call loads by itself, uncached. Default: 10,000. */
  readonly lockAgeMs?: number
  /** How many calls may go past one load in these two ways; the others go on waiting. `Infinity`: all. Default: 10. */
  readonly lockBypassesMax?: number
  /** The longest a load may take: 1 to 2,147,483,647. Default: 30,000. */
  readonly loadTimeoutMs?: number
  /** How many loads, background ones included, may be under way; past that they are refused. Default: 1,000. */
  readonly loadsMax?: number
  /** How many calls (keys, for `multiGet`) may wait for loads; past that they are refused. Default: 10,000. */
  readonly waitersMax?: number
  /** Told of each failed load in the background. What it throws is ignored. */
  readonly onRefreshError?: (error: Error, key: K) => void
}

/** The options that the cache itself reads, checked and complete. */
export interface ReadThroughSettings {
  readonly ttlMs: number
  readonly negativeTtlMs: number
  readonly staleWhileRevalidateMs: number
  readonly staleIfErrorMs: number
  readonly retryAfterErrorMs: number
  readonly lockTimeoutMs: number
  readonly lockAgeMs: number
  readonly lockBypassesMax: number
  readonly loadTimeoutMs: number
  readonly loadsMax: number
  readonly waitersMax: number
}

const OPTION_NAMES: readonly string[] = [
  ...CACHE_OPTION_NAMES,
  'load',
  'loadMany',
  'ttlMs',
  'negativeTtlMs',
  'staleWhileRevalidateMs',
  'staleIfErrorMs',
  'retryAfterErrorMs',
  'lockTimeoutMs',
  'lockAgeMs',
  'lockBypassesMax',
  'loadTimeoutMs',
  'loadsMax',
  'waitersMax',
  'onRefreshError',
]

/** Fills in defaults and refuses wrong options. */
export function readSettings<K, V, X>(options: ReadThroughOptions<K, V, X>): ReadThroughSettings {
  checkNames(options, OPTION_NAMES)
  const settings: ReadThroughSettings = {
    ttlMs: options.ttlMs ?? Number.POSITIVE_INFINITY,
    negativeTtlMs: options.negativeTtlMs ?? 0,
    staleWhileRevalidateMs: options.staleWhileRevalidateMs ?? 0,
    staleIfErrorMs: options.staleIfErrorMs ?? 0,
    retryAfterErrorMs: options.retryAfterErrorMs ?? 1_000,
    lockTimeoutMs: options.lockTimeoutMs ?? 10_000,
    lockAgeMs: options.lockAgeMs ?? 10_000,
    lockBypassesMax: options.lockBypassesMax ?? 10,
    loadTimeoutMs: options.loadTimeoutMs ?? 30_000,
    loadsMax: options.loadsMax ?? 1_000,
    waitersMax: options.waitersMax ?? 10_000,
  }
  if (typeof options.load !== 'function') {
    throw new TypeError(`load must be a function, received ${String(options.load)}`)
  }
  checkFunction('loadMany', options.loadMany)
  checkFunction('onRefreshError', options.onRefreshError)
  checkDurationMs('ttlMs', settings.ttlMs)
  checkDurationMs('negativeTtlMs', settings.negativeTtlMs)
  checkDurationMs('staleWhileRevalidateMs', settings.staleWhileRevalidateMs)
  checkDurationMs('staleIfErrorMs', settings.staleIfErrorMs)
  checkDurationMs('retryAfterErrorMs', settings.retryAfterErrorMs)
  checkDurationMs('lockAgeMs', settings.lockAgeMs)
  checkInteger('loadTimeoutMs', settings.loadTimeoutMs, 1, TIMEOUT_MS_MOST)
  if (settings.lockTimeoutMs !== Number.POSITIVE_INFINITY) {
    checkInteger('lockTimeoutMs', settings.lockTimeoutMs, 0, TIMEOUT_MS_MOST)
  }
  if (settings.lockBypassesMax !== Number.POSITIVE_INFINITY) {
    checkInteger('lockBypassesMax', settings.lockBypassesMax, 0, Number.MAX_SAFE_INTEGER)
  }
  checkInteger('loadsMax', settings.loadsMax, 1, Number.MAX_SAFE_INTEGER)
  checkInteger('waitersMax', settings.waitersMax, 1, Number.MAX_SAFE_INTEGER)
  return settings
}

/** Refuses wrong options of one call, before anything is started or counted for it. */
export function checkReadOptions<X>(options: ReadOptions<X>): void {
  const { staleWhileRevalidateMs, staleIfErrorMs, signal } = options
  if (signal !== undefined && typeof signal?.addEventListener !== 'function') {
    throw new TypeError(`signal must be an AbortSignal, received ${String(signal)}`)
  }
  if (staleWhileRevalidateMs !== undefined) checkDurationMs('staleWhileRevalidateMs', staleWhileRevalidateMs)
  if (staleIfErrorMs !== undefined) checkDurationMs('staleIfErrorMs', staleIfErrorMs)
}
