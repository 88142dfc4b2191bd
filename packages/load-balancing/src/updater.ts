import { parseAddress } from '@cirque/core'
import type { Backend, BackendLike } from './backend.ts'
import { toBackend } from './backend.ts'
import { numberIn, TIMER_MS_MAX } from './check.ts'
import { withDeadline } from './deadline.ts'
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

/** A discovery that asks for less would be run without a pause. */
const TTL_MS_MIN = 100

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
    const { updateTimeoutMs } = this.#settings
    const late = `Discovery took longer than ${updateTimeoutMs} ms`
    // One that does not end is given up, or no other update would ever run.
    const found = await withDeadline(signal, updateTimeoutMs, late, (deadline) =>
      this.discovery.discover(deadline),
    )
    const { ttlMs } = found
    if (ttlMs !== undefined) numberIn('ttlMs', ttlMs, 0, Number.POSITIVE_INFINITY)
    const foundAt = performance.now()
    const backends = await runInSlices(toBackends(found.backends), signal)
    const disabled =
      found.disabled === undefined
        ? undefined
        : new Set(found.disabled.map((address) => parseAddress(address).text))
    const change = await this.#roster.replace(backends, disabled, signal)
    this.timing = { discoveryMs: foundAt - startedAt, buildMs: performance.now() - foundAt }
    this.#ttlMs = ttlMs === undefined ? undefined : Math.min(Math.max(ttlMs, TTL_MS_MIN), TIMER_MS_MAX)
    return change
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
