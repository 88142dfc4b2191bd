import { once } from 'node:events'
import { createServer, type Http2Server, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2'
import { type AddressInfo, connect, type Socket } from 'node:net'
import {
  CONTINUATION,
  END_HEADERS,
  type Frame,
  frame,
  HEADERS,
  PREFACE,
  SETTINGS,
  settings,
  splitFrames,
} from '../../../scripts/test-support/http2-frames.ts'

export const HEADER_TABLE_SIZE = 1

/** One end of HTTP/2 in frames, over a socket: the other end is nghttp2, in `node:http2`. */
export class RawClient {
  readonly #socket: Socket
  readonly #frames: Frame[] = []
  #received: Buffer = Buffer.alloc(0)
  #ended = false
  #wake: (() => void) | null = null

  constructor(port: number) {
    this.#socket = connect(port, '127.0.0.1')
    this.#socket.on('data', (chunk: Buffer) => this.#take(chunk))
    const end = (): void => {
      this.#ended = true
      this.#wake?.()
    }
    this.#socket.on('error', end)
    this.#socket.on('close', end)
    this.#socket.write(PREFACE)
  }

  send(...given: Parameters<typeof frame>): void {
    this.#socket.write(frame(...given))
  }

  /** A field block as HEADERS and, where it is longer than a frame may be, CONTINUATIONs. */
  sendBlock(streamId: number, block: Buffer, flags: number): void {
    const SIZE = 16_384
    const first = block.length <= SIZE ? END_HEADERS : 0
    this.send(HEADERS, flags | first, streamId, block.subarray(0, SIZE))
    for (let at = SIZE; at < block.length; at += SIZE) {
      const last = at + SIZE >= block.length ? END_HEADERS : 0
      this.send(CONTINUATION, last, streamId, block.subarray(at, at + SIZE))
    }
  }

  sendTableSize(bytes: number): void {
    this.send(SETTINGS, 0, 0, settings([HEADER_TABLE_SIZE, bytes]))
  }

  /** The next frame, or null at the end of the connection. */
  async frame(): Promise<Frame | null> {
    while (this.#frames.length === 0) {
      if (this.#ended) return null
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    return this.#frames.shift() as Frame
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.destroy()
    if (!this.#socket.closed) await once(this.#socket, 'close')
  }

  #take(chunk: Buffer): void {
    const { frames, rest } = splitFrames(Buffer.concat([this.#received, chunk]))
    this.#frames.push(...frames)
    this.#received = rest
    this.#wake?.()
  }
}

export interface RawServer extends AsyncDisposable {
  readonly port: number
  readonly server: Http2Server
}

/** A server of `node:http2` that takes whatever nghttp2 takes. */
export async function startServer(
  options: Parameters<typeof createServer>[0],
  onStream: (stream: ServerHttp2Stream, rawHeaders: string[], session: ServerHttp2Session) => void,
): Promise<RawServer> {
  const server = createServer({ ...options })
  const sessions = new Set<ServerHttp2Session>()
  server.on('session', (session) => {
    sessions.add(session)
    session.on('error', () => {})
    session.on('close', () => sessions.delete(session))
  })
  server.on('sessionError', () => {})
  server.on('stream', (stream, _headers, _flags, rawHeaders) => {
    stream.on('error', () => {})
    onStream(
      stream as ServerHttp2Stream,
      rawHeaders as unknown as string[],
      stream.session as ServerHttp2Session,
    )
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    server,
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const session of sessions) session.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
