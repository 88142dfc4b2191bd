import { Alarm } from './alarm.ts'
import type { Listeners } from './events.ts'
import type { Feedback } from './feedback.ts'
import type { HealthChecker } from './health/checker.ts'
import type { HealthCheck } from './health/health-check.ts'
import type { LoadBalancerSettings } from './options.ts'
import type { Roster, RosterChange } from './roster.ts'
import type { Updater } from './updater.ts'

/** What upkeep works on, and whom it tells. */
export interface UpkeepParts {
  readonly settings: LoadBalancerSettings
  readonly roster: Roster
  readonly feedback: Feedback
  readonly listeners: Listeners
  readonly updater: Updater
  /** An update has put a set in place. */
  readonly onUpdated: (change: RosterChange) => void
  /** All backends are healthy, as nobody checks them any more. */
  readonly onHealthForgotten: () => void
}

/** Keeps the set of a balancer and its health up to date: updates and rounds of checks, one of each at a time. */
export class Upkeep {
  readonly #parts: UpkeepParts
  readonly #updateAlarm: Alarm = new Alarm()
  readonly #checkAlarm: Alarm = new Alarm()
  #checker: HealthChecker | undefined
  #updating: Promise<void> | undefined

  constructor(parts: UpkeepParts) {
    this.#parts = parts
  }

  /** How backends are checked; undefined if they are not. */
  get check(): HealthCheck | undefined {
    return this.#checker?.check
  }

  /** Checks so from the next round on, which is now; without a checker all are healthy. */
  setChecker(checker: HealthChecker | undefined): void {
    this.#checker?.close()
    this.#checker = checker
    if (checker === undefined) this.#forgetHealth()
    this.#checkAlarm.ring()
  }

  /** Runs one round of checks. Rejects only if `signal` is aborted. */
  async runChecks(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    await this.#runChecker(this.#checker, signal)
    signal.throwIfAborted()
  }

  /** Updates the set, or waits for the update that runs. Rejects as that of the updater does. */
  update(signal: AbortSignal): Promise<void> {
    this.#updating ??= this.#update(signal).finally(() => {
      this.#updating = undefined
    })
    return this.#updating
  }

  /** Updates and checks when each is due, until `shutdown`. `ready` is called after the first update. */
  async run(shutdown: AbortSignal, ready: () => void): Promise<void> {
    let unwatch: (() => void) | undefined
    try {
      unwatch = this.#parts.updater.discovery.watch?.(() => this.#updateAlarm.ring())
      await this.#updateQuietly(shutdown)
      ready()
      await Promise.all([this.#updateLoop(shutdown), this.#checkLoop(shutdown)])
    } finally {
      unwatch?.()
    }
  }

  /** Ends the checks, and releases what they hold. */
  close(): void {
    this.#checker?.close()
    this.#checker = undefined
    this.#checkAlarm.ring()
  }

  async #update(signal: AbortSignal): Promise<void> {
    const { updater, listeners, onUpdated } = this.#parts
    let change: RosterChange
    try {
      change = await updater.update(signal)
    } catch (error) {
      if (!signal.aborted) listeners.emit({ type: 'update-failed', error })
      throw error
    }
    onUpdated(change)
  }

  /** The failure was told as an event; the loop goes on with the set it has. */
  async #updateQuietly(signal: AbortSignal): Promise<void> {
    try {
      await this.update(signal)
    } catch {}
  }

  async #updateLoop(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#updateAlarm.wait(this.#parts.updater.nextDelayMs, signal)
      // One that the user asked for may have read its source before the change that rang: it does not count.
      await this.#updating?.catch(() => {})
      if (!signal.aborted) await this.#updateQuietly(signal)
    }
  }

  async #checkLoop(signal: AbortSignal): Promise<void> {
    const { feedback, settings } = this.#parts
    while (!signal.aborted) {
      const checker = this.#checker
      const startedAt = performance.now()
      await this.#runChecker(checker, signal)
      feedback.wake()
      const delayMs = checker?.nextIntervalMs(settings.random) ?? Number.POSITIVE_INFINITY
      await this.#checkAlarm.wait(Math.max(0, delayMs - (performance.now() - startedAt)), signal)
    }
  }

  async #runChecker(checker: HealthChecker | undefined, signal: AbortSignal): Promise<void> {
    const { roster, feedback, listeners } = this.#parts
    await checker?.run(roster.members.values(), feedback, listeners, signal)
  }

  #forgetHealth(): void {
    const { roster, feedback, listeners, onHealthForgotten } = this.#parts
    const unhealthy = [...roster.members.values()].filter(({ health }) => !health.healthy)
    for (const member of unhealthy) member.health.reset()
    for (const group of roster.groups) feedback.refreshAll(group)
    for (const { backend } of unhealthy) listeners.emit({ type: 'healthy', backend })
    onHealthForgotten()
  }
}
