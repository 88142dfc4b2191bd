import type { ThreadInfo } from './thread-info.ts'
import type { WorkerThread } from './worker-thread.ts'

/** Pause before a dead worker is replaced: the first, the longest, and how long one must live to start over. */
const RESTART_MS: number = 100
const RESTART_MS_MAX: number = 30_000
const RESTART_STABLE_MS: number = 60_000

/** The place of one worker, whoever fills it. */
export class WorkerSeat {
  /** From 1. */
  readonly thread: number
  worker: WorkerThread | undefined
  /** Settles when its first worker has loaded the program, or died before that. */
  readonly loaded: PromiseWithResolvers<void> = Promise.withResolvers()
  deathCount = 0
  stuckCount = 0
  #deathsInARow = 0
  #restart: NodeJS.Timeout | undefined

  constructor(thread: number) {
    this.thread = thread
  }

  /** What an operator sees of it now. */
  get info(): ThreadInfo {
    const { thread, worker, deathCount, stuckCount } = this
    worker?.collectEnded()
    return {
      thread,
      state: stateOf(worker),
      openCount: worker?.openCount ?? 0,
      pendingCount: worker?.pendingCount ?? 0,
      deathCount,
      stuckCount,
    }
  }

  /** How long to wait before a worker that has lived for `livedMs` is replaced; doubles with each death in a row. */
  restartPauseMs(livedMs: number): number {
    this.#deathsInARow = livedMs > RESTART_STABLE_MS ? 1 : this.#deathsInARow + 1
    return Math.min(RESTART_MS_MAX, RESTART_MS * 2 ** Math.min(this.#deathsInARow - 1, 16))
  }

  /** Calls `refill` after a pause. */
  restartIn(ms: number, refill: () => void): void {
    this.#restart = setTimeout(refill, ms)
  }

  /** Nobody takes the place any more; who is not up by now will not be waited for. */
  retire(): void {
    clearTimeout(this.#restart)
    if (this.worker?.isServing === false) this.worker.terminate()
  }
}

function stateOf(worker: WorkerThread | undefined): ThreadInfo['state'] {
  if (worker === undefined) return 'dead'
  if (worker.isStuck) return 'stuck'
  return worker.isServing ? 'serving' : 'starting'
}
