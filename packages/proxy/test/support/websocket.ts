import { createHash } from 'node:crypto'
import { once } from 'node:events'
import http2, { type ClientHttp2Session, type ClientHttp2Stream, type ServerHttp2Stream } from 'node:http2'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { get, RawClient } from './client.ts'
import { until } from './waiting.ts'

/** One WebSocket handshake that an origin got, in either version. */
export interface Opening {
  readonly path: string
  /** Bytes that came after the head so far. */
  readonly received: () => string
  /** Opens the tunnel. */
  accept(): Duplex
  refuse(status: number, body: string): void
}

/** An origin of one version that leaves each WebSocket handshake to `onOpening`. Disposal cuts its connections. */
export async function startWebSocketOrigin(
  version: 1 | 2,
  onOpening: (opening: Opening) => void,
): Promise<{ readonly address: string } & AsyncDisposable> {
  const streams = new Set<Duplex>()
  const server =
    version === 1
      ? createServer({ allowHalfOpen: true })
      : http2.createServer({ settings: { enableConnectProtocol: true } })
  server.on('connection', (socket: Socket) => {
    streams.add(socket)
    socket.on('error', () => undefined)
    socket.on('close', () => streams.delete(socket))
    if (version === 1) openingOfSocket(socket, onOpening)
  })
  server.on('session', (session: http2.ServerHttp2Session) => session.on('error', () => undefined))
  server.on('stream', (stream: ServerHttp2Stream, headers: http2.IncomingHttpHeaders) =>
    openingOfStream(stream, headers, onOpening),
  )
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close')
      server.close()
      for (const stream of streams) stream.destroy()
      await closed
    },
  }
}

function openingOfSocket(socket: Socket, onOpening: (opening: Opening) => void): void {
  let head = ''
  let received = ''
  const onData = (data: Buffer) => {
    if (head.endsWith('\r\n\r\n')) {
      received += data.toString('latin1')
      return
    }
    const all = head + data.toString('latin1')
    const end = all.indexOf('\r\n\r\n') + 4
    head = all.slice(0, end < 4 ? all.length : end)
    received = end < 4 ? '' : all.slice(end)
    if (end < 4) return
    const key = /sec-websocket-key: *(\S+)/i.exec(head)?.[1] ?? ''
    const accepted = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
    onOpening({
      path: head.split(' ')[1] ?? '',
      received: () => received,
      accept() {
        socket.off('data', onData)
        socket.write(
          `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: ${accepted}\r\n\r\n`,
        )
        if (received !== '') socket.unshift(Buffer.from(received, 'latin1'))
        return socket
      },
      refuse: (status, body) =>
        void socket.write(`HTTP/1.1 ${status} No\r\nContent-Length: ${body.length}\r\n\r\n${body}`),
    })
  }
  socket.on('data', onData)
}

function openingOfStream(
  stream: ServerHttp2Stream,
  headers: http2.IncomingHttpHeaders,
  onOpening: (opening: Opening) => void,
): void {
  stream.on('error', () => undefined)
  let received = ''
  const onData = (data: Buffer) => {
    received += data.toString('latin1')
  }
  stream.on('data', onData)
  onOpening({
    path: headers[':path'] ?? '',
    received: () => received,
    accept() {
      stream.off('data', onData)
      stream.respond({ ':status': 200 })
      if (received !== '') stream.unshift(Buffer.from(received, 'latin1'))
      return stream
    },
    refuse(status, body) {
      stream.respond({ ':status': status })
      stream.end(body)
    },
  })
}

/** A client's WebSocket, of either version: its handshake and then raw bytes. */
export interface Tunnel {
  /** Waits for the answer: 101 in HTTP/1.1 and 200 in HTTP/2 are told as `'open'`. */
  answer(): Promise<'open' | number>
  write(text: string): void
  /** What came after the answer, its body or the tunnel's bytes. */
  received(): string
  /** Waits for these bytes. */
  take(text: string): Promise<void>
  /** The other side has ended, or cut. */
  readonly over: boolean
  end(): void
  reset(): void
}

/** Clients of one version; HTTP/2 has one connection for all its tunnels. */
export class TunnelClient implements AsyncDisposable {
  readonly #port: number
  readonly #session: ClientHttp2Session | null
  readonly #raw: RawClient[] = []

  constructor(version: 1 | 2, port: number) {
    this.#port = port
    this.#session = version === 1 ? null : http2.connect(`http://127.0.0.1:${port}`)
    this.#session?.on('error', () => undefined)
  }

  /** Sends a handshake. `early`: bytes right behind it, before any answer. */
  async open(path: string = '/', early: string = ''): Promise<Tunnel> {
    return this.#session === null ? this.#openRaw(path, early) : this.#openStream(this.#session, path, early)
  }

  #openRaw(path: string, early: string): Tunnel {
    const client = new RawClient(this.#port)
    this.#raw.push(client)
    const fields = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13']
    client.write(get(path, ...fields, 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==') + early)
    return {
      async answer() {
        for (;;) {
          const status = Number((await client.take('\r\n\r\n')).slice(9, 12))
          if (status === 101) return 'open'
          if (status >= 200) return status
        }
      },
      write: (text) => void client.write(text),
      received: () => client.received,
      async take(text) {
        await client.take(text)
      },
      get over() {
        return client.ended || client.closed
      },
      end: () => void client.socket.end(),
      reset: () => void client.socket.resetAndDestroy(),
    }
  }

  async #openStream(session: ClientHttp2Session, path: string, early: string): Promise<Tunnel> {
    if (session.remoteSettings?.enableConnectProtocol !== true) await once(session, 'remoteSettings')
    const stream: ClientHttp2Stream = session.request({
      ':method': 'CONNECT',
      ':protocol': 'websocket',
      ':path': path,
      'sec-websocket-version': '13',
    })
    stream.on('error', () => undefined)
    let status: number | undefined
    let received = ''
    stream.on('response', (headers) => {
      status = headers[':status']
    })
    stream.on('data', (data: Buffer) => {
      received += data.toString('latin1')
    })
    if (early !== '') stream.write(early)
    return {
      async answer() {
        await until(() => status !== undefined || stream.closed, 'no answer')
        return status === 200 ? 'open' : (status ?? 0)
      },
      write: (text) => void stream.write(text),
      received: () => received,
      async take(text) {
        await until(() => received.includes(text), `no ${text} in ${received}`)
        received = received.slice(received.indexOf(text) + text.length)
      },
      get over() {
        return stream.closed || stream.readableEnded
      },
      end: () => void stream.end(),
      reset: () => void stream.close(http2.constants.NGHTTP2_CANCEL),
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#raw) await client[Symbol.asyncDispose]()
    const session = this.#session
    if (session === null || session.destroyed) return
    const closed = new Promise((resolve) => session.once('close', resolve))
    session.destroy()
    await closed
  }
}
