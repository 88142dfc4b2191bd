import type { Logger } from './logger.ts'

const INTERVAL_MS: number = 1_000

/** Logs what a peer can cause at will: at most one line per second, lest it fills the log. */
export class SeldomLog {
  /** Where it writes; a service learns that when it starts. */
  logger: Logger
  readonly #service: string
  #lastAt = -INTERVAL_MS

  constructor(service: string, logger: Logger) {
    this.#service = service
    this.logger = logger
  }

  error(message: string, error?: unknown): void {
    const now = performance.now()
    if (now - this.#lastAt < INTERVAL_MS) return
    this.#lastAt = now
    this.logger.error(message, { service: this.#service, ...(error === undefined ? {} : { error }) })
  }
}
