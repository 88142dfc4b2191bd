import type { Duplex } from 'node:stream'
import type { Http2Connection } from '@cirque/http2'

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
  private yielding = false

  constructor(owner: FrameInputOwner, socket: Duplex, engine: Http2Connection) {
    this.owner = owner
    this.socket = socket
    this.engine = engine
  }

  /** True while frames that were read wait for their turn. */
  get waiting(): boolean {
    return this.engine.inputWaiting
  }

  /** Takes a read, whose memory is free again when this returns. False to read no more for now. */
  receive(buffer: Buffer, count: number): boolean {
    if (this.engine.receive(buffer, 0, count)) return true
    if (!this.yielding) {
      this.yielding = true
      this.socket.pause()
      setImmediate(readOn, this)
    }
    return false
  }

  readOn(): void {
    const all = this.engine.resumeInput()
    this.owner.onInputTurn()
    if (all) {
      this.yielding = false
      this.socket.resume()
    } else setImmediate(readOn, this)
  }
}

function readOn(input: FrameInput): void {
  input.readOn()
}
