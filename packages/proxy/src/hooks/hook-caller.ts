import type { ServerSession } from '@cirque/core'
import type { ProxyError } from '@cirque/error'
import { hookError, isPromise } from './hook-answers.ts'
import { HookDeadline, type HookWaiter } from './hook-deadline.ts'

/**
 * Calls the hooks of a request, one at a time: what answers at once goes on in the same turn, a promise is waited
 * for as long as a hook may take. The half of an exchange that knows nothing of what the hooks decide.
 */
export abstract class HookCaller implements HookWaiter {
  abstract readonly downstream: ServerSession
  protected abstract readonly filterTimeoutMs: number
  /** True once the request has ended: nobody's answer is heard any more. */
  protected abstract readonly ended: boolean
  /** True before the first attempt: a hook may still answer the client by itself. */
  protected abstract readonly answerable: boolean

  /** The time, while the request starts and nobody's hook has taken any; else 0. */
  protected clock = 0
  /** Grows whenever an attempt or the request is given up: what a hook of before answers is not heard any more. */
  private turn = 0
  private deadline: HookDeadline | null = null
  /** Body bytes that had come when the present hook was given its time. */
  private bytesAtDeadline = 0

  /** The hook `phase` threw, rejected, gave what means nothing, or took too long. */
  abstract hookFailed(thrown: unknown, phase: string): void
  /** The request has failed for good. */
  abstract fail(error: ProxyError): void

  /** Calls `hook` and goes on with `next`, unless it fails or the request is given up meanwhile. */
  invoke<T>(phase: string, hook: () => T | Promise<T>, next: (value: T) => void): void {
    const { turn } = this
    this.clock = 0
    let result: T | Promise<T>
    try {
      result = hook()
      if (isPromise(result)) {
        this.wait(result, phase, next)
        return
      }
    } catch (error) {
      if (this.turn === turn) this.hookFailed(error, phase)
      return
    }
    if (!this.ended && this.turn === turn) next(result)
  }

  /** Goes on with `next` when the hook has answered in time; what it answers too late goes to `unheard`. */
  wait<T>(
    result: PromiseLike<T>,
    phase: string,
    next: (value: T) => void,
    unheard?: (value: T) => void,
  ): void {
    const { turn } = this
    this.startDeadline(phase)
    Promise.resolve(result)
      .then(
        (value) => {
          if (this.ended || this.turn !== turn) {
            unheard?.(value)
            return
          }
          this.deadline?.stop()
          next(value)
        },
        (error: unknown) => {
          if (this.turn !== turn) return
          this.deadline?.stop()
          this.hookFailed(error, phase)
        },
      )
      .catch((error: unknown) => this.fail(hookError(error, phase)))
  }

  /** Whatever a hook that is waited for answers, it is not heard any more. */
  forgetHooks(): void {
    this.turn++
    this.deadline?.stop()
  }

  onHookTimeout(phase: string, error: ProxyError): void {
    const { downstream } = this
    // A hook that reads the body or answers by itself goes at the client's pace, for which there are other limits.
    const reads = downstream.requestBodyBytes !== this.bytesAtDeadline
    const answers = this.answerable && downstream.responseStatus !== 0 && !downstream.responseEnded
    if (reads || answers) this.startDeadline(phase)
    else {
      this.forgetHooks()
      this.hookFailed(error, phase)
    }
  }

  private startDeadline(phase: string): void {
    this.bytesAtDeadline = this.downstream.requestBodyBytes
    this.deadline ??= new HookDeadline(this.filterTimeoutMs, this)
    this.deadline.start(phase)
  }
}
