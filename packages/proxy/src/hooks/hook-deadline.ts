import { ProxyError } from '@cirque/error'
import { CoarseTimer, type TimerOwner } from '@cirque/timeout'

/** Who waits for hooks, one at a time. */
export interface HookWaiter {
  /** The hook `phase` has not answered in time. Whatever it answers later must not be heard. */
  onHookTimeout(phase: string, error: ProxyError): void
}

/** How long a hook is waited for. Made when a hook first returns a promise: hooks that answer at once cost nothing. */
export class HookDeadline implements TimerOwner {
  readonly #ms: number
  readonly #waiter: HookWaiter
  readonly #timer: CoarseTimer = new CoarseTimer(this)
  #phase = ''

  /** @param ms - 0 for no deadline. */
  constructor(ms: number, waiter: HookWaiter) {
    this.#ms = ms
    this.#waiter = waiter
  }

  /** A hook is waited for from now on. */
  start(phase: string): void {
    this.#phase = phase
    if (this.#ms > 0) this.#timer.arm(this.#ms)
  }

  /** It has answered, or nobody wants to know any more. */
  stop(): void {
    this.#timer.cancel()
  }

  onTimer(): void {
    const phase = this.#phase
    this.#waiter.onHookTimeout(
      phase,
      new ProxyError('FILTER_TIMEOUT', 'internal', `The hook ${phase} did not answer within ${this.#ms} ms`, {
        context: `in ${phase}`,
      }),
    )
  }
}
