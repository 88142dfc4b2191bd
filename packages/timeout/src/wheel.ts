import type { CoarseTimer, TimerOwner } from './coarse-timer.ts'
import { Driver } from './driver.ts'
import { TimerList } from './timer-list.ts'

/** Options of a {@link TimerWheel}. */
export interface TimerWheelOptions {
  /** Length of a tick in milliseconds, 1 to 1000. Default 10. */
  readonly tickMs?: number
  /**
   * A monotonic clock in milliseconds. With one, the wheel is driven by hand through {@link TimerWheel.advance};
   * without, it reads `performance.now()` and drives itself.
   */
  readonly now?: () => number
  /** Gets what an owner's `onTimer` throws. Default: `process.emitWarning`, of type `TimerWarning`. */
  readonly onTimerError?: (error: unknown, owner: TimerOwner, tag: number) => void
}

/** The longest time a timer can be armed for, in milliseconds: about 25 days. */
export const TIMER_MS_MAX: number = 2 ** 31

/** 256 slots per level: four levels hold 2^32 ticks, more than the longest timer. */
const SLOT_BITS = 8
const SLOT_COUNT = 2 ** SLOT_BITS
const LEVEL_COUNT = 4

/**
 * Timers by due time in a hierarchy of slots, so that arming, cancelling and firing cost the same with ten timers or
 * a million. Most code uses the shared wheel through {@link CoarseTimer} and needs none of its own.
 *
 * A timer's time counts from the tick after `arm`, which is why arming reads no clock and a timer never fires early.
 * It fires at most two ticks late, plus the time the event loop was kept busy.
 */
export class TimerWheel {
  /** Length of a tick in milliseconds. */
  readonly tickMs: number
  /** Armed since the last tick: their time has not begun yet. @internal */
  readonly fresh: TimerList = new TimerList()
  /** Gets what an owner's `onTimer` throws; may be replaced at any time. */
  onTimerError: (error: unknown, owner: TimerOwner, tag: number) => void

  readonly #clock: () => number
  readonly #originMs: number
  readonly #driver: Driver | undefined
  /** Due now, being fired. */
  readonly #due: TimerList = new TimerList()
  /** Level by level; slot `n` of level `l` holds timers due in ticks that have `n` in their `l`-th byte. */
  readonly #slots: TimerList[] = []
  /** The last tick that was processed, counted from `#originMs`. */
  #tick: number = 0
  #nowMs: number
  #armedCount: number = 0
  #refCount: number = 0
  #isAdvancing: boolean = false

  /** @throws {RangeError} If `tickMs` is not within its bounds. */
  constructor(options?: TimerWheelOptions) {
    checkOptions(options)
    const tickMs = options?.tickMs ?? 10
    if (!(typeof tickMs === 'number' && tickMs >= 1 && tickMs <= 1000)) {
      throw new RangeError(`tickMs must be a number from 1 to 1000, got ${tickMs}`)
    }
    this.tickMs = tickMs
    this.onTimerError = options?.onTimerError ?? warn
    this.#clock = options?.now ?? monotonicMs
    this.#originMs = this.#clock()
    this.#nowMs = this.#originMs
    this.#driver = options?.now === undefined ? new Driver(tickMs, this) : undefined
    for (let index = 0; index < SLOT_COUNT * LEVEL_COUNT; index++) this.#slots.push(new TimerList())
  }

  /** How many timers are armed. */
  get armedCount(): number {
    return this.#armedCount
  }

  /**
   * The time of this wheel's clock in milliseconds, read at most once per tick. Stale by at most a tick and the time
   * the event loop was kept busy; never ahead. On a wheel driven by hand: the time at the last `advance`.
   */
  now(): number {
    const driver = this.#driver
    if (driver !== undefined && !driver.isTicking) {
      this.#nowMs = this.#clock()
      driver.tickSoon()
    }
    return this.#nowMs
  }

