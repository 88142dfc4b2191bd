import { AsyncLocalStorage } from 'node:async_hooks'

/** What a driver drives. */
interface Driven {
  /** Reads the clock. */
  refresh(): void
  /** Reads the clock and fires what is due. */
  advance(): void
}

/** The one Node timer behind a wheel. It is off while the wheel is empty, and sleeps while nothing is due. */
export class Driver {
  /** True while it comes back within a tick. */
  isTicking: boolean = false

  readonly #tickMs: number
  readonly #driven: Driven
  // Without it the timer would keep, and run its owners in, the context of whichever request happened to arm first.
  readonly #outside: <R>(run: () => R) => R = AsyncLocalStorage.snapshot()
  #timeout: NodeJS.Timeout | undefined = undefined
  #delayMs: number = 0
  #expectedMs: number = 0
  #isRef: boolean = false

  constructor(tickMs: number, driven: Driven) {
    this.#tickMs = tickMs
    this.#driven = driven
  }

  /** Comes back in a tick, whatever was asked before. */
  tickSoon(): void {
    this.wakeIn(1)
  }

  wakeIn(ticks: number): void {
    const delayMs = ticks * this.#tickMs
    this.isTicking = ticks === 1
    this.#expectedMs = performance.now() + delayMs
    if (this.#timeout !== undefined && this.#delayMs === delayMs) {
      this.#timeout.refresh()
      return
    }
    clearTimeout(this.#timeout)
    this.#delayMs = delayMs
    this.#timeout = this.#outside(() => setTimeout(() => this.#onTimeout(), delayMs))
    if (!this.#isRef) this.#timeout.unref()
  }

  stop(): void {
    clearTimeout(this.#timeout)
    this.#timeout = undefined
    this.isTicking = false
  }

  /** Keeps the process alive while it runs. */
  ref(): void {
    this.#isRef = true
    this.#timeout?.ref()
  }

  unref(): void {
    this.#isRef = false
    this.#timeout?.unref()
  }

  /**
   * After a stall the data that arrived meanwhile is still unread, since timers come before reads in the event loop.
   * The wheel waits for one round of reads, so that nobody is timed out for our own delay; only its clock is set.
   */
  #onTimeout(): void {
    if (performance.now() - this.#expectedMs <= this.#tickMs) {
      this.#driven.advance()
      return
    }
    this.#driven.refresh()
    setImmediate(() => this.#driven.advance())
  }
}
