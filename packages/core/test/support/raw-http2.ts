import { once } from 'node:events'
import net, { type Socket } from 'node:net'

export const DATA = 0x0
export const HEADERS = 0x1
export const RST_STREAM = 0x3
export const SETTINGS = 0x4
export const PING = 0x6
export const GOAWAY = 0x7
export const WINDOW_UPDATE = 0x8
export const CONTINUATION = 0x9
export const END_STREAM = 0x1
export const END_HEADERS = 0x4
export const ACK = 0x1

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'

export interface Frame {
  readonly type: number
  readonly flags: number
  readonly stream: number
  readonly payload: Buffer
}

/** One HTTP/2 frame, whatever it says (RFC 9113 §4.1). */
export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Buffer = Buffer.alloc(0),
): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

/** A field block of literals without indexing and without Huffman coding (RFC 7541 §6.2.2). */
export function block(fields: readonly string[]): Buffer {
  const parts: Buffer[] = []
  for (let i = 0; i < fields.length; i += 2) {
    parts.push(Buffer.from([0]), literal(fields[i] as string), literal(fields[i + 1] as string))
  }
  return Buffer.concat(parts)
}

function literal(text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1')
  const length: number[] = []
  if (bytes.length < 127) length.push(bytes.length)
  else {
    length.push(127)
    let rest = bytes.length - 127
    for (; rest >= 128; rest >>>= 7) length.push((rest & 127) | 128)
    length.push(rest)
  }
  return Buffer.concat([Buffer.from(length), bytes])
}

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
    let bytes = Buffer.concat([this.#rest, chunk])
    while (bytes.length >= 9) {
      const length = bytes.readUIntBE(0, 3)
      if (bytes.length < 9 + length) break
      const payload = bytes.subarray(9, 9 + length)
      this.frames.push({ type: bytes[3] ?? 0, flags: bytes[4] ?? 0, stream: bytes.readUInt32BE(5), payload })
      bytes = bytes.subarray(9 + length)
    }
    this.#rest = bytes
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
export async function connectRawHttp2(port: number, settings: Buffer = Buffer.alloc(0)): Promise<RawHttp2> {
  const client = new RawHttp2(port)
  await once(client.socket, 'connect')
  client.send(Buffer.from(PREFACE, 'latin1'), frame(SETTINGS, 0, 0, settings))
  await client.see(SETTINGS, ({ flags }) => flags === 0)
  return client.send(frame(SETTINGS, ACK, 0))
}
