import type { Socket } from 'node:net'
import { CoarseTimer, type TimerOwner } from '@cirque/timeout'

/** What an HTTP/2 client sends first (RFC 9113 §3.4). No HTTP/1 request begins like it: its method is reserved. */
const PREFACE: Buffer = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1')

/** Who waits to know what a cleartext connection speaks. Exactly one of the two is called. */
export interface PrefaceOwner {
  /** The first bytes have told; they lie in the socket again, which is paused. */
  onProtocol(reader: PrefaceReader, http2: boolean): void
  /** The connection ended, or took too long, before it told. */
  onPrefaceFailed(reader: PrefaceReader): void
}

/** Reads the first bytes of a cleartext connection, to tell HTTP/2 with prior knowledge from HTTP/1. */
export class PrefaceReader implements TimerOwner {
  readonly socket: Socket
  readonly #owner: PrefaceOwner
  readonly #timer: CoarseTimer
  readonly #onData: (chunk: Buffer) => void
  readonly #onGone: () => void
  /** What has come so far and may still be the preface; at most its 24 bytes. */
  #held: Buffer | null = null
  #settled = false

  constructor(socket: Socket, owner: PrefaceOwner, timeoutMs: number) {
    this.socket = socket
    this.#owner = owner
    this.#timer = new CoarseTimer(this)
    this.#onData = (chunk) => this.#read(chunk)
    this.#onGone = () => this.destroy()
    socket.on('data', this.#onData)
    socket.on('end', this.#onGone)
    socket.on('close', this.#onGone)
    this.#timer.arm(timeoutMs)
  }

  /** No request is under way: an idle connection may be closed at any time. */
  drain(): void {
    this.destroy()
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

  #read(chunk: Buffer): void {
    const held = this.#held
    const bytes = held === null ? chunk : Buffer.concat([held, chunk])
    const count = Math.min(bytes.length, PREFACE.length)
    const alike = bytes.compare(PREFACE, 0, count, 0, count) === 0
    if (alike && count < PREFACE.length) {
      this.#held = bytes
      return
    }
    this.#settle()
    this.socket.pause()
    this.socket.unshift(bytes)
    this.#owner.onProtocol(this, alike)
  }

  #settle(): void {
    this.#settled = true
    this.#timer.cancel()
    this.socket.off('data', this.#onData)
    this.socket.off('end', this.#onGone)
    this.socket.off('close', this.#onGone)
  }
}
