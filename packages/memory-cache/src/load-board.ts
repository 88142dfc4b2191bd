import type { CacheAnswer } from './answer.ts'
import { Flight, Load, type LoadKind, type MissStatus, Waiter } from './load.ts'
import { type CacheLoadError, loadError } from './load-error.ts'
import type { Loaded, ReadOptions, ReadThroughOptions, ReadThroughSettings } from './read-through-options.ts'
import type { ReadThroughCounters } from './read-through-stats.ts'

/** One for all loads: clients that leave cause it at will. */
const ABANDONED: DOMException = new DOMException('No call waits for this load any more', 'AbortError')

/** What the board asks of the cache's store. */
export interface LoadKeeper<K, V, X> {
  /** Keeps what a load found. May throw: then the load of this key has failed. */
  keep(key: K, loaded: Loaded<V> | undefined): void
  /** Notes that a load of the key failed. */
  postpone(key: K): void
  /** What can be given out when no load can answer. */
  fallback(key: K, options: ReadOptions<X>): CacheAnswer<V> | undefined
}

/**
 * Who loads and who waits: the locks, timers and limits of a read-through cache.
 *
 * Every waiter is in exactly one flight until it is answered, and is answered once. A load ends once: by its loader,
 * by its timer, or when its last waiter leaves; what its loader brings after that is dropped.
 */
export class LoadBoard<K, V, X> {
  readonly #options: ReadThroughOptions<K, V, X>
  readonly #settings: ReadThroughSettings
  readonly #now: () => number
  readonly #counters: ReadThroughCounters
  readonly #keeper: LoadKeeper<K, V, X>
  /** The flight that new calls for a key join. */
  readonly #locks: Map<K, Flight<K, V, X>> = new Map()
  loadCount = 0
  waiterCount = 0

  constructor(
    options: ReadThroughOptions<K, V, X>,
    settings: ReadThroughSettings,
    now: () => number,
    counters: ReadThroughCounters,
    keeper: LoadKeeper<K, V, X>,
  ) {
    this.#options = options
    this.#settings = settings
    this.#now = now
    this.#counters = counters
    this.#keeper = keeper
  }

  isLocked(key: K): boolean {
    return this.#locks.has(key)
  }

  /** Whether a call may wait: its signal is not aborted, and fewer than `waitersMax` calls wait. */
  mayWait(options: ReadOptions<X>): boolean {
    return options.signal?.aborted !== true && this.waiterCount < this.#settings.waitersMax
  }

  /** Answers a call for one key: joins the load of the key, or starts one. */
  wait(key: K, options: ReadOptions<X>, missStatus: MissStatus): Promise<CacheAnswer<V>> {
    if (!this.mayWait(options)) return this.#refuse(key, options)
    const waiter = this.createWaiter(key, options, missStatus)
    this.#enter(waiter)
    return waiter.promise
  }

  /** Makes a waiter that must go into `start` before control returns to the caller. `mayWait` must hold. */
  createWaiter(key: K, options: ReadOptions<X>, missStatus: MissStatus): Waiter<K, V, X> {
    const waiter = new Waiter<K, V, X>(key, options, missStatus)
    const { signal } = options
    this.waiterCount += 1
    if (missStatus === 'miss') this.#counters.misses += 1
    else this.#counters.expired += 1
    if (signal !== undefined) {
      waiter.onAbort = () => {
        this.#leave(waiter)
        this.#release(waiter)
        waiter.reject(signal.reason)
      }
      signal.addEventListener('abort', waiter.onAbort, { once: true })
    }
    return waiter
  }

