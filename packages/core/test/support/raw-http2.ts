import { once } from 'node:events'
import net, { type Socket } from 'node:net'
import {
  ACK,
  block,
  type Frame,
  frame,
  GOAWAY,
  NOTHING,
  PREFACE,
  SETTINGS,
  splitFrames,
} from '../../../../scripts/test-support/http2-frames.ts'

/** The usual pseudo-fields, and more. */
export function request(target: string, more: readonly string[] = [], method: string = 'GET'): Buffer {
  return block([':method', method, ':scheme', 'http', ':path', target, ':authority', 'a', ...more])
}

/** An HTTP/2 client that sends the frames it is told to, right or wrong. Destroyed at the end of its scope. */
export class RawHttp2 implements AsyncDisposable {
  readonly socket: Socket
  readonly frames: Frame[] = []
  closed = false
  #rest: Buffer = Buffer.alloc(0)
  #wake: (() => void) | null = null

  constructor(port: number) {
    this.socket = net.connect({ port, host: '127.0.0.1', noDelay: true })
    this.socket.on('error', () => undefined)
    this.socket.on('data', (chunk: Buffer) => this.#read(chunk))
    this.socket.on('close', () => {
      this.closed = true
      this.#wake?.()
    })
  }

  send(...frames: Buffer[]): this {
    this.socket.write(Buffer.concat(frames))
    return this
  }

  #read(chunk: Buffer): void {
    const { frames, rest } = splitFrames(Buffer.concat([this.#rest, chunk]))
    this.frames.push(...frames)
    this.#rest = rest
    this.#wake?.()
  }

  /** Waits for a frame that `matches`; fails when the connection ends without it. */
  async see(type: number, matches: (frame: Frame) => boolean = () => true): Promise<Frame> {
    for (;;) {
      const found = this.frames.find((candidate) => candidate.type === type && matches(candidate))
      if (found !== undefined) return found
      if (this.closed) throw new Error(`Closed before frame ${type}: ${this.story()}`)
      await this.#change()
    }
  }

  async end(): Promise<void> {
    while (!this.closed) await this.#change()
  }

  /** The error code of the last GOAWAY, or -1. */
  get goawayCode(): number {
    const last = this.frames.findLast((candidate) => candidate.type === GOAWAY)
    return last === undefined ? -1 : last.payload.readUInt32BE(4)
  }

  story(): string {
    return this.frames.map(({ type, flags, stream }) => `${type}/${flags}@${stream}`).join(' ')
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = () => {
        this.#wake = null
        resolve()
      }
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.destroy()
    await this.end()
  }
}

/** Connects, sends the preface and empty settings, and acknowledges those of the server. */
export async function connectRawHttp2(port: number, settings: Buffer = NOTHING): Promise<RawHttp2> {
  const client = new RawHttp2(port)
  await once(client.socket, 'connect')
  client.send(PREFACE, frame(SETTINGS, 0, 0, settings))
  await client.see(SETTINGS, ({ flags }) => flags === 0)
  return client.send(frame(SETTINGS, ACK, 0))
}
