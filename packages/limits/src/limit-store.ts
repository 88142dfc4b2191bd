import { checkFunction, checkInteger, checkNames } from './check.ts'
import type { Decision } from './decision.ts'
import { Gcra, type GcraOptions } from './gcra.ts'
import type { LimitKey } from './key-hash.ts'

/** Options of {@link LimitStore.take}. */
export interface TakeOptions {
  /** The caller no longer wants the answer; the units may have been taken all the same. */
  readonly signal?: AbortSignal
}

/**
 * Where a limit is kept that several hosts share. The one who limits calls `take` once per request.
 *
 * An implementation makes `take` one atomic step in its store, answers at once or by promise, and rejects when it
 * does not know; whoever calls it decides what that means (see `FallbackLimitStore`). It builds its answer with
 * `new Decision(…)`. A key is any string; `units` is an integer from 0, and 0 only looks.
 */
export interface LimitStore {
  take(key: string, units: number, options?: TakeOptions): Decision | Promise<Decision>
}

/** A limiter in memory that a store can fall back to; `Gcra` and `SlidingWindow` are such. */
export interface LocalLimit {
  take(key: LimitKey, units?: number): Decision
}

/** A store in this process's memory: for tests, for one host, and as the example to write others by. */
export class MemoryLimitStore implements LimitStore {
  readonly #gcra: Gcra

  /** Takes the options of `Gcra` and throws as its constructor does. */
  constructor(options: GcraOptions) {
    this.#gcra = new Gcra(options)
  }

  async take(key: string, units: number, options: TakeOptions = {}): Promise<Decision> {
    options.signal?.throwIfAborted()
    return this.#gcra.take(key, units)
  }
}

/** Options of {@link FallbackLimitStore}. */
export interface FallbackLimitStoreOptions {
  /** The store that is asked first. */
  readonly store: LimitStore
  /** Decides when the store fails, is late or has too much to do. It counts only the requests it is asked for. */
  readonly fallback: LocalLimit
  /** How long the store may take, in milliseconds, an integer from 1 to 2^31 − 1. Default 100. */
  readonly timeoutMs?: number
  /** Calls to the store that may be open at once, an integer from 1 to 2^20. Default 1024. */
  readonly pendingMax?: number
  /**
   * Told of each failure of the store, for logs and metrics. What it throws becomes a process warning of type
   * `LimitWarning`: a broken log must not end the limiting.
   */
  readonly onFailure?: (error: unknown) => void
}

const OPTION_NAMES: readonly string[] = ['store', 'fallback', 'timeoutMs', 'pendingMax', 'onFailure']
const TIMEOUT_MS_DEFAULT = 100
const PENDING_MAX_DEFAULT = 1024

/**
 * Keeps limiting when a shared store is slow or gone: then a limit in memory decides.
 *
 * Never rejects for the store's sake; rejects with the signal's reason when the caller aborts.
 */
export class FallbackLimitStore implements LimitStore {
  readonly #store: LimitStore
  readonly #fallback: LocalLimit
  readonly #timeoutMs: number
  readonly #pendingMax: number
  readonly #onFailure: ((error: unknown) => void) | undefined
  #pending: number = 0

  /**
   * @throws {RangeError} If an option is out of bounds.
   * @throws {TypeError} If `store` or `fallback` has no `take`, or `onFailure` is not a function.
   */
  constructor(options: FallbackLimitStoreOptions) {
    checkNames(options, OPTION_NAMES)
    checkFunction('store.take', options.store?.take)
    checkFunction('fallback.take', options.fallback?.take)
    if (options.onFailure !== undefined) checkFunction('onFailure', options.onFailure)
    this.#store = options.store
    this.#fallback = options.fallback
    this.#timeoutMs = checkInteger('timeoutMs', options.timeoutMs ?? TIMEOUT_MS_DEFAULT, 1, 2 ** 31 - 1)
    this.#pendingMax = checkInteger('pendingMax', options.pendingMax ?? PENDING_MAX_DEFAULT, 1, 2 ** 20)
    this.#onFailure = options.onFailure
  }

  /** Calls to the store that are open, those that were given up on included. */
  get pending(): number {
    return this.#pending
  }

  async take(key: string, units: number, options: TakeOptions = {}): Promise<Decision> {
    const { signal } = options
    signal?.throwIfAborted()
    if (this.#pending >= this.#pendingMax) {
      this.#tell(new RangeError(`Store has ${this.#pending} calls open`))
      return this.#fallback.take(key, units)
    }
    try {
      return await this.#ask(key, units, signal)
    } catch (error) {
      signal?.throwIfAborted()
      this.#tell(error)
      return this.#fallback.take(key, units)
    }
  }

  #tell(failure: unknown): void {
    try {
      const result: unknown = this.#onFailure?.(failure)
      // An async function fits the type; its rejection must not end the process.
      if (result instanceof Promise) result.catch(warn)
    } catch (error) {
      warn(error)
    }
  }

  async #ask(key: string, units: number, signal: AbortSignal | undefined): Promise<Decision> {
    const controller = new AbortController()
    let giveUp: (error: unknown) => void = () => {}
    const givenUp = new Promise<never>((_resolve, reject) => {
      giveUp = reject
    })
    const abort = () => {
      giveUp(signal?.reason)
      controller.abort(signal?.reason)
    }
    const timer = setTimeout(() => {
      const error = new Error(`Store did not answer within ${this.#timeoutMs} ms`)
      giveUp(error)
      controller.abort(error)
    }, this.#timeoutMs)
    signal?.addEventListener('abort', abort, { once: true })
    try {
      return await Promise.race([givenUp, this.#call(key, units, controller.signal)])
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
    }
  }

  /** Counts a call until the store is done with it, not only until it is given up on. */
  async #call(key: string, units: number, signal: AbortSignal): Promise<Decision> {
    this.#pending++
    try {
      const decision = await this.#store.take(key, units, { signal })
      if (typeof decision?.allowed === 'boolean') return decision
      throw new TypeError(`Store answered with ${String(decision)}, which is no Decision`)
    } finally {
      this.#pending--
    }
  }
}

function warn(error: unknown): void {
  const detail = error instanceof Error ? (error.stack ?? error.message) : undefined
  process.emitWarning('onFailure threw', {
    type: 'LimitWarning',
    ...(detail === undefined ? {} : { detail }),
  })
}
