/** What happened to a worker thread; published on the channel `cirque:thread`. */
export interface ThreadMessage {
  /** 1 for the first worker. */
  readonly thread: number
  /** `stuck`: its event loop has not turned for the time of the watchdog; `recovered`: it turns again. */
  readonly event: 'started' | 'died' | 'stuck' | 'recovered'
  /** Why it died. */
  readonly error: Error | undefined
  /** Connections that it had. Those of a dead worker are gone. */
  readonly openCount: number
}

/** One worker thread. A snapshot. */
export interface ThreadInfo {
  /** 1 for the first worker. */
  readonly thread: number
  readonly state: 'starting' | 'serving' | 'stuck' | 'dead'
  /** Connections that it serves, those on their way included. */
  readonly openCount: number
  /** Connections on their way to it. */
  readonly pendingCount: number
  /** How often this worker died so far. */
  readonly deathCount: number
  /** How often the watchdog found it stuck. */
  readonly stuckCount: number
}
