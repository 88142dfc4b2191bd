import type { TimerOwner, TimerWheel } from '@cirque/timeout'

/** An owner that notes which of its timers fired, and when. */
export class Recorder implements TimerOwner {
  readonly fired: { tag: number; atMs: number }[] = []
  readonly #wheel: TimerWheel

  constructor(wheel: TimerWheel) {
    this.#wheel = wheel
  }

  onTimer(tag: number): void {
    this.fired.push({ tag, atMs: this.#wheel.now() })
  }

  get tags(): number[] {
    return this.fired.map(({ tag }) => tag)
  }
}
