import type { ServerConfiguration } from '../configuration/server-configuration.ts'
import { type FileLogger, type Logger, openFileLogger, stderrLogger } from '../logger.ts'

/** Where a server logs: with what its program gave; else to standard error, until the file of `error_log` is open. */
export class ServerLog {
  readonly #configuration: ServerConfiguration
  readonly #isGiven: boolean
  #logger: Logger
  #file: FileLogger | undefined

  constructor(given: Logger | undefined, configuration: ServerConfiguration) {
    this.#configuration = configuration
    this.#isGiven = given !== undefined
    this.#logger = given ?? stderrLogger({ level: configuration.errorLogLevel })
  }

  get logger(): Logger {
    return this.#logger
  }

  /** The same, for an answer to the operator, whatever level is logged. */
  get answers(): Logger {
    return this.#isGiven ? this.#logger : stderrLogger()
  }

  /** Opens the file, if there is to be one. Throws if it cannot be opened. */
  open(): void {
    const { errorLog, errorLogLevel } = this.#configuration
    if (errorLog === undefined || this.#isGiven) return
    this.#file = openFileLogger(errorLog, errorLogLevel)
    this.#logger = this.#file
  }

  /** Opens the file again, for log rotation. Never rejects: tells there if it fails, and goes on with the old one. */
  async reopen(): Promise<void> {
    try {
      await this.#file?.reopen()
    } catch (error) {
      this.#file?.error('The log was not opened again', { error })
    }
  }

  /** Writes what the file has not, and closes it. */
  close(): void {
    this.#file?.close()
  }
}
