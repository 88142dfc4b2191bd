import { AsyncLocalStorage } from 'node:async_hooks'
import type { Socket } from 'node:net'
import { CoarseTimer, type TimerOwner } from '@cirque/timeout'
import { readServerName } from './client-hello.ts'
import { normalServerName } from './server-names.ts'

/** Who waits for the server name. One of the two is called, unless the socket closes first. */
export interface HelloReceiver {
  /** The bytes are readable again. */
  onServerName(socket: Socket, serverName: string | undefined): void
  onHelloFailed(socket: Socket, reason: string): void
}

/** So many packets are kept apart at most: one byte each, they would take many times the memory of their bytes. */
const CHUNKS_MAX = 64

/** Reads the server name off a raw socket before TLS does, and puts every byte back. */
export class HelloPeek implements TimerOwner {
  readonly #socket: Socket
  readonly #receiver: HelloReceiver
  readonly #timeoutMs: number
  readonly #timer: CoarseTimer = new CoarseTimer(this)
  readonly #onReadable: () => void
  readonly #onEnd: () => void
  /** Whoever gave the connection may have left something in the asynchronous context for the TLS callbacks. */
  readonly #inContext: <R>(run: () => R) => R = AsyncLocalStorage.snapshot()
  #chunks: Buffer[] = []
  #bytes = 0
  #bytesMin = 1

  constructor(socket: Socket, timeoutMs: number, receiver: HelloReceiver) {
    this.#socket = socket
    this.#receiver = receiver
    this.#timeoutMs = timeoutMs
    this.#onReadable = () => this.#read()
    this.#onEnd = () => this.#fail('the connection ended within the ClientHello')
    // Not 'data': it would leave the socket flowing or paused, where the TLS server expects neither.
    socket.on('readable', this.#onReadable)
    socket.on('end', this.#onEnd)
    socket.once('close', () => this.#timer.cancel())
    this.#timer.arm(timeoutMs)
  }

  onTimer(): void {
    this.#fail(`no ClientHello within ${this.#timeoutMs} ms`)
  }

  #read(): void {
    const chunk = this.#socket.read() as Buffer | null
    if (chunk === null) return
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    if (this.#bytes < this.#bytesMin && this.#chunks.length < CHUNKS_MAX) return
    const bytes = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks, this.#bytes)
    this.#chunks = [bytes]
    const result = readServerName(bytes)
    if (result.kind === 'more') {
      this.#bytesMin = result.bytesMin
      return
    }
    this.#release()
    this.#socket.unshift(bytes)
    const serverName = result.kind === 'name' ? normalServerName(result.serverName) : undefined
    this.#inContext(() => this.#receiver.onServerName(this.#socket, serverName))
  }

  #fail(reason: string): void {
    this.#release()
    if (!this.#socket.destroyed) this.#receiver.onHelloFailed(this.#socket, reason)
  }

  #release(): void {
    this.#timer.cancel()
    this.#chunks = []
    this.#socket.off('readable', this.#onReadable)
    this.#socket.off('end', this.#onEnd)
  }
}
