import { CoarseTimer, checkMs, type TimerOwner } from './coarse-timer.ts'

/** Options of {@link timeout} and {@link sleep}. */
export interface TimeoutOptions {
  /** Ends the wait at once; the promise is rejected with the signal's reason. */
  readonly signal?: AbortSignal | undefined
}

/** A promise took longer than it was given. */
export class TimeoutError extends Error {
  override readonly name: string = 'TimeoutError'
  /** The time it was given, in milliseconds. */
  readonly ms: number

  constructor(ms: number) {
    super(`Not settled within ${ms} ms`)
    this.ms = ms
  }
}

/**
 * Settles as `promise` does, or rejects with a {@link TimeoutError} when that takes longer than `ms` milliseconds.
 *
 * What `promise` stands for goes on: to stop it, abort it yourself. A late rejection of it is swallowed here and never
 * becomes an `unhandledRejection`. A timer is armed only if `promise` is still pending after one turn of the microtask
 * queue, so that a promise that is settled already costs none. An armed one keeps the process alive.
 *
 * @param ms - 0 to 2^31. It ends never early, and at most two ticks (of 10 ms) late, plus the event loop's lag.
 * @throws {RangeError} If `ms` is not within its bounds.
 * @throws {TypeError} If `signal` is no `AbortSignal`.
 * @example
 * const head = await timeout(session.readHead(), 5_000)
 */
export function timeout<T>(promise: PromiseLike<T>, ms: number, options?: TimeoutOptions): Promise<T> {
  checkMs(ms)
  checkSignal(options?.signal)
  return new Promise<T>((resolve, reject) => {
    const wait = new Wait(ms, options?.signal, reject, () => reject(new TimeoutError(ms)))
    promise.then(
      (value) => {
        wait.end()
        resolve(value)
      },
      (error: unknown) => {
        wait.end()
        reject(error)
      },
    )
    queueMicrotask(() => wait.begin())
  })
}

/**
 * Resolves after `ms` milliseconds; never early, and at most two ticks (of 10 ms) late, plus the event loop's lag. Keeps
 * the process alive meanwhile.
 *
 * @param ms - 0 to 2^31; 0 waits for the next tick.
 * @throws {RangeError} If `ms` is not within its bounds.
 * @throws {TypeError} If `signal` is no `AbortSignal`.
 */
export function sleep(ms: number, options?: TimeoutOptions): Promise<void> {
  checkMs(ms)
  checkSignal(options?.signal)
  return new Promise<void>((resolve, reject) => {
    new Wait(ms, options?.signal, reject, resolve).begin()
  })
}

/** Found out at the call: `timeout` listens a microtask later, where a throw would end the process. */
function checkSignal(signal: AbortSignal | undefined): void {
  if (signal !== undefined && typeof signal?.addEventListener !== 'function')
    throw new TypeError(`signal must be an AbortSignal, got ${String(signal)}`)
}

/** One wait: for its timer, its signal or its end, whichever comes first. */
class Wait implements TimerOwner {
  readonly #ms: number
  readonly #signal: AbortSignal | undefined
  readonly #reject: (reason: unknown) => void
  readonly #onTime: () => void
  readonly #timer: CoarseTimer = new CoarseTimer(this)
  #isOver: boolean = false

  constructor(
    ms: number,
    signal: AbortSignal | undefined,
    reject: (reason: unknown) => void,
    onTime: () => void,
  ) {
    this.#ms = ms
    this.#signal = signal
    this.#reject = reject
    this.#onTime = onTime
  }

  begin(): void {
    if (this.#isOver) return
    if (this.#signal?.aborted) {
      this.handleEvent()
      return
    }
    this.#signal?.addEventListener('abort', this)
    this.#timer.ref()
    this.#timer.arm(this.#ms)
  }

  end(): void {
    this.#isOver = true
    this.#timer.cancel()
    this.#signal?.removeEventListener('abort', this)
  }

  onTimer(): void {
    this.end()
    this.#onTime()
  }

  /** The signal was aborted. */
  handleEvent(): void {
    this.end()
    this.#reject(this.#signal?.reason)
  }
}
