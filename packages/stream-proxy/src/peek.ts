import type { Socket } from 'node:net'
import { peerError } from '@cirque/error'
import { CoarseTimer, type TimerOwner } from '@cirque/timeout'
import { integerIn, onlyKeys, TIMEOUT_MS_MAX } from './check.ts'
import {
  CLIENT_HELLO_BYTES_MAX_DEFAULT,
  type ClientHello,
  type ClientHelloResult,
  readClientHello,
} from './client-hello.ts'

/** Options of {@link peekClientHello}. */
export interface PeekOptions {
  /** Time for the whole ClientHello, in ms. Default 5,000. */
  readonly timeoutMs?: number
  /** Longest ClientHello, record headers included, 512 to 65,536. Default 16,384. */
  readonly helloBytesMax?: number
}

/** {@link PeekOptions}, checked. Throws TypeError or RangeError. */
export function checkPeekOptions(options: PeekOptions): Required<PeekOptions> {
  onlyKeys('peekClientHello', options, ['timeoutMs', 'helloBytesMax'])
  const { timeoutMs = 5_000, helloBytesMax = CLIENT_HELLO_BYTES_MAX_DEFAULT } = options
  return {
    timeoutMs: integerIn('timeoutMs', timeoutMs, 1, TIMEOUT_MS_MAX),
    helloBytesMax: integerIn('helloBytesMax', helloBytesMax, 512, 65_536),
  }
}

/**
 * Waits for the ClientHello of a connection and leaves all its bytes to be read again: whoever gets the connection sees
 * it untouched. For a plain listener only; on one with TLS the ClientHello is gone.
 *
 * @returns Undefined if the connection does not begin with TLS.
 * @throws {ProxyError} `TLS_HANDSHAKE_FAILED` if the ClientHello is malformed or too long, or the client ends before
 *   it; `TLS_HANDSHAKE_TIMEOUT` if it takes too long. The source is the client.
 */
export function peekClientHello(socket: Socket, options: PeekOptions = {}): Promise<ClientHello | undefined> {
  const { timeoutMs, helloBytesMax } = checkPeekOptions(options)
  return new Promise((resolve, reject) => {
    const peek = new Peek(socket, helloBytesMax, timeoutMs, resolve, reject)
    peek.start()
  })
}

/** So many packets are kept apart at most: one byte each, they would take many times the memory of their bytes. */
const CHUNKS_MAX = 64

class Peek implements TimerOwner {
  readonly #socket: Socket
  readonly #bytesMax: number
  readonly #timeoutMs: number
  readonly #resolve: (hello: ClientHello | undefined) => void
  readonly #reject: (error: Error) => void
  readonly #timer: CoarseTimer = new CoarseTimer(this)
  readonly #onReadable: () => void
  readonly #onGone: () => void
  #chunks: Buffer[] = []
  #bytes = 0
  #bytesMin = 1

  constructor(
    socket: Socket,
    bytesMax: number,
    timeoutMs: number,
    resolve: (hello: ClientHello | undefined) => void,
    reject: (error: Error) => void,
  ) {
    this.#socket = socket
    this.#bytesMax = bytesMax
    this.#timeoutMs = timeoutMs
    this.#resolve = resolve
    this.#reject = reject
    this.#onReadable = () => this.#read()
    this.#onGone = () => this.#fail('TLS_HANDSHAKE_FAILED', 'the client ended before it was complete')
  }

  start(): void {
    this.#timer.arm(this.#timeoutMs)
    // Not 'data': it would leave the socket flowing or paused, where the next owner expects neither.
    this.#socket.on('readable', this.#onReadable)
    this.#socket.on('end', this.#onGone)
    this.#socket.on('close', this.#onGone)
  }

  onTimer(): void {
    this.#fail('TLS_HANDSHAKE_TIMEOUT', `it took more than ${this.#timeoutMs} ms`)
  }

  #read(): void {
    const chunk = this.#socket.read() as Buffer | null
    if (chunk === null) return
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    if (this.#bytes < this.#bytesMin && this.#chunks.length < CHUNKS_MAX) return
    const bytes = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks, this.#bytes)
    this.#chunks = [bytes]
    const result: ClientHelloResult = readClientHello(bytes, this.#bytesMax)
    if (result.kind === 'partial') {
      this.#bytesMin = result.bytesMin
      return
    }
    if (result.kind === 'malformed') {
      this.#fail('TLS_HANDSHAKE_FAILED', result.reason)
      return
    }
    this.#release()
    this.#socket.unshift(bytes)
    this.#resolve(result.kind === 'hello' ? result.hello : undefined)
  }

  #fail(code: 'TLS_HANDSHAKE_FAILED' | 'TLS_HANDSHAKE_TIMEOUT', reason: string): void {
    this.#release()
    this.#reject(peerError(code, 'downstream', `No ClientHello to route by: ${reason}`))
  }

  #release(): void {
    this.#timer.cancel()
    this.#chunks = []
    this.#socket.off('readable', this.#onReadable)
    this.#socket.off('end', this.#onGone)
    this.#socket.off('close', this.#onGone)
  }
}
