import { ProxyError } from '@cirque/error'
import { CoarseTimer, type TimerOwner } from '@cirque/timeout'
import type { HttpModule } from './http-module.ts'

/**
 * What a filter of a module promised, or a failure when it takes longer than `ms`; 0 waits for ever. Late results are
 * dropped.
 */
export function inTime<T>(promised: PromiseLike<T>, ms: number, filter: keyof HttpModule): PromiseLike<T> {
  return ms === 0
    ? promised
    : new Promise<T>((resolve, reject) => new Wait(promised, ms, filter, resolve, reject))
}

class Wait<T> implements TimerOwner {
  readonly #ms: number
  readonly #filter: keyof HttpModule
  readonly #reject: (error: unknown) => void
  readonly #timer: CoarseTimer = new CoarseTimer(this)

  constructor(
    promised: PromiseLike<T>,
    ms: number,
    filter: keyof HttpModule,
    resolve: (value: T) => void,
    reject: (error: unknown) => void,
  ) {
    this.#ms = ms
    this.#filter = filter
    this.#reject = reject
    this.#timer.arm(ms)
    promised.then(
      (value) => {
        this.#timer.cancel()
        resolve(value)
      },
      (error: unknown) => {
        this.#timer.cancel()
        reject(error)
      },
    )
  }

  onTimer(): void {
    const act = `The ${this.#filter} of a module did not answer within ${this.#ms} ms`
    this.#reject(new ProxyError('FILTER_TIMEOUT', 'internal', act))
  }
}
