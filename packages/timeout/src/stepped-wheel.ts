import { TimerWheel, type TimerWheelOptions } from './wheel.ts'

/** The clock of one stepped wheel, made before the wheel that reads it. */
interface Clock {
  ms: number
}

/**
 * A wheel for tests, whose time moves only when told to.
 *
 * @example
 * const wheel = new SteppedWheel()
 * const timer = new CoarseTimer(owner, 0, wheel)
 * timer.arm(100)
 * wheel.step(99) // nothing
 * wheel.step(1) // owner.onTimer(0)
 */
export class SteppedWheel extends TimerWheel {
  readonly #time: Clock

  constructor(options?: Omit<TimerWheelOptions, 'now'>) {
    const time: Clock = { ms: 0 }
    super({ ...options, now: () => time.ms })
    this.#time = time
  }

  /**
   * Moves the time on by `ms` and fires what falls due on the way, tick by tick. Timers armed before the call count from
   * its start; those armed by an owner on the way count from the tick that called it.
   *
   * @throws {RangeError} If `ms` is negative or not finite.
   */
  step(ms: number): void {
    if (!(ms >= 0 && Number.isFinite(ms))) throw new RangeError(`ms must be 0 or more, got ${ms}`)
    this.advance()
    const end = this.#time.ms + ms
    // Counted, since a tick's own time divided by a fractional `tickMs` may round down to the tick before it.
    let tick = Math.floor(this.#time.ms / this.tickMs)
    while (this.#time.ms < end) {
      tick++
      this.#time.ms = Math.min(Math.max(tick * this.tickMs, this.#time.ms), end)
      this.advance()
      if (this.armedCount === 0) this.#time.ms = end
    }
    this.advance()
  }
}
