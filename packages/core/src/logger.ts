import { close, open, openSync, write } from 'node:fs'
import { resolve } from 'node:path'
import { inspect } from 'node:util'
import { rejectUnknown } from './option-checks.ts'

/** Facts that go with a log entry. Never put header values, bodies, keys or sockets in here. */
export type LogFields = Readonly<Record<string, unknown>>

/**
 * Where Cirque writes what an operator should know. Any logger with these four methods fits (pino does with
 * a two-line adapter). Called rarely, never per request by `core`; must not throw and must not block.
 */
export interface Logger {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
}

/** What is written: this level and those after it. `silent` writes nothing. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent'

/** Options of {@link stderrLogger}. */
export interface StderrLoggerOptions {
  /** Default `info`. */
  readonly level?: LogLevel
  /** Lines that wait for a slow reader, in bytes; beyond it lines are dropped and counted. Default 1 MiB. */
  readonly bufferBytesMax?: number
  /** File descriptor to write to; the caller keeps and closes it. Default 2. */
  readonly fd?: number
}

/** Every level, from what is written most to what is written least. */
export const LOG_LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error', 'silent']
const LINE_CHARACTERS_MAX: number = 8192
const RETRY_MS: number = 50
const FILE_MODE: number = 0o640

/** Drops everything: for tests and for embedders that log elsewhere. */
export const silentLogger: Logger = Object.freeze({ debug() {}, info() {}, warn() {}, error() {} })

/**
 * A logger that writes one line per entry to stderr: time, level, message, `key=value` pairs.
 *
 * It never blocks the event loop (writes go through the thread pool, one at a time), never holds more than
 * `bufferBytesMax`, never throws, and escapes control characters, so that nobody can forge a line or move a
 * terminal's cursor. Lines still waiting keep the process alive until they are written.
 *
 * @throws {TypeError} If `level` is none of {@link LogLevel}.
 * @throws {RangeError} If `bufferBytesMax` or `fd` is not a whole number ≥ 0.
 */
export function stderrLogger(options: StderrLoggerOptions = {}): Logger {
  rejectUnknown(options, ['level', 'bufferBytesMax', 'fd'], 'stderrLogger')
  const level = options.level ?? 'info'
  if (!LOG_LEVELS.includes(level)) {
    throw new TypeError(`Expected a level of ${LOG_LEVELS.join(', ')}, received ${inspect(level)}`)
  }
  return new LineLogger(LOG_LEVELS.indexOf(level), options.fd ?? 2, options.bufferBytesMax ?? 1_048_576)
}

/** A logger that says of every entry which worker thread wrote it. */
export function threadLogger(logger: Logger, thread: number): Logger {
  return {
    debug: (message, fields) => logger.debug(message, { thread, ...fields }),
    info: (message, fields) => logger.info(message, { thread, ...fields }),
    warn: (message, fields) => logger.warn(message, { thread, ...fields }),
    error: (message, fields) => logger.error(message, { thread, ...fields }),
  }
}

/** A {@link Logger} that owns the file it writes to. */
export interface FileLogger extends Logger {
  /** Opens the file again, after log rotation has renamed it. Rejects if that fails; the old one stays in use then. */
  reopen(): Promise<void>
  /** Writes what waits, then closes the file. Later entries are dropped. */
  close(): void
}

/** A logger that appends to a file, which is created with mode 0640 if needed. Throws if that fails. */
export function openFileLogger(path: string, level: LogLevel = 'info'): FileLogger {
  const file = resolve(path) // the working directory may be another one when it is opened again
  return new LineLogger(LOG_LEVELS.indexOf(level), openSync(file, 'a', FILE_MODE), 1_048_576, file)
}

class LineLogger implements FileLogger {
  readonly #level: number
  readonly #path: string | undefined
  readonly #bufferBytesMax: number
  #fd: number
  /** Takes over from `#fd` once the write under way is done. */
  #nextFd: number | undefined
  #waiting: Buffer[] = []
  #waitingBytes = 0
  #droppedCount = 0
  #writing = false
  #isClosed = false

  /** @param path - The file's, if it is the logger's own. */
  constructor(level: number, fd: number, bufferBytesMax: number, path?: string) {
    for (const [name, value] of [
      ['fd', fd],
      ['bufferBytesMax', bufferBytesMax],
    ] as const) {
      if (Number.isSafeInteger(value) && value >= 0) continue
      throw new RangeError(`Expected ${name} to be a whole number ≥ 0, received ${inspect(value)}`)
    }
    this.#level = level
    this.#fd = fd
    this.#bufferBytesMax = bufferBytesMax
    this.#path = path
  }

