import type { Backend, BackendLike } from './backend.ts'
import { toBackend } from './backend.ts'
import { TIMER_MS_MAX } from './check.ts'
import type { Discovery } from './discovery/discovery.ts'
import type { LoadBalancerSettings } from './options.ts'
import type { Roster, RosterChange } from './roster.ts'
import { runInSlices, STEP_ITEMS } from './steps.ts'

/** How long the last update took. */
export interface UpdateTiming {
  /** Asking the discovery, in milliseconds. */
  readonly discoveryMs: number
  /** Building the selection and publishing the set, in milliseconds, pauses included. */
  readonly buildMs: number
}

/** First and longest pause after a failed update; it doubles from one failure to the next. */
const RETRY_MS = 1_000
const RETRY_MS_MAX = 30_000

/** Asks the discovery and puts what it found in place; one update at a time. */
export class Updater {
  readonly discovery: Discovery
  readonly #roster: Roster
  readonly #settings: LoadBalancerSettings
  /** Of the last update that succeeded. */
  timing: UpdateTiming | undefined
  #ttlMs: number | undefined
  #failureCount = 0

  constructor(discovery: Discovery, roster: Roster, settings: LoadBalancerSettings) {
    this.discovery = discovery
    this.#roster = roster
    this.#settings = settings
  }

  /** Time to the next update; infinity if none is due by itself. */
  get nextDelayMs(): number {
    const { updateIntervalMs = Number.POSITIVE_INFINITY } = this.#settings
    if (this.#failureCount > 0) {
      return Math.min(RETRY_MS * 2 ** Math.min(this.#failureCount - 1, 16), RETRY_MS_MAX, updateIntervalMs)
    }
    return Math.min(updateIntervalMs, this.#ttlMs ?? Number.POSITIVE_INFINITY)
  }

  /** Updates once. Rejects, with the set unchanged, if discovery or the set is at fault, or on abort. */
  async update(signal: AbortSignal): Promise<RosterChange> {
    try {
      const change = await this.#update(signal)
      this.#failureCount = 0
      return change
    } catch (error) {
      this.#failureCount++
      throw error
    }
  }

  async #update(signal: AbortSignal): Promise<RosterChange> {
    const startedAt = performance.now()
    const found = await this.#discover(signal)
    const foundAt = performance.now()
    const backends = await runInSlices(toBackends(found.backends), signal)
    const disabled = found.disabled === undefined ? undefined : new Set(found.disabled)
    const change = await this.#roster.replace(backends, disabled, signal)
    this.timing = { discoveryMs: foundAt - startedAt, buildMs: performance.now() - foundAt }
    this.#ttlMs = found.ttlMs === undefined ? undefined : Math.min(Math.max(found.ttlMs, 1), TIMER_MS_MAX)
    return change
  }

  /** A discovery that does not end is given up, or no other update would ever run. */
  async #discover(signal: AbortSignal): Promise<Awaited<ReturnType<Discovery['discover']>>> {
    signal.throwIfAborted()
    const controller = new AbortController()
    const onAbort = () => controller.abort(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    const { promise: ended, reject } = Promise.withResolvers<never>()
    controller.signal.addEventListener('abort', () => reject(controller.signal.reason), { once: true })
    const { updateTimeoutMs } = this.#settings
    const timer = setTimeout(() => {
      controller.abort(new Error(`Discovery took longer than ${updateTimeoutMs} ms`))
    }, updateTimeoutMs)
    try {
      return await Promise.race([ended, this.discovery.discover(controller.signal)])
    } finally {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
    }
  }
}

function* toBackends(given: readonly BackendLike[]): Generator<void, Backend[], void> {
  if (!Array.isArray(given)) throw new TypeError('Expected discovery to find an array of backends')
  const backends: Backend[] = []
  for (const backend of given) {
    backends.push(toBackend(backend))
    if (backends.length % STEP_ITEMS === 0) yield
  }
  return backends
}