  /**
   * Reads the clock and fires what is due. A self-driven wheel calls it; on one driven by hand the test does, after it
   * has moved its clock. Timers armed since the last call begin to count now. A call from within `onTimer` does nothing.
   *
   * The cost follows the timers that are due, not the time that has passed: after a stall no tick is replayed.
   */
  advance(): void {
    if (this.#isAdvancing) return
    const nowMs = this.#clock()
    this.#isAdvancing = true
    this.#nowMs = nowMs
    const tick = Math.floor((nowMs - this.#originMs) / this.tickMs)
    if (this.#armedCount === 0) this.#tick = tick
    else if (tick - this.#tick > SLOT_COUNT) this.#leap(tick)
    else while (this.#tick < tick) this.#step()
    for (let timer = this.fresh.first; timer !== undefined; timer = this.fresh.first) {
      timer.due = nowMs + timer.ms
      this.#place(timer)
    }
    this.#fireDue()
    this.#isAdvancing = false
    this.#sleep()
  }

  /** Reads the clock without firing anything: the driver's, after a stall. @internal */
  refresh(): void {
    this.#nowMs = this.#clock()
  }

  /** @internal */
  arm(timer: CoarseTimer): void {
    this.#armedCount++
    if (timer.isRef && this.#refCount++ === 0) this.#driver?.ref()
    this.fresh.append(timer)
    if (this.#driver !== undefined && !this.#driver.isTicking) this.#driver.tickSoon()
  }

  /** Counts a timer that is armed already anew. @internal */
  rearm(timer: CoarseTimer): void {
    timer.list?.remove(timer)
    this.fresh.append(timer)
    if (this.#driver !== undefined && !this.#driver.isTicking) this.#driver.tickSoon()
  }

  /** @internal */
  disarm(timer: CoarseTimer): void {
    timer.list?.remove(timer)
    this.#armedCount--
    // The last one gone, the driver is left to find out when it wakes: the next request arms again.
    if (timer.isRef && --this.#refCount === 0) this.#driver?.unref()
  }

  /** A timer's `isRef` was changed while it was armed. @internal */
  changeRef(by: 1 | -1): void {
    this.#refCount += by
    if (by === 1 && this.#refCount === 1) this.#driver?.ref()
    if (this.#refCount === 0) this.#driver?.unref()
  }

  /** The clock itself, for the rare reader that needs it exact. @internal */
  exactNow(): number {
    return this.#clock()
  }

  /** Processes one tick: brings the timers of the coming window down a level, then takes the slot's. */
  #step(): void {
    const tick = ++this.#tick
    let rest = tick
    for (let level = 1; level < LEVEL_COUNT && rest % SLOT_COUNT === 0; level++) {
      rest = Math.floor(rest / SLOT_COUNT)
      this.#replace(this.#slot(level, rest))
    }
    this.#replace(this.#slot(0, tick))
  }

  /** Passes over many ticks at once: every timer is placed anew, in order of due time. */
  #leap(tick: number): void {
    this.#tick = tick
    const timers: CoarseTimer[] = []
    for (const slot of this.#slots) {
      for (let timer = slot.first; timer !== undefined; timer = slot.first) {
        slot.remove(timer)
        timers.push(timer)
      }
    }
    timers.sort((left, right) => left.due - right.due)
    for (const timer of timers) this.#place(timer)
  }

  #replace(slot: TimerList): void {
    // A timer may come back to this same slot, so the walk ends at the one that is last now.
    const last = slot.last
    for (let timer = slot.first; timer !== undefined; timer = slot.first) {
      this.#place(timer)
      if (timer === last) return
    }
  }

  /** Moves a timer to the list where its due time belongs. */
  #place(timer: CoarseTimer): void {
    timer.list?.remove(timer)
    const exact = Math.ceil((timer.due - this.#originMs) / this.tickMs)
    // By its tick and not by the time alone: while ticks are caught up, this keeps them in order.
    if (timer.due <= this.#nowMs && (exact <= this.#tick || timer.ms === 0)) {
      this.#due.append(timer)
      return
    }
    const tick = exact > this.#tick ? exact : this.#tick + 1
    let delta = tick - this.#tick
    let level = 0
    let rest = tick
    while (delta >= SLOT_COUNT) {
      delta = Math.floor(delta / SLOT_COUNT)
      rest = Math.floor(rest / SLOT_COUNT)
      level++
    }
    this.#slot(level, rest).append(timer)
  }

  #slot(level: number, index: number): TimerList {
    // `&` takes the low bits of any safe integer.
    return this.#slots[(level << SLOT_BITS) | (index & (SLOT_COUNT - 1))] as TimerList
  }

  #fireDue(): void {
    for (let timer = this.#due.first; timer !== undefined; timer = this.#due.first) {
      this.disarm(timer)
      try {
        timer.owner.onTimer(timer.tag)
      } catch (error) {
        this.#report(error, timer)
      }
    }
  }

  #report(error: unknown, timer: CoarseTimer): void {
    try {
      this.onTimerError(error, timer.owner, timer.tag)
    } catch (second) {
      warn(second)
    }
  }

  /** Tells the driver when to come back: in a tick while timers are fresh, else when the next slot is due. */
  #sleep(): void {
    const driver = this.#driver
    if (driver === undefined) return
    if (this.#armedCount === 0) {
      driver.stop()
      return
    }
    let ticks = 1
    if (this.fresh.first === undefined) {
      // At the end of the window timers come down a level, which may be due at once.
      const untilWindowEnd = SLOT_COUNT - (this.#tick % SLOT_COUNT)
      while (ticks < untilWindowEnd && this.#slot(0, this.#tick + ticks).first === undefined) ticks++
    }
    driver.wakeIn(ticks)
  }
}

function monotonicMs(): number {
  return performance.now()
}

function warn(error: unknown): void {
  const detail = error instanceof Error ? (error.stack ?? error.message) : undefined
  process.emitWarning('A timer’s owner threw', {
    type: 'TimerWarning',
    ...(detail === undefined ? {} : { detail }),
  })
}

function checkOptions(options: TimerWheelOptions | undefined): void {
  if (options === undefined) return
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new TypeError(`The options of the wheel must be an object, got ${String(options)}`)
  }
  for (const name of Object.keys(options)) {
    if (!['tickMs', 'now', 'onTimerError'].includes(name)) {
      throw new TypeError(`Unknown option "${name}" of the wheel; known are tickMs, now, onTimerError`)
    }
  }
  for (const name of ['now', 'onTimerError'] as const) {
    if (options[name] === undefined || typeof options[name] === 'function') continue
    throw new TypeError(`${name} must be a function, got ${String(options[name])}`)
  }
}