  /** Starts one load of `keys`; `waiters`, if any, match them one to one. */
  start(kind: LoadKind, keys: readonly K[], waiters: readonly Waiter<K, V, X>[], extra: X | undefined): void {
    const { loadsMax, loadTimeoutMs } = this.#settings
    if (this.loadCount >= loadsMax) {
      this.#counters.loadsRefused += 1
      const error = loadError('CACHE_LOADS_FULL', `Cannot load: ${loadsMax} loads are under way`)
      for (const waiter of waiters) this.#answerFailure(waiter, error)
      return
    }
    const load = new Load<K, V, X>(kind, extra, this.#now())
    for (const [index, key] of keys.entries()) {
      // A key can have been locked since the caller looked: a loader may ask this cache for other keys.
      const flight = new Flight(key, load, kind !== 'bypass' && !this.#locks.has(key))
      load.flights.push(flight)
      if (flight.isKept) this.#locks.set(key, flight)
      const waiter = waiters[index]
      if (waiter === undefined) continue
      waiter.isLeader = true
      flight.add(waiter)
    }
    this.loadCount += 1
    this.#counters.loads += 1
    if (load.isBackground) this.#counters.refreshes += 1
    load.timer = setTimeout(() => this.#onLoadTimeout(load), loadTimeoutMs)
    // A renewal that nobody waits for must not keep the process alive.
    if (load.isBackground) load.timer.unref()
    this.#call(load, keys)
  }

  /** The key was put or removed: its load answers those who wait, but is not kept, and new calls do not join it. */
  detach(key: K): void {
    const flight = this.#locks.get(key)
    if (flight === undefined) return
    flight.isKept = false
    this.#locks.delete(key)
  }

  detachAll(): void {
    for (const flight of this.#locks.values()) flight.isKept = false
    this.#locks.clear()
  }

  #refuse(key: K, options: ReadOptions<X>): Promise<CacheAnswer<V>> {
    if (options.signal?.aborted) return Promise.reject(options.signal.reason)
    this.#counters.waitersRefused += 1
    const answer = this.#keeper.fallback(key, options)
    if (answer !== undefined) return Promise.resolve(answer)
    const message = `Cannot wait for a load: ${this.#settings.waitersMax} calls wait already`
    return Promise.reject(loadError('CACHE_WAITERS_FULL', message))
  }

  #enter(waiter: Waiter<K, V, X>): void {
    const { lockAgeMs, lockTimeoutMs } = this.#settings
    const flight = this.#locks.get(waiter.key)
    if (flight === undefined) {
      this.#lead('single', waiter)
      return
    }
    const isAged = this.#now() - flight.load.startedAtMs > lockAgeMs
    if ((isAged || lockTimeoutMs === 0) && this.#mayBypass(flight)) {
      if (isAged) this.#counters.lockAgeouts += 1
      else this.#counters.lockTimeouts += 1
      this.#bypass(flight, waiter)
      return
    }
    flight.add(waiter)
    // Now somebody waits, also if the load was started in the background.
    flight.load.timer?.ref()
    // A waiter that comes from a failed load keeps its timer: the two waits count as one.
    if (lockTimeoutMs === 0 || lockTimeoutMs === Number.POSITIVE_INFINITY || waiter.lockTimer !== null) return
    waiter.lockTimer = setTimeout(() => this.#onLockTimeout(waiter), lockTimeoutMs)
  }

  #onLockTimeout(waiter: Waiter<K, V, X>): void {
    waiter.lockTimer = null
    const { flight } = waiter
    // One that may not bypass the lock goes on waiting, at most until the load times out.
    if (flight === null || !this.#mayBypass(flight)) return
    this.#counters.lockTimeouts += 1
    this.#leave(waiter)
    this.#bypass(flight, waiter)
  }

  /** Without this bound, the crowd behind one slow key would take all of `loadsMax` and shut out every other key. */
  #mayBypass(flight: Flight<K, V, X>): boolean {
    return flight.bypassCount < this.#settings.lockBypassesMax && this.loadCount < this.#settings.loadsMax
  }

  #bypass(flight: Flight<K, V, X>, waiter: Waiter<K, V, X>): void {
    flight.bypassCount += 1
    this.#lead('bypass', waiter)
  }

  #lead(kind: 'single' | 'bypass', waiter: Waiter<K, V, X>): void {
    waiter.stopLockTimer()
    this.start(kind, [waiter.key], [waiter], waiter.options.extra)
  }

