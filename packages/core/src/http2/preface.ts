import type { Socket } from 'node:net'
import { CoarseTimer, now, type TimerOwner } from '@cirque/timeout'
import type { ResolvedHttpServerOptions } from '../downstream/http-server-options.ts'
import { readInto } from '../sockets/accepted-reads.ts'
import { sharedReadBuffer } from '../sockets/read-buffer.ts'

/** What an HTTP/2 client sends first (RFC 9113 §3.4). No HTTP/1 request begins like it: its method is reserved. */
const PREFACE: Buffer = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1')

/** Who waits to know what a cleartext connection speaks. Exactly one of the two is called. */
export interface PrefaceOwner {
  /** The first `count` bytes of `buffer`, which is lent, have told. They are the connection's first bytes. */
  onProtocol(reader: PrefaceReader, http2: boolean, buffer: Buffer, count: number): void
  /** The connection ended, or took too long, before it told. */
  onPrefaceFailed(reader: PrefaceReader): void
}

/** Reads the first bytes of a cleartext connection, to tell HTTP/2 with prior knowledge from HTTP/1. */
export class PrefaceReader implements TimerOwner {
  readonly socket: Socket
  /** Where the owner keeps it. */
  place = -1
  readonly #owner: PrefaceOwner
  readonly #timer: CoarseTimer
  readonly #openedAt: number = now()
  readonly #firstRequestTimeoutMs: number
  readonly #onData: (chunk: Buffer) => void
  readonly #onGone: () => void
  /** What has come so far and may still be the preface; less than its 24 bytes. */
  #held: Buffer | null = null
  #settled = false

  constructor(
    socket: Socket,
    owner: PrefaceOwner,
    options: Pick<ResolvedHttpServerOptions, 'idleTimeoutMs' | 'firstRequestTimeoutMs'>,
  ) {
    this.socket = socket
    this.#firstRequestTimeoutMs = options.firstRequestTimeoutMs
    this.#owner = owner
    this.#timer = new CoarseTimer(this)
    this.#onData = (chunk) => this.#read(chunk, chunk.length)
    this.#onGone = () => this.destroy()
    const isShared =
      sharedReadBuffer !== null &&
      readInto(socket, sharedReadBuffer, (count, buffer) => {
        this.#read(buffer, count)
        return !socket.isPaused()
      })
    if (isShared) socket.resume()
    else socket.on('data', this.#onData)
    socket.on('end', this.#onGone)
    socket.on('close', this.#onGone)
    this.#timer.arm(options.idleTimeoutMs)
  }

  /** No request is under way, but one that is new may have its first: see `HttpServerOptions.firstRequestTimeoutMs`. */
  drain(): void {
    const leftMs = this.#openedAt + this.#firstRequestTimeoutMs - now()
    if (leftMs > 0) this.#timer.arm(leftMs)
    else this.destroy()
  }

  destroy(): void {
    if (this.#settled) return
    this.#settle()
    this.socket.destroy()
    this.#owner.onPrefaceFailed(this)
  }

  onTimer(): void {
    this.destroy()
  }

  #read(chunk: Buffer, size: number): void {
    if (this.#settled) return
    let bytes = chunk
    let count = size
    if (this.#held !== null) {
      bytes = Buffer.concat([this.#held, chunk.subarray(0, size)])
      count = bytes.length
    }
    const compared = Math.min(count, PREFACE.length)
    const alike = bytes.compare(PREFACE, 0, compared, 0, compared) === 0
    if (alike && count < PREFACE.length) {
      this.#held = Buffer.from(bytes.subarray(0, count))
      return
    }
    this.#settle()
    this.#owner.onProtocol(this, alike, bytes, count)
  }

  #settle(): void {
    this.#settled = true
    this.#timer.cancel()
    this.socket.off('data', this.#onData)
    this.socket.off('end', this.#onGone)
    this.socket.off('close', this.#onGone)
  }
}
