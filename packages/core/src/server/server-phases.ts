import { isPromise } from '../is-promise.ts'
import type { Logger } from '../logger.ts'
import type { ServerPhase } from './server-phase.ts'

/** The phase that a server is in, and who hears of the next. */
export class ServerPhases {
  #current: ServerPhase = 'setup'
  readonly #publish: (phase: ServerPhase) => void
  readonly #listeners: Set<(phase: ServerPhase) => void> = new Set()

  /** @param publish - Called with each phase, before the listeners are. */
  constructor(publish: (phase: ServerPhase) => void) {
    this.#publish = publish
  }

  get current(): ServerPhase {
    return this.#current
  }

  /** Calls `listener` with every phase from now on, synchronously. Returns a function that ends that. */
  listen(listener: (phase: ServerPhase) => void): () => void {
    const own = (phase: ServerPhase) => listener(phase)
    this.#listeners.add(own)
    return () => void this.#listeners.delete(own)
  }

  /** Begins a phase. What a listener throws is logged, and the others hear of it all the same. */
  enter(phase: ServerPhase, logger: Logger): void {
    this.#current = phase
    this.#publish(phase)
    for (const listener of [...this.#listeners]) {
      const failed = (error: unknown) => logger.error('Phase listener failed', { phase, error })
      try {
        const answer: unknown = listener(phase)
        if (isPromise(answer)) Promise.resolve(answer).catch(failed)
      } catch (error) {
        failed(error)
      }
    }
  }

  /**
   * Resolves when the server runs; rejects if it ends before that.
   *
   * @param isEnding - It was asked to end, though no phase says so yet.
   */
  async whenRunning(isEnding: boolean): Promise<void> {
    if (this.#current === 'running') return
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const fail = () => reject(new Error('The server ended before it was running'))
    const stop = this.listen((phase) => {
      if (phase === 'running') resolve()
      else if (phase === 'shutdown-started' || phase === 'terminated') fail()
    })
    if (isEnding || this.#current === 'terminated') fail()
    try {
      await promise
    } finally {
      stop()
    }
  }
}