  #onLoadTimeout(load: Load<K, V, X>): void {
    this.#counters.loadTimeouts += 1
    const { loadTimeoutMs } = this.#settings
    this.#fail(load, loadError('CACHE_LOAD_TIMEOUT', `Loader took longer than ${loadTimeoutMs} ms`))
  }

  /** Calls the loader. Also a throw becomes a rejection, so that a failure never comes before others could join. */
  #call(load: Load<K, V, X>, keys: readonly K[]): void {
    const { load: loadOne, loadMany = missingLoader } = this.#options
    const results = load.isBatch
      ? attempt(() => loadMany(keys, load))
      : attempt(() => loadOne(keys[0] as K, load)).then((result) => [result])
    results.then(
      (found) => this.#succeed(load, found),
      (cause: unknown) => this.#fail(load, loadFailure(cause)),
    )
  }

  #succeed(load: Load<K, V, X>, results: readonly (Loaded<V> | undefined)[]): void {
    if (load.isOver) return
    if (!Array.isArray(results) || results.length !== load.flights.length) {
      const received = Array.isArray(results) ? `${results.length}` : typeof results
      const cause = new TypeError(
        `loadMany must return ${load.flights.length} results, one per key, received ${received}`,
      )
      this.#fail(load, loadFailure(cause))
      return
    }
    this.#end(load)
    let failure: CacheLoadError | undefined
    for (const [index, flight] of load.flights.entries()) {
      let value: V | undefined
      try {
        const result = results[index] as Loaded<V> | undefined
        checkResult(result)
        value = result?.value
        if (flight.isKept) this.#keeper.keep(flight.key, result)
      } catch (cause) {
        failure = loadFailure(cause)
        this.#failFlight(flight, failure)
        continue
      }
      this.#unlock(flight)
      this.#answer(flight, value)
    }
    if (failure !== undefined) this.#counters.loadErrors += 1
  }

  #answer(flight: Flight<K, V, X>, value: V | undefined): void {
    const lockHit: CacheAnswer<V> = { value, status: 'lock-hit', staleMs: 0 }
    for (const waiter of flight.drain()) {
      this.#release(waiter)
      if (waiter.isLeader) {
        waiter.resolve({ value, status: waiter.missStatus, staleMs: 0 })
      } else {
        this.#counters.lockHits += 1
        waiter.resolve(lockHit)
      }
    }
  }

  #fail(load: Load<K, V, X>, error: CacheLoadError): void {
    if (load.isOver) return
    this.#counters.loadErrors += 1
    this.#end(load)
    load.abort(error)
    for (const flight of load.flights) this.#failFlight(flight, error)
  }

  #failFlight(flight: Flight<K, V, X>, error: CacheLoadError): void {
    const { key, load } = flight
    if (flight.isKept) this.#keeper.postpone(key)
    this.#unlock(flight)
    const followers: Waiter<K, V, X>[] = []
    for (const waiter of flight.drain()) {
      if (waiter.isLeader || waiter.hasRetried) this.#answerFailure(waiter, error)
      else followers.push(waiter)
    }
    if (load.isBackground) this.#report(error, key)
    // The failure may have been the leader's own. The first follower leads a second load, the others join it.
    for (const waiter of followers) {
      waiter.hasRetried = true
      const answer = this.#keeper.fallback(key, waiter.options)
      if (answer === undefined) {
        this.#enter(waiter)
      } else {
        this.#release(waiter)
        waiter.resolve(answer)
      }
    }
  }

  #answerFailure(waiter: Waiter<K, V, X>, error: CacheLoadError): void {
    this.#release(waiter)
    const answer = this.#keeper.fallback(waiter.key, waiter.options)
    if (answer === undefined) waiter.reject(error)
    else waiter.resolve(answer)
  }

  #report(error: CacheLoadError, key: K): void {
    // What the listener throws has nobody to go to: its contract is to ignore it, also when it is async.
    attempt(() => this.#options.onRefreshError?.(error, key)).catch(ignore)
  }

  /** Takes a waiter off its load, and ends the load if nobody is left to want it. */
  #leave(waiter: Waiter<K, V, X>): void {
    const { flight } = waiter
    if (flight === null) return
    flight.remove(waiter)
    const { load } = flight
    if (load.waiterCount > 0 || load.isBackground || load.isOver) return
    this.#counters.loadsAbandoned += 1
    this.#end(load)
    for (const each of load.flights) this.#unlock(each)
    load.abort(ABANDONED)
  }

  #end(load: Load<K, V, X>): void {
    load.isOver = true
    this.loadCount -= 1
    if (load.timer !== null) clearTimeout(load.timer)
    load.timer = null
  }

  #unlock(flight: Flight<K, V, X>): void {
    if (this.#locks.get(flight.key) === flight) this.#locks.delete(flight.key)
  }

  #release(waiter: Waiter<K, V, X>): void {
    waiter.release()
    this.waiterCount -= 1
  }
}

/** Calls at once; a throw becomes a rejection. */
function attempt<T>(call: () => T | PromiseLike<T>): Promise<T> {
  return new Promise((resolve) => resolve(call()))
}

function loadFailure(cause: unknown): CacheLoadError {
  return loadError('CACHE_LOAD_FAILED', `Loader failed: ${describe(cause)}`, cause)
}

function describe(cause: unknown): string {
  try {
    return cause instanceof Error ? `${cause.message}` : String(cause)
  } catch {
    // Anything can be thrown, also what cannot be turned into a string. The load must end all the same.
    return `threw a value of type ${typeof cause}`
  }
}

function ignore(): void {}

/** A loader in plain JavaScript may return the bare value by mistake; that must not be cached as "nothing". */
function checkResult(result: unknown): void {
  if (result === undefined || (typeof result === 'object' && result !== null && 'value' in result)) return
  throw new TypeError(`A loader must return { value, ttlMs? } or undefined, received ${typeof result}`)
}

function missingLoader(): never {
  throw new TypeError('There is no loadMany')
}
