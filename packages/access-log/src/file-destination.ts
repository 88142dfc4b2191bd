import { close, open, openSync, write } from 'node:fs'
import { integer, rejectUnknown } from './check.ts'
import type { DestinationStats, LogDestination } from './destination.ts'

/** Options of {@link fileDestination}. */
export interface FileDestinationOptions {
  /** Lines that wait for a slow disk or reader, in bytes; beyond it they are dropped and counted. Default 4 MiB. */
  readonly bufferBytesMax?: number
  /** A line waits at most this long for others to be written with, in milliseconds. Default 100; 0 does not wait. */
  readonly flushIntervalMs?: number
  /** Permissions of a file that is created. Default 0o640. */
  readonly mode?: number
}

/** So many are not kept waiting for more: each write wakes a thread. */
const BATCH_BYTES = 262_144
const BUSY_RETRY_MS = 50

/**
 * Appends lines to a file, in batches, from the thread pool: never blocks, never holds more than `bufferBytesMax`.
 *
 * @param target - A path, which is created if needed, or a file descriptor such as 1, which the caller keeps.
 * @throws {Error} If the file cannot be opened.
 * @throws {TypeError | RangeError} If an option is unknown or out of bounds.
 */
export function fileDestination(
  target: string | number,
  options: FileDestinationOptions = {},
): LogDestination {
  rejectUnknown(options, ['bufferBytesMax', 'flushIntervalMs', 'mode'], 'the file destination')
  return new FileDestination(target, options)
}

class FileDestination implements LogDestination {
  readonly #path: string | undefined
  readonly #mode: number
  readonly #bufferBytesMax: number
  readonly #flushIntervalMs: number
  #fd: number
  /** Lines that wait, joined. */
  #text = ''
  #textBytes = 0
  #textLines = 0
  #batchBytes = 0
  #batchLines = 0
  #writtenCount = 0
  #droppedCount = 0
  #timer: NodeJS.Timeout | null = null
  #isClosed = false
  #isDestroyed = false
  #isReleased = false
  #closed: PromiseWithResolvers<void> | undefined
  #reopening: Promise<void> | undefined
  /** A file that was opened to take over from `#fd`, once the write under way is done. */
  #nextFd: number | undefined

  constructor(target: string | number, options: FileDestinationOptions) {
    this.#bufferBytesMax = integer(
      'bufferBytesMax',
      options.bufferBytesMax ?? 4_194_304,
      1_024,
      1_073_741_824,
    )
    this.#flushIntervalMs = integer('flushIntervalMs', options.flushIntervalMs ?? 100, 0, 60_000)
    this.#mode = integer('mode', options.mode ?? 0o640, 0, 0o777)
    if (typeof target === 'string') {
      this.#path = target
      this.#fd = openSync(target, 'a', this.#mode)
    } else {
      this.#path = undefined
      this.#fd = integer('The file descriptor', target, 0, 2 ** 31 - 1)
    }
  }

  write(line: string): boolean {
    // Lines of an access log are ASCII. Others may take more, which is found out when they are written.
    const bytes = line.length + 1
    if (this.#isClosed || this.#batchBytes + this.#textBytes + bytes > this.#bufferBytesMax) {
      this.#droppedCount++
      return false
    }
    this.#text += `${line}\n`
    this.#textBytes += bytes
    this.#textLines++
    if (this.#batchBytes > 0) return true // goes out with what has gathered when the write is done
    if (this.#textBytes >= BATCH_BYTES) this.#flush()
    else this.#timer ??= setTimeout(() => this.#flush(), this.#flushIntervalMs)
    return true
  }

  async reopen(): Promise<void> {
    if (this.#path === undefined || this.#isClosed) return
    this.#reopening ??= this.#reopen(this.#path).finally(() => {
      this.#reopening = undefined
    })
    await this.#reopening
  }

  async #reopen(path: string): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<number>()
    open(path, 'a', this.#mode, (error, fd) => (error === null ? resolve(fd) : reject(error)))
    const fd = await promise
    if (this.#isReleased) {
      close(fd, () => undefined)
      return
    }
    if (this.#nextFd !== undefined) close(this.#nextFd, () => undefined)
    this.#nextFd = fd
    if (this.#batchBytes === 0) this.#takeNextFile()
  }

  close(): Promise<void> {
    if (this.#closed !== undefined) return this.#closed.promise
    this.#closed = Promise.withResolvers()
    this.#isClosed = true
    if (this.#isReleased) this.#closed.resolve()
    else if (this.#batchBytes === 0) this.#flush()
    return this.#closed.promise
  }

  destroy(): void {
    this.#isClosed = true
    this.#isDestroyed = true
    this.#drop()
    // A descriptor that is being written to is closed when that is done: its number must not be reused before.
    if (this.#batchBytes === 0) this.#release()
  }

  stats(): DestinationStats {
    return {
      writtenCount: this.#writtenCount,
      droppedCount: this.#droppedCount,
      waitingBytes: this.#batchBytes + this.#textBytes,
    }
  }

  #drop(): void {
    this.#droppedCount += this.#textLines
    this.#text = ''
    this.#textBytes = 0
    this.#textLines = 0
  }

  /** Never called while a write is under way. */
  #flush(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    if (this.#textBytes === 0) {
      if (this.#isClosed) this.#release()
      return
    }
    const batch = Buffer.from(this.#text)
    this.#batchBytes = batch.length
    this.#batchLines = this.#textLines
    this.#text = ''
    this.#textBytes = 0
    this.#textLines = 0
    this.#writeFrom(batch, 0)
  }

  #writeFrom(batch: Buffer, offset: number): void {
    write(this.#fd, batch, offset, batch.length - offset, null, (error, written) => {
      if (error !== null && (error.code === 'EAGAIN' || error.code === 'EINTR')) {
        // A pipe whose reader is slow, set to non-blocking by someone who shares it.
        if (this.#isDestroyed) this.#written(false)
        else setTimeout(() => this.#writeFrom(batch, offset), BUSY_RETRY_MS)
      } else if (error === null && offset + written < batch.length) this.#writeFrom(batch, offset + written)
      else this.#written(error === null)
    })
  }

  #written(isDone: boolean): void {
    // A full disk or a closed pipe loses the batch; the next one tries again.
    if (isDone) this.#writtenCount += this.#batchLines
    else this.#droppedCount += this.#batchLines
    this.#batchBytes = 0
    this.#batchLines = 0
    if (this.#nextFd !== undefined) this.#takeNextFile()
    if (this.#textBytes > 0 || this.#isClosed) this.#flush()
  }

  #takeNextFile(): void {
    close(this.#fd, () => undefined)
    this.#fd = this.#nextFd as number
    this.#nextFd = undefined
  }

  #release(): void {
    if (this.#isReleased) return
    this.#isReleased = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    if (this.#path !== undefined) close(this.#fd, () => this.#closed?.resolve())
    else this.#closed?.resolve()
  }
}
