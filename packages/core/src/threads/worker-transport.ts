import type { Logger } from '../logger.ts'
import type { SharedTransport, WorkerAnswer } from './shared-state.ts'
import type { WorkerThread } from './worker-thread.ts'

/** The main thread's way to the shared state of its workers. */
export class WorkerTransport implements SharedTransport {
  readonly #workers: () => readonly WorkerThread[]
  readonly #logger: Logger

  /** @param workers - Those that run. */
  constructor(workers: () => readonly WorkerThread[], logger: Logger) {
    this.#workers = workers
    this.#logger = logger
  }

  publish(name: string, value: unknown): void {
    structuredClone(value) // for its error, even if there is no worker at this moment
    for (const worker of this.#workers()) worker.post({ t: 'value', name, value })
  }

  ask(): Promise<unknown> {
    return Promise.reject(new Error('The main thread asks nobody')) // it answers itself, before it comes to this
  }

  async askWorkers(name: string, question: unknown, timeoutMs: number): Promise<WorkerAnswer[]> {
    const workers = this.#workers().filter(({ isStuck }) => !isStuck)
    const answers = await Promise.all(
      workers.map((worker) => this.#askOne(worker, name, question, timeoutMs)),
    )
    return answers.filter((answer) => answer !== undefined)
  }

  async #askOne(
    worker: WorkerThread,
    name: string,
    question: unknown,
    timeoutMs: number,
  ): Promise<WorkerAnswer | undefined> {
    const { thread } = worker
    try {
      const post = (id: number) => worker.post({ t: 'ask', id, name, question })
      return { thread, answer: await worker.questions.ask(post, timeoutMs, name) }
    } catch (error) {
      this.#logger.warn('A worker thread gave no answer', { name, thread, error })
      return undefined
    }
  }
}
