import { TIMER_MS_MAX } from './check.ts'

/** A wait that ends by time, by `ring()`, or by abort. */
export class Alarm {
  #rung = false
  #wake: (() => void) | undefined

  /** Ends the present wait, or the next one at once. */
  ring(): void {
    this.#rung = true
    this.#wake?.()
  }

  /** Waits `delayMs`: without end if infinite, else 24 days at most. Resolves in every case. One wait at a time. */
  async wait(delayMs: number, signal: AbortSignal): Promise<void> {
    if (!this.#rung && !signal.aborted) {
      const { promise, resolve } = Promise.withResolvers<void>()
      const timer =
        delayMs === Number.POSITIVE_INFINITY
          ? undefined
          : setTimeout(resolve, Math.min(delayMs, TIMER_MS_MAX))
      const wake = () => resolve()
      this.#wake = wake
      signal.addEventListener('abort', wake, { once: true })
      await promise
      clearTimeout(timer)
      signal.removeEventListener('abort', wake)
      this.#wake = undefined
    }
    this.#rung = false
  }
}
