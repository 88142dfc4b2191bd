import { once } from 'node:events'
import http2, { type ClientHttp2Stream } from 'node:http2'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { HttpPeer } from '@cirque/core'
import { expect, test } from 'vitest'
import { WebSocketServer } from 'ws'
import { AnyClient } from './support/http2.ts'
import { type RunningProxy, startProxy } from './support/proxy.ts'
import { gate, until } from './support/waiting.ts'

/** A text frame as clients send it, with a mask of zeros (RFC 6455 §5.2). */
const text = (payload: string): Buffer =>
  Buffer.concat([Buffer.from([0x81, 0x80 | payload.length, 0, 0, 0, 0]), Buffer.from(payload)])
const CLOSE = Buffer.from([0x88, 0x80, 0, 0, 0, 0])

async function startTunnels(port: number, logged: (string | undefined)[] = []) {
  const stack = new AsyncDisposableStack()
  const proxy: RunningProxy<undefined> = stack.use(
    await startProxy(
      {
        upstreamPeer: () => new HttpPeer(`127.0.0.1:${port}`),
        logging: (_session, error) => {
          logged.push(error?.code)
        },
      },
      { server: { h2c: true } },
    ),
  )
  const client = stack.use(new AnyClient(2, proxy.port))
  const { session } = client
  if (session === null) throw new Error('No session')
  await once(session, 'remoteSettings')
  expect(session.remoteSettings.enableConnectProtocol).toBe(true)
  const connect = (headers: http2.OutgoingHttpHeaders = {}): ClientHttp2Stream => {
    const stream = session.request({
      ':method': 'CONNECT',
      ':protocol': 'websocket',
      ':path': '/chat',
      'sec-websocket-version': '13',
      ...headers,
    })
    stream.on('error', () => undefined)
    return stream
  }
  return { proxy, client, connect, [Symbol.asyncDispose]: () => stack.disposeAsync() }
}

async function statusOf(stream: ClientHttp2Stream): Promise<number | undefined> {
  const [headers] = (await once(stream, 'response')) as [
    http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader,
  ]
  for (const name of ['connection', 'upgrade', 'sec-websocket-accept'])
    expect(headers).not.toHaveProperty(name)
  return headers[':status']
}

/** An upstream that answers each head with `answer`. */
async function startRaw(answer: string): Promise<{ port: number; sockets: Socket[] } & AsyncDisposable> {
  const sockets: Socket[] = []
  const server = createServer((socket) => {
    sockets.push(socket)
    socket.on('error', () => undefined)
    socket.once('data', () => socket.write(answer))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    sockets,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

test('RFC 8441: a WebSocket over HTTP/2 reaches a server of HTTP/1.1, beside other requests', async () => {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  await once(server, 'listening')
  const closed = gate<number>()
  server.on('connection', (socket, request) => {
    expect([request.method, request.url, request.headers['sec-websocket-version']]).toEqual([
      'GET',
      '/chat',
      '13',
    ])
    socket.on('message', (message) => socket.send(String(message)))
    socket.on('close', (code) => closed.open(code))
  })
  const logged: (string | undefined)[] = []
  {
    await using tunnels = await startTunnels((server.address() as AddressInfo).port, logged)
    const stream = tunnels.connect()
    expect(await statusOf(stream)).toBe(200)
    let received = Buffer.alloc(0)
    stream.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk])
    })
    stream.write(text('one'))
    await until(() => received.length === 5, 'no echo')
    stream.write(text('two'))
    await until(() => received.length === 10, 'no second echo')
    expect(received.toString('latin1')).toBe('\x81\x03one\x81\x03two')
    expect((await tunnels.client.ask({ path: '/' })).status).toBe(426) // ws says so to what is no upgrade
    stream.end(CLOSE)
    expect(await closed.promise).toBe(1005)
    await new Promise((resolve) => stream.once('close', resolve))
    await tunnels.proxy.idle()
    expect(tunnels.proxy.errors()).toEqual([])
  }
  expect(logged).toEqual([undefined, undefined])
  server.close()
})

test('bytes flow both ways with backpressure, and each side may end first', async () => {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined)
    socket.once('data', async (head: Buffer) => {
      const { createHash } = await import('node:crypto')
      const key = /sec-websocket-key: (.*)\r\n/i.exec(head.toString())?.[1] ?? ''
      const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
      )
      socket.pipe(socket)
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  {
    await using tunnels = await startTunnels((server.address() as AddressInfo).port)
    const stream = tunnels.connect()
    expect(await statusOf(stream)).toBe(200)
    let size = 0
    stream.on('data', (chunk: Buffer) => {
      size += chunk.length
    })
    stream.end(Buffer.alloc(3_000_000, 'x'))
    await new Promise((resolve) => stream.once('close', resolve))
    expect([size, stream.rstCode]).toEqual([3_000_000, 0])
    const left = tunnels.connect()
    expect(await statusOf(left)).toBe(200)
    left.close(http2.constants.NGHTTP2_CANCEL)
    await tunnels.proxy.idle()
    expect(tunnels.proxy.errors()).toEqual([])
  }
  server.close()
  await once(server, 'close')
})

test.each([
  ['HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno', 403],
  ['HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok', 501],
])('an upstream that does not switch opens no tunnel: %j', async (answer, expected) => {
  await using upstream = await startRaw(answer)
  await using tunnels = await startTunnels(upstream.port)
  const stream = tunnels.connect()
  expect(await statusOf(stream)).toBe(expected)
  stream.resume()
  stream.end()
  await new Promise((resolve) => stream.once('close', resolve))
  await tunnels.proxy.idle()
})

test('a 101 that does not accept the key opens no tunnel', async () => {
  await using upstream = await startRaw(
    'HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: wrong\r\n\r\nsurplus',
  )
  await using tunnels = await startTunnels(upstream.port)
  const stream = tunnels.connect()
  let answered = false
  stream.on('response', () => {
    answered = true
  })
  stream.resume()
  await new Promise((resolve) => stream.once('close', resolve))
  expect([answered, stream.rstCode]).toEqual([false, http2.constants.NGHTTP2_INTERNAL_ERROR])
  await tunnels.proxy.idle()
  await until(
    () => upstream.sockets.every((socket) => socket.destroyed || socket.readableEnded),
    'it stays open',
  )
})

test('another :protocol is refused with 501', async () => {
  await using upstream = await startRaw('')
  await using tunnels = await startTunnels(upstream.port)
  const stream = tunnels.connect({ ':protocol': 'connect-udp' })
  expect(await statusOf(stream)).toBe(501)
  stream.resume()
  stream.end()
  expect(upstream.sockets).toEqual([])
})
