import { setTimeout } from 'node:timers/promises'
import { inspect } from 'node:util'
import {
  type Logger,
  type Service,
  type ServiceContext,
  silentLogger,
  type WorkerContext,
} from '@cirque/core'
import type { ProxyError } from '@cirque/error'
import type { ProxyObserver, Session } from '@cirque/proxy'
import { rememberAddresses } from './addresses.ts'
import { integer, rejectUnknown } from './check.ts'
import type { DestinationStats, LogDestination } from './destination.ts'
import { Entry } from './entry.ts'
import { type AccessLogFormat, type CompiledFormat, compileFormat } from './format.ts'
import { type Redaction, Redactor } from './redaction.ts'

/** A logger that takes fields, such as pino's. It keeps its own bounds. */
export interface FieldLogger {
  info(fields: object): void
}

/** Options of {@link accessLog}; either `destination` or `logger` must be there. */
export interface AccessLogOptions {
  /** Default `'combined'`, or {@link AccessLogFormat} in JSON when `logger` is given. */
  readonly format?: AccessLogFormat
  /** Where lines go: `fileDestination()`, `syslogDestination()` or your own. */
  readonly destination?: LogDestination
  /** Gets each entry as fields in place of a line. Needs a JSON format. */
  readonly logger?: FieldLogger
  /** The share of requests that are logged, from 0 to 1. Default 1. */
  readonly sampleRate?: number
  /** What is logged whatever the sample says. Default: statuses from 500 on, and failures that no client caused. */
  readonly alwaysLog?: (session: Session, error: ProxyError | undefined) => boolean
  /** True leaves a request out, before everything else: health checks, for example. */
  readonly skip?: (session: Session, error: ProxyError | undefined) => boolean
  /** What must not be written. */
  readonly redact?: Redaction
  /** A longer value is cut, and ends in `...`. In characters; default 4,096, from 16 to 65,536. */
  readonly valueCharactersMax?: number
  /** Shown in logs. Default `'access log'`. */
  readonly name?: string
}

/** What an access log has done so far. */
export interface AccessLogStats extends DestinationStats {
  /** Requests left out by `sampleRate` or `skip`. */
  readonly skippedCount: number
}

const OPTION_NAMES = [
  'format',
  'destination',
  'logger',
  'sampleRate',
  'alwaysLog',
  'skip',
  'redact',
  'valueCharactersMax',
  'name',
]
const WARN_INTERVAL_MS = 10_000
const LAST_REQUESTS_MS = 20
const LAST_LINES_MS = 1_000
/** What has not moved for so long at the end will not move any more. */
const END_STALL_MS = 5_000
const NOTHING: DestinationStats = { writtenCount: 0, droppedCount: 0, waitingBytes: 0 }

/**
 * An access log: an observer for the option `observers` of a proxy, and a service that writes the last lines when the
 * server ends. Make the proxy depend on it, so that it ends after the proxy.
 *
 * @throws {TypeError | RangeError} If an option is unknown or wrong, or a variable does not exist.
 * @example
 * const log = accessLog({ destination: fileDestination('/var/log/proxy/access.log') })
 * const proxy = httpProxyService(server.configuration, app, { observers: [log] })
 * server.addService(proxy).addDependency(server.addService(log))
 */
export function accessLog(options: AccessLogOptions): AccessLog {
  return new AccessLog(options)
}

/** See {@link accessLog}. */
export class AccessLog implements ProxyObserver, Service {
  readonly name: string
  readonly #format: CompiledFormat
  readonly #entry: Entry
  readonly #destination: LogDestination | undefined
  readonly #fieldLogger: FieldLogger | undefined
  readonly #sampleRate: number
  readonly #alwaysLog: (session: Session, error: ProxyError | undefined) => boolean
  readonly #skip: ((session: Session, error: ProxyError | undefined) => boolean) | undefined
  #logger: Logger = silentLogger
  #skippedCount = 0
  #writtenCount = 0
  #warnedAt = -WARN_INTERVAL_MS
  #ending: Promise<void> | undefined
  /** What waited when it was last looked at, at the end. */
  #stuckBytes = 0
  readonly #giveUp: PromiseWithResolvers<void> = Promise.withResolvers()

