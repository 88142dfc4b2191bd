import { close, fstatSync, open, openSync, write } from 'node:fs'
import { resolve } from 'node:path'
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
/**
 * Lines are encoded a few at a time, while what they were made of is still in the processor's cache. Encoding a whole
 * batch at its end took twice as long as making its lines: its pieces then lie among all that the requests left behind.
 */
const ENCODE_CHARACTERS = 2_048
/** Bytes that a character may take in UTF-8, per unit of a string's length. */
const BYTES_PER_CHARACTER_MAX = 3
const BUSY_RETRY_MS = 50
/** What a pipe takes as a whole, whoever else writes to it: PIPE_BUF of Linux, and more than POSIX asks for. */
const PIPE_BYTES = 4_096
const NEWLINE = 0x0a

/**
 * Appends lines to a file, in batches, from the thread pool: never blocks, never holds more than `bufferBytesMax`.
 * Several threads and processes may append to one file; to one pipe or socket too, where lines of more than 4,096
 * bytes may be torn apart.
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

/** Lines on their way, encoded. */
interface Batch {
  readonly buffer: Buffer
  length: number
  lines: number
  /** As they count for `bufferBytesMax`. */
  bytes: number
}

class FileDestination implements LogDestination {
  readonly #path: string | undefined
  readonly #mode: number
  readonly #bufferBytesMax: number
  readonly #flushIntervalMs: number
  #fd: number
  /** Bytes of one write: those of others may come between two. */
  #writeBytesMax: number
  /** The file ends within a line, of which the rest could not be written. */
  #isTorn = false
  /** The last lines, joined: not encoded yet. */
  #text = ''
  #textLines = 0
  /** What waits; the last one has room. */
  #batches: Batch[] = []
  #writing: Batch | null = null
  /** The buffer of a batch that was written, for the next one. */
  #spare: Buffer | null = null
  #waitingBytes = 0
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
      this.#path = resolve(target) // the working directory may be another one when it is opened again
      this.#fd = openSync(target, 'a', this.#mode)
    } else {
      this.#path = undefined
      this.#fd = integer('The file descriptor', target, 0, 2 ** 31 - 1)
    }
    this.#writeBytesMax = writeBytesMax(this.#fd)
  }

  write(line: string): boolean {
    // Lines of an access log are ASCII. Others may take more, which is found out when they are written.
    const bytes = line.length + 1
    if (this.#isClosed || this.#waitingBytes + bytes > this.#bufferBytesMax) {
      this.#droppedCount++
      return false
    }
    this.#text += `${line}\n`
    this.#textLines++
    this.#waitingBytes += bytes
    if (this.#text.length >= ENCODE_CHARACTERS) this.#encode()
    if (this.#writing !== null) return true // goes out with what has gathered when the write is done
    if (this.#batches.length > 1) this.#flush()
    else this.#timer ??= setTimeout(() => this.#flush(), this.#flushIntervalMs)
    return true
  }

  #encode(): void {
    const text = this.#text
    if (text === '') return
    const most = text.length * BYTES_PER_CHARACTER_MAX
    const batch = this.#batchFor(most <= BATCH_BYTES ? most : Buffer.byteLength(text))
    batch.length += batch.buffer.write(text, batch.length)
    batch.lines += this.#textLines
    batch.bytes += text.length
    this.#text = ''
    this.#textLines = 0
  }

  #batchFor(bytes: number): Batch {
    const last = this.#batches.at(-1)
    if (last !== undefined && last.length + bytes <= last.buffer.length) return last
    const isLarge = bytes > BATCH_BYTES
    const buffer = isLarge
      ? Buffer.allocUnsafeSlow(bytes)
      : (this.#spare ?? Buffer.allocUnsafeSlow(BATCH_BYTES))
    if (buffer === this.#spare) this.#spare = null
    const batch = { buffer, length: 0, lines: 0, bytes: 0 }
    this.#batches.push(batch)
    return batch
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
    if (this.#writing === null) this.#takeNextFile()
  }

  close(): Promise<void> {
    if (this.#closed !== undefined) return this.#closed.promise
    this.#closed = Promise.withResolvers()
    this.#isClosed = true
    if (this.#isReleased) this.#closed.resolve()
    else if (this.#writing === null) this.#flush()
    return this.#closed.promise
  }

  destroy(): void {
    this.#isClosed = true
    this.#isDestroyed = true
    this.#drop()
    // A descriptor that is being written to is closed when that is done: its number must not be reused before.
    if (this.#writing === null) this.#release()
  }

  stats(): DestinationStats {
    return {
      writtenCount: this.#writtenCount,
      droppedCount: this.#droppedCount,
      waitingBytes: this.#waitingBytes,
    }
  }

  #drop(): void {
    this.#droppedCount += this.#textLines
    for (const { lines } of this.#batches) this.#droppedCount += lines
    this.#text = ''
    this.#textLines = 0
    this.#batches = []
    this.#waitingBytes = this.#writing?.bytes ?? 0
  }

  /** Never called while a write is under way. */
  #flush(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    this.#encode()
    const batch = this.#batches.shift()
    if (batch === undefined) {
      if (this.#isClosed) this.#release()
      return
    }
    this.#writing = batch
    this.#writeFrom(batch, 0)
  }

  #writeFrom(batch: Batch, offset: number): void {
    if (this.#isTorn) {
      this.#mend(batch, offset)
      return
    }
    const bytes = this.#bytesFrom(batch, offset)
    write(this.#fd, batch.buffer, offset, bytes, null, (error, written) => {
      if (error !== null && (error.code === 'EAGAIN' || error.code === 'EINTR')) {
        // A pipe whose reader is slow, set to non-blocking by someone who shares it.
        if (this.#isDestroyed) this.#written(batch, offset)
        else setTimeout(() => this.#writeFrom(batch, offset), BUSY_RETRY_MS)
      } else if (error === null && offset + written < batch.length) this.#writeFrom(batch, offset + written)
      else this.#written(batch, error === null ? batch.length : offset)
    })
  }

  /** Whole lines, if there is a bound; a longer line goes by itself. */
  #bytesFrom({ buffer, length }: Batch, offset: number): number {
    const max = this.#writeBytesMax
    if (length - offset <= max) return length - offset
    const last = buffer.lastIndexOf(NEWLINE, offset + max - 1)
    if (last >= offset) return last + 1 - offset
    return buffer.indexOf(NEWLINE, offset) + 1 - offset
  }

  /** Ends the line that was torn, so that the next one is not taken for its end. */
  #mend(batch: Batch, offset: number): void {
    write(this.#fd, '\n', null, 'latin1', (error) => {
      if (error !== null) this.#written(batch, offset)
      else {
        this.#isTorn = false
        this.#writeFrom(batch, offset)
      }
    })
  }

  #written(batch: Batch, bytes: number): void {
    // A full disk or a closed pipe loses the rest of the batch; the next one tries again.
    if (bytes === batch.length) this.#writtenCount += batch.lines
    else {
      const lines = linesOf(batch, bytes)
      this.#writtenCount += lines
      this.#droppedCount += batch.lines - lines
      if (bytes > 0) this.#isTorn = batch.buffer[bytes - 1] !== NEWLINE
    }
    this.#writing = null
    this.#waitingBytes -= batch.bytes
    if (batch.buffer.length === BATCH_BYTES) this.#spare = batch.buffer
    if (this.#nextFd !== undefined) this.#takeNextFile()
    if (this.#waitingBytes > 0 || this.#isClosed) this.#flush()
  }

  #takeNextFile(): void {
    close(this.#fd, () => undefined)
    this.#fd = this.#nextFd as number
    this.#nextFd = undefined
    this.#writeBytesMax = writeBytesMax(this.#fd)
    this.#isTorn = false
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

/** Appending to a file is one act, however long; pipes and sockets take what they have room for, and wait. */
function writeBytesMax(fd: number): number {
  const stat = fstatSync(fd)
  return stat.isFIFO() || stat.isSocket() ? PIPE_BYTES : Number.POSITIVE_INFINITY
}

/** The lines that end within the first bytes. */
function linesOf({ buffer }: Batch, bytes: number): number {
  let lines = 0
  for (let at = buffer.indexOf(NEWLINE); at >= 0 && at < bytes; at = buffer.indexOf(NEWLINE, at + 1)) lines++
  return lines
}
