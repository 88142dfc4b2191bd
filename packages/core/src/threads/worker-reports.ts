import { type Channel, channel } from 'node:diagnostics_channel'
import type { Logger } from '../logger.ts'
import type { ThreadMessage } from './thread-info.ts'
import type { WorkerThread } from './worker-thread.ts'

const threadChannel: Channel = channel('cirque:thread')

/** Tells the log, and the channel `cirque:thread`, what becomes of workers. */
export class WorkerReports {
  readonly #logger: Logger

  constructor(logger: Logger) {
    this.#logger = logger
  }

  started(worker: WorkerThread): void {
    publish(worker, 'started', undefined)
  }

  replaced({ thread }: WorkerThread): void {
    this.#logger.info('Worker thread replaced', { thread })
  }

  died(worker: WorkerThread, error: Error, livedMs: number, deaths: number, restartInMs: number): void {
    const { thread } = worker
    const fields = { thread, error, livedMs: Math.round(livedMs), deaths, restartInMs }
    this.#logger.error('Worker thread died', fields)
    publish(worker, 'died', error)
  }

  /** Published at once, and logged with where it hangs as soon as that is known. Resolves then; never rejects. */
  async stuck(worker: WorkerThread, stuckMs: number, action: 'replace' | 'none'): Promise<void> {
    publish(worker, 'stuck', undefined)
    const where = await worker.locate().catch(() => undefined)
    this.#logger.error('Worker thread is stuck: its event loop does not turn', {
      thread: worker.thread,
      stuckMs: Math.round(stuckMs),
      openConnections: worker.openCount,
      ...(where === undefined ? {} : { where }),
      action,
    })
  }

  recovered(worker: WorkerThread): void {
    this.#logger.warn('Worker thread goes on', { thread: worker.thread })
    publish(worker, 'recovered', undefined)
  }
}

function publish(worker: WorkerThread, event: ThreadMessage['event'], error: Error | undefined): void {
  if (!threadChannel.hasSubscribers) return
  const { thread, openCount } = worker
  threadChannel.publish({ thread, event, error, openCount } satisfies ThreadMessage)
}
