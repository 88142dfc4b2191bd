import type { TimerList } from './timer-list.ts'
import { TIMER_MS_MAX, TimerWheel } from './wheel.ts'

/** What a timer calls when its time is over. Usually a connection, which tells its timers apart by `tag`. */
export interface TimerOwner {
  /**
   * Called once per `arm` that was not cancelled, from the event loop, outside of any `AsyncLocalStorage` context. The
   * timer is no longer armed and may be armed again. What it throws goes to the wheel's `onTimerError`; the other
   * timers fire all the same.
   */
  onTimer(tag: number): void
}

/** The wheel that timers share unless they are given another. */
export const sharedWheel: TimerWheel = new TimerWheel()

/**
 * A timer made once, with its connection, and armed and cancelled per request or operation. `arm` and `cancel` allocate
 * nothing and read no clock.
 *
 * It never fires early, and at most two ticks (of 10 ms) late, plus the time the event loop was kept busy. It does not
 * keep the process alive unless `ref` is called.
 *
 * @example
 * class Connection implements TimerOwner {
 *   readonly #idle = new CoarseTimer(this)
 *   onData() { this.#idle.arm(60_000) }
 *   onTimer() { this.destroy() }
 * }
 */
export class CoarseTimer {
  /** @internal */
  readonly owner: TimerOwner
  /** @internal */
  readonly tag: number
  /** @internal */
  readonly wheel: TimerWheel
  /** The list that holds it; `undefined` when not armed. @internal */
  list: TimerList | undefined
  /** @internal */
  previous: CoarseTimer | undefined
  /** @internal */
  next: CoarseTimer | undefined
  /** What it was last armed for. @internal */
  ms: number
  /** When it is due, on the wheel's clock; only right once the wheel has placed it. @internal */
  due: number
  /** @internal */
  isRef: boolean

  /**
   * @param owner - Called when the time is over.
   * @param tag - Handed to the owner. Default 0.
   * @param wheel - Default: the wheel that all share.
   */
  constructor(owner: TimerOwner, tag: number = 0, wheel: TimerWheel = sharedWheel) {
    this.owner = owner
    this.tag = tag
    this.wheel = wheel
    this.list = undefined
    this.previous = undefined
    this.next = undefined
    this.ms = 0
    this.due = 0
    this.isRef = false
  }

  /** True from `arm` until it fires or is cancelled. */
  get armed(): boolean {
    return this.list !== undefined
  }

  /** The earliest time on the wheel's clock at which it fires; `Infinity` when it is not armed. */
  get dueAt(): number {
    if (this.list === undefined) return Number.POSITIVE_INFINITY
    return this.list === this.wheel.fresh ? this.wheel.exactNow() + this.ms : this.due
  }

  /**
   * Fires `ms` milliseconds from now, once. When armed already, the new time replaces the old one.
   *
   * @param ms - 0 to 2^31 (`TIMER_MS_MAX`); 0 fires at the next tick.
   * @throws {RangeError} If `ms` is not within these bounds. The timer is then left as it was.
   */
  arm(ms: number): void {
    checkMs(ms)
    this.ms = ms
    if (this.list === undefined) this.wheel.arm(this)
    else if (this.list !== this.wheel.fresh) this.wheel.rearm(this)
  }

  /** Takes the time back, and with it every reference to the owner. Without effect when not armed. */
  cancel(): void {
    if (this.list !== undefined) this.wheel.disarm(this)
  }

  /** Keeps the process alive while it is armed. */
  ref(): void {
    if (this.isRef) return
    this.isRef = true
    if (this.list !== undefined) this.wheel.changeRef(1)
  }

  /** Undoes `ref`. */
  unref(): void {
    if (!this.isRef) return
    this.isRef = false
    if (this.list !== undefined) this.wheel.changeRef(-1)
  }
}

/**
 * Refuses a time out of bounds, and what is no number: text from the environment compares like one, but would be put
 * behind the clock's digits, and a `bigint` would throw where it stops every timer of the wheel.
 */
export function checkMs(ms: number): void {
  if (!(typeof ms === 'number' && ms >= 0 && ms <= TIMER_MS_MAX))
    throw new RangeError(
      `ms must be a number from 0 to ${TIMER_MS_MAX}, got ${typeof ms === 'string' ? `"${ms}"` : ms}`,
    )
}

/** The shared wheel's time in milliseconds: monotonic, cheap, and stale by as much as {@link TimerWheel.now} says. */
export function now(): number {
  return sharedWheel.now()
}
