import type { OnReadOpts, Socket } from 'node:net'
import { readInto } from '@cirque/core'
import { forgetBuffer, returnBuffer, sharedBuffer, takeBuffer } from './read-buffers.ts'

/** A read this long makes a connection read into memory of its own, which saves the copy. */
const OWN_FROM_BYTES = 16_384

/** A read this short gives that memory back. */
const OWN_UNTIL_BYTES = 4_096

/** Who owns a pump: the session. */
export interface PumpOwner {
  /** Something was read. Called once per read. */
  onProgress(): void
}

/**
 * One direction of a relay: what the source sends goes to the sink; its end is passed on as an end.
 *
 * The source is read only while the sink takes what came before, so at most one read and what the kernel holds
 * wait in here.
 */
export class Pump {
  /** Read from the source so far. */
  bytes = 0
  /** The source has ended its side. */
  ended = false

  readonly #owner: PumpOwner
  #source: Socket | null = null
  #sink: Socket | null = null
  #paused = false
  /** Memory of its own for the next read; null while it reads into the shared one. */
  #own: Buffer | null = null
  /** Memory that is being written to the sink. */
  readonly #inFlight: Buffer[] = []
  readonly #onWritten: () => void
  /** Asked after each read, when the write of what it brought is under way or done. */
  readonly #nextBuffer: () => Buffer

  constructor(owner: PumpOwner) {
    this.#owner = owner
    this.#onWritten = () => this.#resume()
    this.#nextBuffer = () => this.#own ?? sharedBuffer
  }

  /** For `net.connect`: reads go into memory of ours, without an allocation each. */
  onReadOptions(): OnReadOpts {
    return {
      buffer: this.#nextBuffer,
      callback: (count: number, buffer: Uint8Array) => this.#onRead(count, buffer as Buffer),
    }
  }

  /** Starts to relay. With `onRead` false the source was opened without {@link onReadOptions}. */
  start(source: Socket, sink: Socket, onRead: boolean): void {
    this.#source = source
    this.#sink = sink
    sink.on('drain', this.#onWritten)
    source.on('end', () => {
      this.ended = true
      sink.end()
    })
    if (!onRead) {
      // What came before there was somewhere to send it.
      const early = source.read() as Buffer | null
      const isOurs = readInto(source, this.#nextBuffer, (count, buffer) => this.#onRead(count, buffer))
      if (!isOurs) source.on('data', (chunk: Buffer) => this.#onData(chunk))
      if (early !== null) this.#onData(early)
    }
    if (!this.#paused) source.resume()
  }

  /** Lets go of everything; the sockets are closed. */
  stop(): void {
    // What is in flight is left to the garbage collector: the kernel may still have it.
    if (this.#own !== null) returnBuffer(this.#own)
    this.#own = null
    for (const buffer of this.#inFlight) forgetBuffer(buffer)
    this.#inFlight.length = 0
    this.#source = null
    this.#sink = null
  }

  #onData(chunk: Buffer): void {
    const sink = this.#sink
    if (sink === null) return
    this.bytes += chunk.length
    this.#owner.onProgress()
    if (sink.write(chunk)) return
    this.#paused = true
    this.#source?.pause()
  }

  /** False to stop reading. */
  #onRead(count: number, buffer: Buffer): boolean {
    const sink = this.#sink
    if (sink === null) return false
    this.bytes += count
    this.#owner.onProgress()
    if (buffer !== this.#own) {
      if (count >= OWN_FROM_BYTES) this.#own = takeBuffer()
      // A copy, as the write may outlast this call and the next read of any connection goes to the same memory.
      if (sink.write(Buffer.from(buffer.subarray(0, count)))) return true
      this.#paused = true
      return false
    }
    sink.write(count === buffer.length ? buffer : buffer.subarray(0, count), this.#onWritten)
    if (sink.writableLength === 0) {
      // The kernel took it at once.
      if (count < OWN_UNTIL_BYTES) {
        this.#own = null
        returnBuffer(buffer)
      }
      return true
    }
    // Not the same memory again: TLS goes on to deliver what it has decrypted, paused or not.
    this.#inFlight.push(buffer)
    this.#own = takeBuffer()
    this.#paused = true
    return false
  }

  #resume(): void {
    if (!this.#paused || this.#sink === null || this.#sink.writableLength > 0) return
    this.#paused = false
    while (this.#inFlight.length > 0) returnBuffer(this.#inFlight.pop() as Buffer)
    this.#source?.resume()
  }
}
