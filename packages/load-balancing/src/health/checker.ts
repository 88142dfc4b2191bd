import { integerIn, milliseconds, numberIn, onlyKeys, show } from '../check.ts'
import { withDeadline } from '../deadline.ts'
import { guarded, type Listeners } from '../events.ts'
import type { Feedback } from '../feedback.ts'
import type { Member } from '../member.ts'
import type { HealthCheck } from './health-check.ts'

/** When and how backends are checked. */
export interface HealthCheckOptions {
  /** Time from the start of a round to the start of the next. Milliseconds, from 1. Default 5,000. */
  readonly intervalMs?: number
  /** Backends checked at a time: a number from 1, or `false` for 1 and `true` for 32. Default `true`. */
  readonly parallel?: boolean | number
  /** The interval varies at random by up to this percentage, so that many balancers do not check in step. 0 to 50. Default 10. */
  readonly jitterPercent?: number
  /** A check that has not settled by then has failed, whatever its own timeouts say. Milliseconds, from 1. Default 10,000. */
  readonly timeoutMs?: number
}

const OPTION_NAMES: readonly string[] = ['intervalMs', 'parallel', 'jitterPercent', 'timeoutMs']
const PARALLEL_DEFAULT = 32
const PARALLEL_MAX = 4_096

/** Runs a health check over the members of a balancer. */
export class HealthChecker {
  readonly check: HealthCheck
  readonly #parallel: number
  readonly #intervalMs: number
  readonly #jitterPercent: number
  readonly #timeoutMs: number
  readonly #closing: AbortController = new AbortController()
  #round: Promise<void> | undefined

  constructor(check: HealthCheck, options: HealthCheckOptions) {
    onlyKeys('setHealthCheck', options, OPTION_NAMES)
    if (typeof check?.check !== 'function') {
      throw new TypeError(`Expected a health check such as new TcpHealthCheck(), received ${show(check)}`)
    }
    integerIn('consecutiveSuccess of the health check', check.consecutiveSuccess, 1, 1_000_000)
    integerIn('consecutiveFailure of the health check', check.consecutiveFailure, 1, 1_000_000)
    this.check = check
    const { parallel = true } = options
    this.#parallel =
      typeof parallel === 'boolean'
        ? parallel
          ? PARALLEL_DEFAULT
          : 1
        : integerIn('parallel', parallel, 1, PARALLEL_MAX)
    this.#intervalMs = milliseconds('intervalMs', options.intervalMs ?? 5_000)
    this.#jitterPercent = numberIn('jitterPercent', options.jitterPercent ?? 10, 0, 50)
    this.#timeoutMs = milliseconds('timeoutMs', options.timeoutMs ?? 10_000)
  }

  /** Time to the next round. */
  nextIntervalMs(random: () => number): number {
    return this.#intervalMs * (1 + ((random() * 2 - 1) * this.#jitterPercent) / 100)
  }

  /** Checks all members once. Never rejects. While a round runs, a second call waits for that one. */
  run(
    members: Iterable<Member>,
    feedback: Feedback,
    listeners: Listeners,
    signal: AbortSignal,
  ): Promise<void> {
    this.#round ??= this.#runRound([...members], feedback, listeners, signal).finally(() => {
      this.#round = undefined
    })
    return this.#round
  }

  /** Ends the checks under way; their results are ignored. */
  close(): void {
    this.#closing.abort(new Error('The health check was taken away'))
    guarded(() => this.check.close?.())
  }

  async #runRound(
    members: readonly Member[],
    feedback: Feedback,
    listeners: Listeners,
    signal: AbortSignal,
  ): Promise<void> {
    const ending = new AbortController()
    const onAbort = () => ending.abort(signal.aborted ? signal.reason : this.#closing.signal.reason)
    if (signal.aborted || this.#closing.signal.aborted) return
    signal.addEventListener('abort', onAbort, { once: true })
    this.#closing.signal.addEventListener('abort', onAbort, { once: true })
    let position = 0
    const worker = async () => {
      while (position < members.length && !ending.signal.aborted) {
        const member = members[position++] as Member
        const failure = await this.#checkOne(member, ending.signal)
        if (!ending.signal.aborted) this.#apply(member, failure, feedback, listeners)
      }
    }
    try {
      await Promise.all(Array.from({ length: Math.min(this.#parallel, members.length) }, worker))
    } finally {
      signal.removeEventListener('abort', onAbort)
      this.#closing.signal.removeEventListener('abort', onAbort)
    }
  }

  /** Resolves to `undefined` if the backend is well, otherwise to why not. */
  async #checkOne(member: Member, signal: AbortSignal): Promise<{ error: unknown } | undefined> {
    const late = `Health check took longer than ${this.#timeoutMs} ms`
    try {
      await withDeadline(signal, this.#timeoutMs, late, (deadline) =>
        this.check.check(member.backend, deadline),
      )
      return undefined
    } catch (error) {
      return { error }
    }
  }

  #apply(
    member: Member,
    failure: { error: unknown } | undefined,
    feedback: Feedback,
    listeners: Listeners,
  ): void {
    const healthy = failure === undefined
    if (!feedback.checked(member, healthy, this.check)) return
    const { backend } = member
    listeners.emit(
      healthy ? { type: 'healthy', backend } : { type: 'unhealthy', backend, error: failure.error },
    )
    guarded(() => this.check.healthStatusChange?.(backend, healthy, failure?.error))
  }
}
