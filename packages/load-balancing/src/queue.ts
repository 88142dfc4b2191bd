import { CoarseTimer, type TimerOwner } from '@cirque/timeout'
import { show } from './check.ts'
import type { Lease } from './lease.ts'
import type { SelectOptions } from './pick.ts'
import type { SelectionKey } from './selection/selection.ts'

/**
 * Why no backend was given: `no-backend`: none is usable, waiting would not help; `queue-full` and `queue-timeout`:
 * all usable ones are at their cap; `aborted`: by your signal; `closed`: the balancer was closed.
 */
export type Refusal = 'no-backend' | 'queue-full' | 'queue-timeout' | 'aborted' | 'closed'

/** Options of `acquireOrWait`. */
export interface WaitOptions extends SelectOptions {
  /** Ends the waiting with `aborted`. */
  readonly signal?: AbortSignal
}

/** Requests that wait for a backend below its cap, first come first served. */
export class WaitQueue {
  readonly #countMax: number
  readonly #timeoutMs: number
  readonly #waiters: Set<Waiter> = new Set()

  constructor(countMax: number, timeoutMs: number) {
    this.#countMax = countMax
    this.#timeoutMs = timeoutMs
  }

  get count(): number {
    return this.#waiters.size
  }

  wait(key: SelectionKey | undefined, options: WaitOptions | undefined): Promise<Lease | Refusal> {
    const signal = options?.signal
    if (signal !== undefined && typeof signal?.addEventListener !== 'function') {
      return Promise.reject(new TypeError(`Expected signal to be an AbortSignal, received ${show(signal)}`))
    }
    if (signal?.aborted === true) return Promise.resolve('aborted')
    if (this.#waiters.size >= this.#countMax) return Promise.resolve('queue-full')
    const waiter = new Waiter(this.#waiters, key, options, this.#timeoutMs)
    this.#waiters.add(waiter)
    return waiter.promise
  }

  /** Serves waiters in order, as long as `acquire` finds something; those it cannot serve keep their place. */
  serve(hasRoom: () => boolean, acquire: (waiter: WaiterRequest) => Lease | undefined): void {
    for (const waiter of this.#waiters) {
      if (!hasRoom()) return
      try {
        const lease = acquire(waiter)
        // Its `accept`, or a listener, may have ended its wait meanwhile: then nobody takes the lease.
        if (lease !== undefined && !waiter.settle(lease)) lease.release()
      } catch (error) {
        // The waiter's own `accept` threw: its problem, not that of whoever released.
        waiter.fail(error)
      }
    }
  }

  close(): void {
    for (const waiter of this.#waiters) waiter.settle('closed')
  }
}

/** What a waiter asked for. */
export interface WaiterRequest {
  readonly key: SelectionKey | undefined
  readonly options: WaitOptions | undefined
}

class Waiter implements TimerOwner, WaiterRequest {
  readonly key: SelectionKey | undefined
  readonly options: WaitOptions | undefined
  readonly promise: Promise<Lease | Refusal>
  /** Coarse: a burst of waiting requests costs no timer each. */
  readonly #timer: CoarseTimer = new CoarseTimer(this)
  readonly #queue: Set<Waiter>
  readonly #resolve: (result: Lease | Refusal) => void
  readonly #reject: (error: unknown) => void
  readonly #onAbort: () => void

  constructor(
    queue: Set<Waiter>,
    key: SelectionKey | undefined,
    options: WaitOptions | undefined,
    timeoutMs: number,
  ) {
    const { promise, resolve, reject } = Promise.withResolvers<Lease | Refusal>()
    this.key = key
    this.options = options
    this.promise = promise
    this.#queue = queue
    this.#resolve = resolve
    this.#reject = reject
    this.#timer.arm(timeoutMs)
    this.#timer.ref()
    this.#onAbort = () => void this.settle('aborted')
    options?.signal?.addEventListener('abort', this.#onAbort, { once: true })
  }

  onTimer(): void {
    this.settle('queue-timeout')
  }

  /** Ends the wait; false if it has ended already, and the result went nowhere. */
  settle(result: Lease | Refusal): boolean {
    const isWaiting = this.#leave()
    this.#resolve(result)
    return isWaiting
  }

  fail(error: unknown): void {
    this.#leave()
    this.#reject(error)
  }

  #leave(): boolean {
    this.#timer.cancel()
    this.options?.signal?.removeEventListener('abort', this.#onAbort)
    return this.#queue.delete(this)
  }
}
