import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { AddressInfo, Socket } from 'node:net'
import tls from 'node:tls'
import { ResponseHeader } from '@cirque/http'
import { expect, test } from 'vitest'
import {
  HttpServerApp,
  type HttpServerOptions,
  type ServeHttp,
  type ServerSession,
  serveHttp,
  WRITE_DONE,
} from '../src/index.ts'
import { turn } from './support/raw-client.ts'

const data = (name: string): Buffer => readFileSync(new URL(`./data/${name}`, import.meta.url))
const CERT = data('localhost.pem')

interface TlsServer extends AsyncDisposable {
  readonly app: HttpServerApp
  readonly sockets: Set<Socket>
  connect(): Promise<tls.TLSSocket>
}

async function startTls(serve: ServeHttp | HttpServerApp, options?: HttpServerOptions): Promise<TlsServer> {
  const app = serve instanceof HttpServerApp ? serve : serveHttp(serve, options)
  const sockets = new Set<Socket>()
  const server = tls.createServer(
    { cert: CERT, key: data('localhost-key.pem'), allowHalfOpen: true },
    (socket) => {
      sockets.add(socket)
      socket.once('close', () => sockets.delete(socket))
      app.onConnection(socket)
    },
  )
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    app,
    sockets,
    async connect() {
      const client = tls.connect({ port, host: '127.0.0.1', servername: 'localhost', ca: CERT })
      client.on('error', () => undefined)
      await once(client, 'secureConnect')
      return client
    },
    async [Symbol.asyncDispose]() {
      server.close()
      while (sockets.size > 0) await turn()
      await turn()
      expect(app.stats().connections).toBe(0)
    },
  }
}

async function readAll(client: tls.TLSSocket): Promise<string> {
  let text = ''
  client.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
  await new Promise((resolve) => client.once('close', resolve))
  return text
}

test('over TLS: requests, bodies both ways, keep-alive, and a digest that tells of it', async () => {
  await using server = await startTls(async (session) => {
    const body = await session.readRequestBody()
    session.respond(200, { body: `${session.digest().tls?.version} ${body.length}` })
  })
  const client = await server.connect()
  const reading = readAll(client)
  for (const size of [0, 10, 100_000, 1_000_000]) {
    client.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\n`)
    client.write(Buffer.alloc(size))
  }
  client.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  const reply = await reading
  expect(reply.match(/TLSv1\.3 \d+/g)).toEqual(
    [0, 10, 100_000, 1_000_000, 0].map((size) => `TLSv1.3 ${size}`),
  )
})

test('over TLS: a stalled client stops the producer, and is cut', async () => {
  let written = 0
  let abort: string | undefined
  await using server = await startTls(
    async (session) => {
      session.signal.addEventListener('abort', () => (abort = session.abortError?.code))
      await session.writeResponseHeader(ResponseHeader.build(200))
      for (;;) {
        await session.writeResponseBody(Buffer.alloc(20_000))
        written += 20_000
      }
    },
    { writeTimeoutMs: 100 },
  )
  const client = await server.connect()
  client.pause()
  client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  while (written === 0) await turn()
  for (const socket of server.sockets) await new Promise((resolve) => socket.once('close', resolve))
  expect(abort).toBe('WRITE_TIMEOUT')
  expect(written).toBeLessThan(64 * 1_048_576)
  client.destroy()
})

test('over TLS: a slow client is not cut while it takes something of one long write', async () => {
  const body = Buffer.alloc(24 * 1_048_576, 'x')
  await using server = await startTls((session) => session.respond(200, { body }), { writeTimeoutMs: 300 })
  const client = await server.connect()
  let received = 0
  client.on('data', (chunk: Buffer) => {
    received += chunk.length
    client.pause()
  })
  const sip = setInterval(() => client.resume(), 1)
  client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  await new Promise((resolve) => setTimeout(resolve, 900))
  expect(server.sockets.size).toBe(1)
  clearInterval(sip)
  client.on('data', () => client.resume())
  client.resume()
  while (received < body.length) await turn()
  client.destroy()
})

test('over TLS: a client that vanishes aborts its exchange', async () => {
  let abort: string | undefined
  await using server = await startTls(async (session) => {
    await new Promise((resolve) => session.signal.addEventListener('abort', resolve))
    abort = session.abortError?.code
  })
  const client = await server.connect()
  client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  while (server.app.stats().requests === 0) await turn()
  client.destroy()
  while (abort === undefined) await turn()
  expect(abort).toBe('CONNECTION_CLOSED')
})

test('over TLS: a stalled client stops the producer until it reads on', async () => {
  for (const size of [1_000, 60_000, 300_000]) {
    let written = 0
    let cut = false
    await using server = await startTls(async (session) => {
      await session.writeResponseHeader(ResponseHeader.build(200))
      try {
        const chunk = Buffer.alloc(size, 'x')
        for (;;) {
          await session.writeResponseBody(chunk)
          written += size
        }
      } catch {
        cut = true
      }
    })
    const client = await server.connect()
    client.pause()
    client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    for (let before = -1; written !== before || written === 0; ) {
      before = written
      for (let i = 0; i < 20; i++) await turn()
    }
    const [socket] = server.sockets
    expect(socket?.writableLength).toBeLessThan(700_000)
    const stalled = written
    client.resume()
    while (written === stalled) await turn()
    client.destroy()
    while (!cut) await turn()
  }
})

test('over TLS: what a tunnel brings together with its end comes before it, whole and in order', async () => {
  const sent = Buffer.from(Array.from({ length: 300_000 }, (_, index) => index % 251))
  const received: Buffer[] = []
  let end: () => void = () => undefined
  const ended = new Promise<void>((resolve) => {
    end = resolve
  })
  const onSession = (session: ServerSession): void => {
    session.handler = {
      onRequestData(buffer, from, to) {
        received.push(Buffer.from(buffer.subarray(from, to)))
        return WRITE_DONE
      },
      onRequestEnd: () => end(),
      onDownstreamDrain: () => undefined,
      onDownstreamAbort: () => undefined,
    }
    session.writeHead(ResponseHeader.build(101, { Upgrade: 'echo', Connection: 'Upgrade' }), 0)
    session.flush()
    session.resumeRequestBody()
  }
  await using server = await startTls(new HttpServerApp({ onSession }))
  const client = await server.connect()
  const reading = readAll(client)
  client.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n')
  client.end(sent)
  await ended
  expect(Buffer.concat(received).equals(sent)).toBe(true)
  for (const socket of server.sockets) socket.destroy()
  await reading
})
