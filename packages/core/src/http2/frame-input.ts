import type { Duplex } from 'node:stream'
import type { Http2Connection } from '@cirque/http2'
import { REQUESTS_ASIDE_MAX, takeRequest, waitForTurn } from './request-turns.ts'

/** What frames are read for. */
export interface FrameInputOwner {
  /** Frames that had to wait for another turn of the event loop were used. */
  onInputTurn(): void
}

/**
 * Hands an HTTP/2 connection what its transport reads. One that brings thousands of frames at once is read on in the
 * next turn of the event loop: a frame of one byte costs as much as one of many, and others wait meanwhile.
 */
export class FrameInput {
  private readonly owner: FrameInputOwner
  private readonly socket: Duplex
  private readonly engine: Http2Connection
  /** It brings requests: those of all connections share a turn. */
  private readonly bringsRequests: boolean
  /** Requests that it may still begin though the thread has begun its share. */
  private aside = 0
  private yielding = false

  constructor(owner: FrameInputOwner, socket: Duplex, engine: Http2Connection) {
    this.owner = owner
    this.socket = socket
    this.engine = engine
    this.bringsRequests = engine.isServer
  }

  /** True while frames that were read wait for their turn. */
  get waiting(): boolean {
    return this.engine.inputWaiting
  }

  /** Takes a read, whose memory is free again when this returns. False to read no more for now. */
  receive(buffer: Buffer, count: number): boolean {
    this.aside = REQUESTS_ASIDE_MAX
    if (this.engine.receive(buffer, 0, count)) return true
    if (!this.yielding) {
      this.yielding = true
      this.socket.pause()
      if (this.bringsRequests) waitForTurn(this)
      else setImmediate(readOn, this)
    }
    return false
  }

  /** Within `receive` or `readOn`: one of the frames has begun a request. */
  onRequest(): void {
    if (!takeRequest() && --this.aside <= 0) this.engine.yieldInput()
  }

  /** True while there is more. */
  readOn(): boolean {
    this.aside = 0
    const all = this.engine.resumeInput()
    this.owner.onInputTurn()
    if (!all) return true
    this.yielding = false
    this.socket.resume()
    return false
  }
}

function readOn(input: FrameInput): void {
  if (input.readOn()) setImmediate(readOn, input)
}
