import type { Socket } from 'node:net'
import { CoarseTimer, type TimerOwner } from '@cirque/timeout'
import type { ProxyProtocolPlan } from './listener-option.ts'
import type { ProxyHeader } from './proxy-header.ts'
import { readProxyHeader } from './read-header.ts'

/** Who waits for the header of an accepted connection. One of the two is called, unless the socket closes first. */
export interface HeaderReceiver {
  /** What followed the header is readable again; `undefined` if there was none and none is required. */
  onProxyHeader(socket: Socket, header: ProxyHeader | undefined): void
  /** The connection broke the rules or took too long, and is still open. */
  onProxyHeaderFailed(socket: Socket, reason: string): void
}

/** Reads the header off a raw socket, and puts back what came after it. */
export class HeaderReceiving implements TimerOwner {
  readonly #socket: Socket
  readonly #plan: ProxyProtocolPlan
  readonly #receiver: HeaderReceiver
  readonly #timer: CoarseTimer = new CoarseTimer(this)
  readonly #onReadable: () => void
  readonly #onEnd: () => void
  #received: Buffer | undefined

  constructor(socket: Socket, plan: ProxyProtocolPlan, receiver: HeaderReceiver) {
    this.#socket = socket
    this.#plan = plan
    this.#receiver = receiver
    this.#onReadable = () => this.#read()
    this.#onEnd = () => this.#fail('the connection ended within the header')
    // Not 'data': it would leave the socket flowing or paused, where the next owner expects neither.
    socket.on('readable', this.#onReadable)
    socket.on('end', this.#onEnd)
    socket.once('close', () => this.#timer.cancel())
    this.#timer.arm(plan.timeoutMs)
  }

  onTimer(): void {
    this.#fail(`no header within ${this.#plan.timeoutMs} ms`)
  }

  #read(): void {
    const chunk = this.#socket.read() as Buffer | null
    if (chunk === null) return
    const bytes = this.#received === undefined ? chunk : Buffer.concat([this.#received, chunk])
    this.#received = bytes
    const result = readProxyHeader(bytes, this.#plan)
    if (result.kind === 'header') this.#finish(result.header, bytes.subarray(result.bytes))
    else if (result.kind === 'malformed') this.#fail(result.reason)
    else if (result.kind === 'absent') {
      if (this.#plan.required) this.#fail('the connection begins with no header')
      else this.#finish(undefined, bytes)
    }
  }

  #finish(header: ProxyHeader | undefined, rest: Buffer): void {
    this.#release()
    if (rest.length > 0) this.#socket.unshift(rest)
    this.#receiver.onProxyHeader(this.#socket, header)
  }

  #fail(reason: string): void {
    this.#release()
    if (!this.#socket.destroyed) this.#receiver.onProxyHeaderFailed(this.#socket, reason)
  }

  #release(): void {
    this.#timer.cancel()
    this.#received = undefined
    this.#socket.off('readable', this.#onReadable)
    this.#socket.off('end', this.#onEnd)
  }
}