  debug(message: string, fields?: LogFields): void {
    if (this.#level <= 0) this.#entry('DEBUG', message, fields)
  }
  info(message: string, fields?: LogFields): void {
    if (this.#level <= 1) this.#entry('INFO', message, fields)
  }
  warn(message: string, fields?: LogFields): void {
    if (this.#level <= 2) this.#entry('WARN', message, fields)
  }
  error(message: string, fields?: LogFields): void {
    if (this.#level <= 3) this.#entry('ERROR', message, fields)
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    if (!this.#writing) close(this.#fd, () => undefined)
  }

  async reopen(): Promise<void> {
    const path = this.#path
    if (path === undefined || this.#isClosed) return
    const { promise, resolve, reject } = Promise.withResolvers<number>()
    open(path, 'a', FILE_MODE, (error, fd) => (error === null ? resolve(fd) : reject(error)))
    const fd = await promise
    if (this.#isClosed) {
      close(fd, () => undefined)
      return
    }
    if (this.#nextFd !== undefined) close(this.#nextFd, () => undefined)
    this.#nextFd = fd
    if (!this.#writing) this.#takeNextFile()
  }

  #takeNextFile(): void {
    if (this.#nextFd === undefined) return
    close(this.#fd, () => undefined)
    this.#fd = this.#nextFd
    this.#nextFd = undefined
  }

  #entry(level: string, message: string, fields: LogFields | undefined): void {
    if (this.#isClosed) return
    const line = Buffer.from(formatLine(level, message, fields))
    if (this.#waitingBytes + line.length > this.#bufferBytesMax) {
      this.#droppedCount += 1
      return
    }
    this.#waiting.push(line)
    this.#waitingBytes += line.length
    if (!this.#writing) this.#write()
  }

  #write(): void {
    if (this.#droppedCount > 0) {
      const lost = formatLine('WARN', 'Log lines were dropped', { count: this.#droppedCount })
      this.#droppedCount = 0
      this.#waiting.push(Buffer.from(lost))
      this.#waitingBytes += lost.length
    }
    const bytes = this.#waiting.length === 1 ? this.#waiting[0] : Buffer.concat(this.#waiting)
    this.#waiting = []
    if (bytes === undefined || bytes.length === 0) return
    this.#writing = true
    this.#writeFrom(bytes, 0)
  }

  #writeFrom(bytes: Buffer, offset: number): void {
    write(this.#fd, bytes, offset, bytes.length - offset, null, (error, written) => {
      if (error !== null && (error.code === 'EAGAIN' || error.code === 'EINTR')) {
        // A pipe whose reader is slow, set to non-blocking by someone who shares it.
        setTimeout(() => this.#writeFrom(bytes, offset), RETRY_MS)
        return
      }
      if (error === null && offset + written < bytes.length) {
        this.#writeFrom(bytes, offset + written)
        return
      }
      // A closed pipe or a full disk loses this batch: there is nowhere left to report it.
      this.#waitingBytes -= bytes.length
      this.#writing = false
      this.#takeNextFile()
      if (this.#waiting.length > 0 || this.#droppedCount > 0) this.#write()
      else if (this.#isClosed) close(this.#fd, () => undefined)
    })
  }
}

function formatLine(level: string, message: string, fields: LogFields | undefined): string {
  let line = `${new Date().toISOString()} ${level} ${escapeControls(clip(safeText(message)))}`
  try {
    for (const name in fields) line += ` ${escapeControls(name)}=${formatValue(fields[name])}`
  } catch {
    line += ' (a field cannot be shown)'
  }
  return `${clip(line)}\n`
}

function formatValue(value: unknown): string {
  if (value instanceof Error) return quote(describeError(value))
  if (typeof value === 'string') return quote(value)
  if (typeof value === 'object' && value !== null) {
    return quote(
      inspect(value, { depth: 2, breakLength: Infinity, maxArrayLength: 20, maxStringLength: 1024 }),
    )
  }
  return quote(safeText(value)) // a function's text may have several lines
}

/** Message, code and the causes' messages; never the stack, which would be many lines. */
function describeError(error: Error): string {
  let text = ''
  let current: unknown = error
  for (let depth = 0; depth < 5 && current instanceof Error; depth += 1) {
    const code: unknown = (current as NodeJS.ErrnoException).code
    const shown = typeof code === 'string' && !current.message.includes(code) ? ` (${code})` : ''
    text += `${depth === 0 ? '' : ': '}${current.message}${shown}`
    current = current.cause
  }
  return text
}

function quote(text: string): string {
  const clipped = clip(text)
  const plain = /^[\w./:@%+\-[\]]+$/.test(clipped)
  return plain ? clipped : escapeControls(JSON.stringify(clipped))
}

function safeText(value: unknown): string {
  try {
    return String(value)
  } catch {
    return '(not printable)'
  }
}

function clip(text: string): string {
  return text.length > LINE_CHARACTERS_MAX ? `${text.slice(0, LINE_CHARACTERS_MAX)}…` : text
}

/** Escapes C0, DEL, C1, line separators, and the marks that reorder text on a screen. */
function escapeControls(text: string): string {
  return text.replaceAll(CONTROLS, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
  })
}

const CONTROLS: RegExp = /[\p{Cc}\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu
