import { once } from 'node:events'
import http2, { type ServerHttp2Stream } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { HttpPeer } from '@cirque/core'
import { expect, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { AnyClient, CERTIFICATE } from './support/http2.ts'
import { startProxy } from './support/proxy.ts'

type ConnectHeaders = http2.IncomingHttpHeaders & { readonly ':protocol'?: string | undefined }

/** An HTTP/2 origin that takes extended CONNECT; answers each with `answer`. Disposal cuts its connections. */
async function startOrigin(
  answer: (stream: ServerHttp2Stream, headers: ConnectHeaders) => void,
  enableConnectProtocol: boolean = true,
  secure: boolean = false,
) {
  const settings = { enableConnectProtocol }
  const server = secure
    ? http2.createSecureServer({ ...CERTIFICATE, settings, allowHTTP1: true })
    : http2.createServer({ settings })
  const sessions = new Set<http2.ServerHttp2Session>()
  server.on('session', (session) => {
    sessions.add(session)
    session.on('error', () => undefined)
  })
  server.on('stream', (given, headers) => {
    const stream = given as ServerHttp2Stream
    stream.on('error', () => undefined)
    answer(stream, headers)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    server,
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close')
      server.close()
      for (const session of sessions) session.destroy()
      if ('closeAllConnections' in server) (server.closeAllConnections as () => void)()
      await closed
    },
  }
}

/** Text frames without a mask come back for text frames with one. */
function echo(stream: ServerHttp2Stream): void {
  stream.on('data', (chunk: Buffer) => {
    if ((chunk[0] ?? 0) === 0x88) {
      stream.end(Buffer.from([0x88, 2, 3, 0xe8]))
      return
    }
    const size = (chunk[1] ?? 0) & 0x7f
    const mask = chunk.subarray(2, 6)
    const payload = Buffer.from(chunk.subarray(6, 6 + size).map((byte, i) => byte ^ (mask[i % 4] ?? 0)))
    stream.write(Buffer.concat([Buffer.from([0x81, size]), payload]))
  })
}

test('RFC 8441: an HTTP/1.1 WebSocket client reaches an HTTP/2 upstream, beside other requests', async () => {
  const asked: ConnectHeaders[] = []
  await using origin = await startOrigin((stream, headers) => {
    if (headers[':method'] !== 'CONNECT') {
      stream.respond({ ':status': 200 })
      stream.end('plain')
      return
    }
    asked.push(headers)
    stream.respond({ ':status': 200, 'sec-websocket-protocol': 'chat' })
    echo(stream)
  })
  await using proxy = await startProxy({
    upstreamPeer: () => new HttpPeer(origin.address, { httpVersion: 2 }),
  })
  const socket = new WebSocket(`ws://127.0.0.1:${proxy.port}/room?x=1`, 'chat')
  await once(socket, 'open')
  expect(socket.protocol).toBe('chat')
  socket.send('one')
  expect(String((await once(socket, 'message'))[0])).toBe('one')
  await using client = new AnyClient(1, proxy.port)
  expect((await client.ask()).body.toString()).toBe('plain')
  socket.send('two')
  expect(String((await once(socket, 'message'))[0])).toBe('two')
  socket.close()
  await once(socket, 'close')
  await proxy.idle()
  expect(asked[0]).toMatchObject({
    ':protocol': 'websocket',
    ':path': '/room?x=1',
    ':scheme': 'http',
    ':authority': `127.0.0.1:${proxy.port}`,
    'sec-websocket-version': '13',
  })
  for (const name of ['connection', 'upgrade', 'sec-websocket-key', 'content-length'])
    expect(asked[0]).not.toHaveProperty(name)
  expect(proxy.proxy.connector.stats().opened).toBe(1)
  expect(proxy.errors()).toEqual([])
})

test('RFC 8441: from HTTP/2 to HTTP/2, with backpressure, and the refusal of an upstream is passed on', async () => {
  await using origin = await startOrigin((stream, headers) => {
    if (headers[':path'] === '/no') {
      stream.respond({ ':status': 403 })
      stream.end('no')
      return
    }
    stream.respond({ ':status': 200 })
    stream.pipe(stream)
  })
  await using proxy = await startProxy(
    { upstreamPeer: () => new HttpPeer(origin.address, { httpVersion: 2 }) },
    { server: { h2c: true } },
  )
  await using client = new AnyClient(2, proxy.port)
  const { session } = client
  if (session === null) throw new Error('No session')
  await once(session, 'remoteSettings')
  const connect = (path: string) =>
    session.request({ ':method': 'CONNECT', ':protocol': 'websocket', ':path': path })
  const stream = connect('/yes')
  expect((await once(stream, 'response'))[0]).toMatchObject({ ':status': 200 })
  let size = 0
  stream.on('data', (chunk: Buffer) => {
    size += chunk.length
  })
  stream.end(Buffer.alloc(2_000_000, 'x'))
  await new Promise((resolve) => stream.once('close', resolve))
  expect([size, stream.rstCode]).toEqual([2_000_000, 0])
  const refused = connect('/no')
  refused.on('error', () => undefined)
  expect((await once(refused, 'response'))[0]).toMatchObject({ ':status': 403 })
  refused.resume()
  refused.end()
  await proxy.idle()
})

test('with httpVersion auto, an upstream without extended CONNECT gets upgrades over HTTP/1.1', async () => {
  await using origin = await startOrigin(
    (stream) => {
      stream.respond({ ':status': 200 })
      stream.end('over 2')
    },
    false,
    true,
  )
  const server = new WebSocketServer({ noServer: true })
  origin.server.on(
    'upgrade' as never,
    ((request: never, socket: never, head: Buffer) =>
      server.handleUpgrade(request, socket, head, (accepted) => {
        accepted.on('message', (message) => accepted.send(String(message)))
      })) as never,
  )
  const options = { httpVersion: 'auto', tls: true, sni: 'localhost', ca: CERTIFICATE.cert } as const
  await using proxy = await startProxy({ upstreamPeer: () => new HttpPeer(origin.address, options) })
  for (const text of ['first', 'second']) {
    const socket = new WebSocket(`ws://127.0.0.1:${proxy.port}/`)
    await once(socket, 'open')
    socket.send(text)
    expect(String((await once(socket, 'message'))[0])).toBe(text)
    socket.close()
    await once(socket, 'close')
  }
  await using client = new AnyClient(1, proxy.port)
  expect((await client.ask()).body.toString()).toBe('over 2')
  server.close()
})

test('an upstream that answers 413 and resets in mid-upload is heard', async () => {
  await using origin = await startOrigin((stream) => {
    stream.once('data', () => {
      stream.respond({ ':status': 413 })
      stream.end('too large', () => stream.close(http2.constants.NGHTTP2_NO_ERROR))
    })
  })
  await using proxy = await startProxy(
    { upstreamPeer: () => new HttpPeer(origin.address, { httpVersion: 2 }) },
    { server: { h2c: true } },
  )
  await using client = new AnyClient(2, proxy.port)
  for (let i = 0; i < 5; i++) {
    const stream = client.session?.request({ ':method': 'POST' })
    if (stream === undefined) throw new Error('No stream')
    stream.on('error', () => undefined)
    stream.write(Buffer.alloc(200_000))
    const [headers] = (await once(stream, 'response')) as [Record<string, unknown>]
    let body = ''
    stream.on('data', (chunk: Buffer) => {
      body += String(chunk)
    })
    await new Promise((resolve) => stream.once('close', resolve))
    expect([headers[':status'], body]).toEqual([413, 'too large'])
  }
  expect(proxy.errors()).toEqual([])
})
