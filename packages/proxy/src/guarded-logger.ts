import type { LogFields, Logger } from '@cirque/core'

/**
 * A logger that cannot break what it tells of: what the given one throws is dropped, for there is nobody left
 * to tell. It is called from where sockets are read, and an exception there would end the process.
 */
export class GuardedLogger implements Logger {
  readonly #logger: Logger

  constructor(logger: Logger) {
    this.#logger = logger
  }

  debug(message: string, fields?: LogFields): void {
    try {
      this.#logger.debug(message, fields)
    } catch {}
  }

  info(message: string, fields?: LogFields): void {
    try {
      this.#logger.info(message, fields)
    } catch {}
  }

  warn(message: string, fields?: LogFields): void {
    try {
      this.#logger.warn(message, fields)
    } catch {}
  }

  error(message: string, fields?: LogFields): void {
    try {
      this.#logger.error(message, fields)
    } catch {}
  }
}