  constructor(options: AccessLogOptions) {
    rejectUnknown(options, OPTION_NAMES, 'the access log')
    const { destination, logger, sampleRate = 1 } = options
    if ((destination === undefined) === (logger === undefined)) {
      throw new TypeError('An access log needs either a destination or a logger')
    }
    if (destination !== undefined && typeof destination?.write !== 'function') {
      throw new TypeError('The destination of an access log needs write()')
    }
    if (logger !== undefined && typeof logger?.info !== 'function') {
      throw new TypeError('The logger of an access log needs info()')
    }
    if (typeof sampleRate !== 'number' || !(sampleRate >= 0 && sampleRate <= 1)) {
      throw new RangeError(`sampleRate must be a number from 0 to 1, received ${String(sampleRate)}`)
    }
    for (const name of ['alwaysLog', 'skip'] as const) {
      const hook: unknown = options[name]
      if (hook === undefined || typeof hook === 'function') continue
      throw new TypeError(`${name} of an access log must be a function, received ${inspect(hook)}`)
    }
    const { name = 'access log' } = options
    if (typeof name !== 'string' || name === '') {
      throw new TypeError(`The name of an access log must not be empty, received ${inspect(name)}`)
    }
    const redactor = new Redactor(options.redact)
    this.name = name
    this.#format = compileFormat(options.format ?? (logger === undefined ? 'combined' : JSON_FORMAT), {
      isSecretField: (name) => redactor.isSecretField(name),
      valueCharactersMax: integer('valueCharactersMax', options.valueCharactersMax ?? 4_096, 16, 65_536),
    })
    if (logger !== undefined && this.#format.fields === undefined) {
      throw new TypeError('An access log with a logger needs a JSON format: an object of templates')
    }
    this.#entry = new Entry(redactor)
    this.#destination = destination
    this.#fieldLogger = logger
    this.#sampleRate = sampleRate
    this.#alwaysLog = options.alwaysLog ?? isFailure
    this.#skip = options.skip
    if (this.#format.readsAddresses) rememberAddresses()
  }

  /** Called by the proxy. */
  onRequestEnd(session: Session, error: ProxyError | undefined): void {
    if (
      this.#skip?.(session, error) === true ||
      (this.#sampleRate < 1 && Math.random() >= this.#sampleRate && !this.#alwaysLog(session, error))
    ) {
      this.#skippedCount++
      return
    }
    const entry = this.#entry
    entry.fill(session, error)
    try {
      this.#write(entry)
    } finally {
      entry.clear()
    }
  }

  #write(entry: Entry): void {
    if (this.#fieldLogger !== undefined) {
      this.#fieldLogger.info(this.#format.fields?.(entry) ?? {})
      this.#writtenCount++
    } else if (this.#destination?.write(this.#format.line(entry)) === false) this.#warnOfDrops()
  }

  #warnOfDrops(): void {
    const now = performance.now()
    if (now - this.#warnedAt < WARN_INTERVAL_MS) return
    this.#warnedAt = now
    const { droppedCount } = this.stats()
    this.#logger.warn('Access log lines are dropped', { service: this.name, droppedCount })
  }

  /** Opens files again, after log rotation has renamed them. Rejects if that fails; the old ones stay in use then. */
  async reopen(): Promise<void> {
    await this.#destination?.reopen()
  }

  stats(): AccessLogStats {
    const stats = this.#destination?.stats() ?? { ...NOTHING, writtenCount: this.#writtenCount }
    return { ...stats, skippedCount: this.#skippedCount }
  }

  /** Writes what waits and releases everything: for proxies without a server. */
  async close(): Promise<void> {
    await this.#destination?.close()
  }

  // --- as a service ------------------------------------------------------------------------------

  start(context: ServiceContext): void {
    this.#logger = context.logger
  }

  /** Each worker thread writes its own lines, and ends with its last one. */
  startInWorker(context: WorkerContext): void {
    this.#logger = context.logger
  }

  /** Resolves when the last line is written. */
  drain(): Promise<void> {
    this.#ending ??= this.#end()
    return this.#ending
  }

  async #end(): Promise<void> {
    // In a fast shutdown the proxy's connections are cut at this moment; their requests end a turn later.
    await setTimeout(LAST_REQUESTS_MS)
    const watch = setInterval(() => this.#giveUpIfStuck(), END_STALL_MS)
    try {
      this.#stuckBytes = this.stats().waitingBytes
      await Promise.race([this.close(), this.#giveUp.promise])
    } catch (error) {
      this.#logger.error('The access log failed to close', { service: this.name, error })
    } finally {
      clearInterval(watch)
    }
  }

  /** A disk or a receiver that takes nothing must not hold the end of the server until its grace period is over. */
  #giveUpIfStuck(): void {
    const { waitingBytes, droppedCount } = this.stats()
    if (waitingBytes > 0 && waitingBytes < this.#stuckBytes) {
      this.#stuckBytes = waitingBytes
      return
    }
    this.#logger.error('The last lines of the access log are given up', {
      service: this.name,
      waitingBytes,
      droppedCount,
    })
    this.#giveUp.resolve()
    this.#destination?.destroy()
  }

  /** The server reloads: files are opened again. */
  reload(): Promise<void> {
    return this.reopen()
  }

  /** Lines that wait are written even now; what does not take them within a second is let go. */
  destroy(): void {
    const giveUp = globalThis.setTimeout(() => this.#destination?.destroy(), LAST_LINES_MS).unref()
    void this.drain().then(() => clearTimeout(giveUp))
  }
}

function isFailure(session: Session, error: ProxyError | undefined): boolean {
  return session.downstream.responseStatus >= 500 || (error !== undefined && error.source !== 'downstream')
}

const JSON_FORMAT: AccessLogFormat = {
  remote_addr: '$remote_addr',
  method: '$request_method',
  uri: '$request_uri',
  protocol: '$server_protocol',
  host: '$host',
  status: '$status',
  body_bytes_sent: '$body_bytes_sent',
  request_time: '$request_time',
  referer: '$http_referer',
  user_agent: '$http_user_agent',
  upstream_addr: '$upstream_addr',
  upstream_response_time: '$upstream_response_time',
  attempts: '$attempts',
  error_code: '$error_code',
  request_id: '$request_id',
}
