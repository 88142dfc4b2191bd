import type { WorkerThread } from './worker-thread.ts'

/** Bounds of the time between two heartbeats, in ms: often enough to notice in time, seldom enough to cost nothing. */
const HEARTBEAT_MS_MIN: number = 20
const HEARTBEAT_MS_MAX: number = 1_000

/** Whom a {@link Watchdog} watches, and whom it tells. */
export interface WatchdogOwner {
  workers(): readonly WorkerThread[]
  onStuck(worker: WorkerThread, stuckMs: number): void
  onRecovered(worker: WorkerThread): void
}

interface Watched {
  beats: number
  /** Looks in a row that found no heartbeat. */
  missedCount: number
}

/**
 * Looks after the heartbeats of workers. It counts its own looks, not time: if the whole process or the machine was
 * held up, the main thread was too, and nobody is to blame.
 */
export class Watchdog {
  /** How often workers have to beat, in ms. */
  readonly heartbeatMs: number
  readonly #missedMax: number
  readonly #owner: WatchdogOwner
  readonly #watched: WeakMap<WorkerThread, Watched> = new WeakMap()
  #timer: NodeJS.Timeout | undefined

  /** @param timeoutMs - Without a heartbeat for so long, a worker is stuck; 0 watches nobody. */
  constructor(timeoutMs: number, owner: WatchdogOwner) {
    this.heartbeatMs =
      timeoutMs === 0 ? 0 : Math.min(HEARTBEAT_MS_MAX, Math.max(HEARTBEAT_MS_MIN, Math.floor(timeoutMs / 4)))
    this.#missedMax = timeoutMs === 0 ? 0 : Math.max(2, Math.ceil(timeoutMs / this.heartbeatMs))
    this.#owner = owner
  }

  start(): void {
    if (this.heartbeatMs === 0) return
    this.#timer = setInterval(() => this.#look(), this.heartbeatMs).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #look(): void {
    for (const worker of this.#owner.workers()) {
      const { beats } = worker.memory
      const watched = this.#watched.get(worker)
      if (watched === undefined) {
        if (worker.isServing) this.#watched.set(worker, { beats, missedCount: 0 })
      } else if (watched.beats !== beats) {
        watched.beats = beats
        watched.missedCount = 0
        if (!worker.isStuck) continue
        worker.isStuck = false
        this.#owner.onRecovered(worker)
      } else {
        watched.missedCount += 1
        if (watched.missedCount < this.#missedMax || worker.isStuck) continue
        worker.isStuck = true
        this.#owner.onStuck(worker, watched.missedCount * this.heartbeatMs)
      }
    }
  }
}
