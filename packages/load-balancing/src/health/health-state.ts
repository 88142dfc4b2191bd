/** How many results in a row change a backend's health. */
export interface HealthThresholds {
  /** Successes in a row that make an unhealthy backend healthy. From 1. */
  readonly consecutiveSuccess: number
  /** Failures in a row that make a healthy backend unhealthy. From 1. */
  readonly consecutiveFailure: number
}

/**
 * Health of one backend as its checks see it. Starts healthy; flips after enough opposite results in a row, and one
 * result that agrees with the present state starts the count again.
 */
export class HealthState {
  healthy: boolean = true
  /** Opposite results in a row so far. */
  oppositeCount: number = 0

  /** Takes a check's result; returns whether the state flipped. */
  observe(success: boolean, thresholds: HealthThresholds): boolean {
    if (success === this.healthy) {
      this.oppositeCount = 0
      return false
    }
    this.oppositeCount++
    const needed = success ? thresholds.consecutiveSuccess : thresholds.consecutiveFailure
    if (this.oppositeCount < needed) return false
    this.healthy = success
    this.oppositeCount = 0
    return true
  }

  /** Back to healthy, as for a new backend. */
  reset(): void {
    this.healthy = true
    this.oppositeCount = 0
  }
}
