/** A clock that is set by hand. */
export class StepClock {
  ms: number
  readonly now: () => number = () => this.ms

  constructor(ms: number = 0) {
    this.ms = ms
  }

  step(ms: number): void {
    this.ms += ms
  }
}
