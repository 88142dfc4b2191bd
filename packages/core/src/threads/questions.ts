import { fromThreadError, type ThreadAnswer } from './thread-protocol.ts'

/** Questions to one thread that may wait for their answer; more are refused. */
export const QUESTIONS_MAX: number = 1_024

interface Waiting {
  readonly resolve: (answer: unknown) => void
  readonly reject: (error: Error) => void
  readonly timer: NodeJS.Timeout
}

/** Questions that were sent to another thread, until their answers come. */
export class Questions {
  readonly #waiting: Map<number, Waiting> = new Map()
  #lastId = 0

  /** Sends a question through `post`, and resolves with its answer. */
  ask(post: (id: number) => void, timeoutMs: number, what: string): Promise<unknown> {
    if (this.#waiting.size >= QUESTIONS_MAX) {
      return Promise.reject(new Error(`${QUESTIONS_MAX} questions wait for an answer already`))
    }
    this.#lastId = (this.#lastId + 1) | 0
    const id = this.#lastId
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    const timer = setTimeout(() => {
      this.#waiting.delete(id)
      reject(new Error(`No answer to "${what}" within ${timeoutMs} ms`))
    }, timeoutMs)
    this.#waiting.set(id, { resolve, reject, timer })
    try {
      post(id)
    } catch (error) {
      this.#settle(id)
      reject(error as Error)
    }
    return promise
  }

  /** An answer has come. One that is late has nobody waiting. */
  receive({ id, answer, error }: Omit<ThreadAnswer, 't'>): void {
    const waiting = this.#settle(id)
    if (error === undefined) waiting?.resolve(answer)
    else waiting?.reject(fromThreadError(error))
  }

  /** No more answers will come. */
  fail(error: Error): void {
    for (const id of [...this.#waiting.keys()]) this.#settle(id)?.reject(error)
  }

  #settle(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    clearTimeout(waiting?.timer)
    return waiting
  }
}
