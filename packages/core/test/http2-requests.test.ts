import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import http2 from 'node:http2'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import tls from 'node:tls'
import { ResponseHeader } from '@cirque/http'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  ACK,
  block,
  CONTINUATION,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  GOAWAY,
  HEADERS,
  PING,
  RST_STREAM,
  SETTINGS,
  WINDOW_UPDATE,
} from '../../../scripts/test-support/http2-frames.ts'
import { isRefusal, passedTrailers, readRequestHead } from '../src/http2/request-head.ts'
import { type HttpServerOptions, type HttpSession, type ServeHttp, serveHttp } from '../src/index.ts'
import { startApp, type TestServer } from './support/http-server.ts'
import { ask, collect, Http2Client } from './support/http2.ts'
import { connectRaw } from './support/raw-client.ts'
import { connectRawHttp2, request } from './support/raw-http2.ts'

const { NGHTTP2_CANCEL, NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_INTERNAL_ERROR, NGHTTP2_REFUSED_STREAM } =
  http2.constants

const hello = (session: HttpSession): void => session.respond(200, { body: session.request.target })
const echo = async (session: HttpSession): Promise<void> => {
  const body = await session.readRequestBody()
  session.respond(200, { body })
}

function start(serve: ServeHttp = hello, options: HttpServerOptions = {}): Promise<TestServer> {
  return startApp(serveHttp(serve, { h2c: true, ...options }))
}

test('HTTP/2 with prior knowledge and HTTP/1 are served on one cleartext port', async () => {
  await using server = await start(echo)
  await using client = new Http2Client(server.port)
  const answer = await ask(client, { ':path': '/', ':method': 'POST' }, 'over 2')
  expect(answer).toMatchObject({ status: 200, body: 'over 2', code: 0 })
  expect(answer.headers['date']).toMatch(/GMT$/)
  expect(answer.headers['content-length']).toBe('6')
  await using old = await connectRaw(server.port)
  old.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nover 1')
  expect(await old.see('over 1')).toMatch(/^HTTP\/1\.1 200/)
})

test('the preface is told from HTTP/1 wherever a packet ends', async () => {
  await using server = await start()
  const bytes = Buffer.concat([
    Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
    frame(SETTINGS, 0, 0),
    frame(HEADERS, END_STREAM | END_HEADERS, 1, request('/split')),
  ])
  for (let cut = 1; cut < 40; cut++) {
    await using client = await connectRaw(server.port)
    client.send(bytes.subarray(0, cut))
    await new Promise((resolve) => setImmediate(resolve))
    client.send(bytes.subarray(cut))
    await client.see('/split')
  }
  await using old = await connectRaw(server.port)
  old.send('P')
  await new Promise((resolve) => setImmediate(resolve))
  old.send('RI / HTTP/1.1\r\nHost: a\r\n\r\n')
  expect(await old.see('\r\n\r\n/')).toMatch(/^HTTP\/1\.1 200/)
})

test('a cleartext connection that does not say what it speaks is closed', async () => {
  await using server = await start(hello, { idleTimeoutMs: 30 })
  await using client = await connectRaw(server.port)
  client.send('PRI * HTTP')
  expect(await client.rest()).toBe('')
})

test('without h2c the preface is a malformed request', async () => {
  await using server = await start(hello, { h2c: false })
  await using client = await connectRaw(server.port)
  client.send('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
  expect(await client.rest()).toMatch(/^HTTP\/1\.1 (?:400|505)/)
})

test('over TLS the handshake chooses between h2 and http/1.1', async () => {
  const folder = join(import.meta.dirname, 'data')
  for (const [http2Offered, expected] of [
    [true, 'h2'],
    [false, 'http/1.1'],
  ] as const) {
    const app = serveHttp((session) => session.respond(200, { body: session.digest().tls?.alpn ?? 'none' }), {
      http2: http2Offered,
    })
    const server = tls.createServer(
      {
        key: readFileSync(join(folder, 'localhost-key.pem')),
        cert: readFileSync(join(folder, 'localhost.pem')),
        ALPNProtocols: [...app.alpnProtocols],
      },
      (socket) => app.onConnection(socket),
    )
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const socket = tls.connect({ port, ALPNProtocols: ['h2', 'http/1.1'], rejectUnauthorized: false })
    await once(socket, 'secureConnect')
    expect(socket.alpnProtocol).toBe(expected)
    if (expected === 'h2') {
      const session = http2.connect('https://localhost', { createConnection: () => socket })
      expect((await collect(session.request({}))).body).toBe('h2')
      session.close()
      await once(session, 'close')
    } else {
      socket.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
      expect(String((await once(socket, 'data'))[0])).toContain('http/1.1')
      socket.destroy()
    }
    server.close()
    await once(server, 'close')
  }
})

test('trailers pass both ways, 1xx before the response', async () => {
  let seen: string[] | null = null
  await using server = await start(async (session) => {
    session.downstream.writeInformational(ResponseHeader.build(103, { Link: '</a>' }))
    await session.readRequestBody()
    seen = session.body.trailers
    session.downstream.writeHead(ResponseHeader.build(200, { Connection: 'close', 'X-A': 'b' }), -1)
    session.downstream.writeBody(Buffer.from('body'), 0, 4)
    session.downstream.endResponse(['X-Sum', '1', 'X-Sum', '2'])
  })
  await using client = new Http2Client(server.port)
  const stream = client.session.request({ ':method': 'POST' }, { waitForTrailers: true })
  stream.on('wantTrailers', () => stream.sendTrailers({ 'x-check': 'abc', 'content-type': 'no/trailer' }))
  stream.end('data')
  const answer = await collect(stream)
  expect(seen).toEqual(['x-check', 'abc'])
  expect(answer).toMatchObject({ status: 200, informational: [103], body: 'body', code: 0 })
  expect(answer.headers).toMatchObject({ 'x-a': 'b' })
  expect(answer.headers).not.toHaveProperty('connection')
  expect(answer.trailers?.['x-sum']).toBe('1, 2')
})

test('a body of known length ends without trailers, an empty one with the head', async () => {
  await using server = await start((session) => session.respond(200, { body: '' }))
  await using client = await connectRawHttp2(server.port)
  client.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, request('/')))
  const head = await client.see(HEADERS)
  expect(head.flags & END_STREAM).toBe(END_STREAM)
})

test('HEAD, 204 and 304 have no body', async () => {
  await using server = await start((session) => {
    const status = Number(session.request.target.slice(1))
    session.downstream.writeHead(ResponseHeader.build(status, { 'Content-Length': '5' }), 5)
    session.downstream.writeBody(Buffer.from('hello'), 0, 5)
    session.downstream.endResponse(null)
  })
  await using client = new Http2Client(server.port)
  const head = await ask(client, { ':path': '/200', ':method': 'HEAD' })
  expect(head).toMatchObject({ status: 200, body: '', code: 0 })
  expect(head.headers['content-length']).toBe('5')
  expect(await ask(client, { ':path': '/204' })).toMatchObject({ status: 204, body: '' })
  expect(await ask(client, { ':path': '/304' })).toMatchObject({ status: 304, body: '' })
  expect(await ask(client, { ':path': '/200' })).toMatchObject({ status: 200, body: 'hello' })
})

test('Expect: 100-continue is answered once the body is wanted', async () => {
  await using server = await start(echo)
  await using client = new Http2Client(server.port)
  const stream = client.session.request({ ':method': 'POST', expect: '100-continue' })
  stream.once('continue', () => stream.end('now'))
  expect(await collect(stream)).toMatchObject({ informational: [100], status: 200, body: 'now' })
})

test('a response before the end of the request leaves the connection whole', async () => {
  await using server = await start(hello, { discardBytesMax: 1_000 })
  await using client = new Http2Client(server.port)
  const small = client.session.request({ ':method': 'POST', ':path': '/early' })
  small.write('x')
  setImmediate(() => small.end('y'))
  expect(await collect(small)).toMatchObject({ status: 200, body: '/early', code: 0 })
  const large = client.session.request({ ':method': 'POST', ':path': '/large' })
  large.write(Buffer.alloc(50_000))
  expect(await collect(large)).toMatchObject({ status: 200, body: '/large', code: 0 })
  expect(await ask(client, { ':path': '/after' })).toMatchObject({ body: '/after' })
  expect(server.app.stats().connections).toBe(1)
})

test('one stalled stream stops its own sender only', async () => {
  const size = 4_000_000
  await using server = await start(async (session) => {
    if (session.request.target === '/small') return session.respond(200, { body: 'small' })
    await session.writeResponseHeader(ResponseHeader.build(200), size)
    for (let at = 0; at < size; at += 40_000) await session.writeResponseBody(Buffer.alloc(40_000, 'a'))
    session.endResponse()
  })
  await using client = new Http2Client(server.port)
  const stalled = client.session.request({ ':path': '/large' })
  await once(stalled, 'response')
  for (let i = 0; i < 5; i++)
    expect(await ask(client, { ':path': '/small' })).toMatchObject({ body: 'small' })
  expect(server.socket.bytesWritten).toBeLessThan(size / 4)
  expect((await collect(stalled)).body.length).toBe(size)
})

test('an upload that nobody reads stops at its window, and others pass', async () => {
  let reached = (): void => undefined
  await using server = await start(async (session) => {
    if (session.request.target === '/other') return session.respond(200, { body: 'other' })
    await new Promise<void>((resolve) => (reached = resolve))
    let bytes = 0
    for await (const chunk of session.requestChunks()) bytes += chunk.length
    session.respond(200, { body: `${bytes}` })
  })
  await using client = new Http2Client(server.port)
  const upload = client.session.request({ ':method': 'POST', ':path': '/upload' })
  upload.end(Buffer.alloc(1_000_000))
  for (let i = 0; i < 5; i++)
    expect(await ask(client, { ':path': '/other' })).toMatchObject({ body: 'other' })
  expect(server.socket.bytesRead).toBeLessThan(200_000)
  reached()
  expect(await collect(upload)).toMatchObject({ body: '1000000' })
})

test.each([
  ['nothing', Buffer.alloc(0), 0],
  ['ten bytes', Buffer.alloc(10), 10],
])('a body of %s that has ended before anyone asks is whole', async (_name, body, size) => {
  await using server = await start(async (session) => {
    for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve))
    session.respond(200, { body: `${(await session.readRequestBody()).length}` })
  })
  await using client = await connectRawHttp2(server.port)
  client.send(frame(HEADERS, END_HEADERS, 1, request('/', [], 'POST')), frame(DATA, END_STREAM, 1, body))
  expect((await client.see(DATA)).payload.toString()).toBe(`${size}`)
})

test('a client that resets aborts its session; the connection goes on', async () => {
  const aborted = Promise.withResolvers<string>()
  await using server = await start((session) => {
    if (session.request.target !== '/slow') return hello(session)
    session.signal.addEventListener('abort', () => aborted.resolve(session.abortError?.code ?? ''))
  })
  await using client = new Http2Client(server.port)
  const stream = client.session.request({ ':path': '/slow' })
  stream.once('ready', () => setTimeout(() => stream.close(NGHTTP2_CANCEL), 20))
  expect(await aborted.promise).toBe('CONNECTION_CLOSED')
  expect(await ask(client, { ':path': '/next' })).toMatchObject({ body: '/next' })
})

test.each([0, NGHTTP2_CANCEL])('a reset with code %d is not taken for the end of a body', async (code) => {
  const ended = Promise.withResolvers<string>()
  await using server = await start(async (session) => {
    try {
      await session.readRequestBody()
      ended.resolve('whole')
    } catch (error) {
      ended.resolve((error as Error & { code: string }).code)
    }
  })
  await using client = await connectRawHttp2(server.port)
  client.send(
    frame(HEADERS, END_HEADERS, 1, request('/', [], 'POST')),
    frame(DATA, 0, 1, Buffer.from('half')),
    frame(RST_STREAM, 0, 1, Buffer.from([0, 0, 0, code])),
  )
  expect(await ended.promise).toBe('CONNECTION_CLOSED')
})

test('a response cut short resets the stream', async () => {
  await using server = await start((session) => {
    session.downstream.writeHead(ResponseHeader.build(200), 10)
    session.downstream.writeBody(Buffer.from('half'), 0, 4)
    session.downstream.endResponse(null)
  })
  await using client = new Http2Client(server.port)
  expect(await ask(client, {})).toMatchObject({ status: 200, code: NGHTTP2_INTERNAL_ERROR })
})

test('requestBodyBytesMax is kept, at the limit and one above', async () => {
  await using server = await start(echo, { requestBodyBytesMax: 10 })
  await using client = new Http2Client(server.port)
  expect(await ask(client, { ':method': 'POST' }, 'x'.repeat(10))).toMatchObject({ status: 200 })
  expect(await ask(client, { ':method': 'POST' }, 'x'.repeat(11))).toMatchObject({ status: 413, code: 0 })
})

test('a body that stops coming is answered with 408, an idle connection with GOAWAY', async () => {
  await using server = await start(echo, { bodyTimeoutMs: 40, idleTimeoutMs: 60 })
  await using client = new Http2Client(server.port)
  const stream = client.session.request({ ':method': 'POST' })
  stream.write('x')
  expect(await collect(stream)).toMatchObject({ status: 408 })
  await once(client.session, 'close')
})

test('requestTimeoutMs: a body that drips steadily has to end in time all the same', async () => {
  await using server = await start(echo, { bodyTimeoutMs: 5_000, requestTimeoutMs: 80 })
  await using client = new Http2Client(server.port)
  const stream = client.session.request({ ':method': 'POST' })
  const drip = setInterval(() => stream.write('x'), 1)
  expect(await collect(stream)).toMatchObject({ status: 408 })
  clearInterval(drip)
})

test('a client that takes nothing is cut after writeTimeoutMs', async () => {
  const aborted = Promise.withResolvers<string>()
  await using server = await start(
    async (session) => {
      await session.writeResponseHeader(ResponseHeader.build(200), 1_000_000)
      try {
        for (let i = 0; i < 20; i++) await session.writeResponseBody(Buffer.alloc(50_000))
      } catch (error) {
        aborted.resolve((error as Error & { code: string }).code)
      }
    },
    { writeTimeoutMs: 50 },
  )
  await using client = await connectRawHttp2(server.port)
  client.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, request('/')))
  expect(await aborted.promise).toBe('WRITE_TIMEOUT')
  await client.see(RST_STREAM)
})

test('RFC 9113 §6.8: a drain warns first, serves what was on its way, and loses nothing', async () => {
  let release = (): void => undefined
  await using server = await start(async (session) => {
    if (session.request.target === '/slow') await new Promise<void>((resolve) => (release = resolve))
    hello(session)
  })
  await using client = await connectRawHttp2(server.port)
  client.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, request('/slow')))
  while (server.app.stats().requests < 1) await new Promise((resolve) => setImmediate(resolve))
  server.app.startDraining()
  const warning = await client.see(GOAWAY)
  expect(warning.payload.readUInt32BE(0)).toBe(2 ** 31 - 1)
  const ping = await client.see(PING)
  client.send(
    frame(HEADERS, END_STREAM | END_HEADERS, 3, request('/crossing')),
    frame(PING, ACK, 0, ping.payload),
  )
  await client.see(DATA, ({ stream }) => stream === 3)
  const last = await client.see(GOAWAY, ({ payload }) => payload.readUInt32BE(0) !== 2 ** 31 - 1)
  expect([last.payload.readUInt32BE(0), last.payload.readUInt32BE(4)]).toEqual([3, 0])
  client.send(frame(HEADERS, END_STREAM | END_HEADERS, 5, request('/late')))
  release()
  await client.see(DATA, ({ stream }) => stream === 1)
  await client.end()
  expect(server.app.stats().requests).toBe(2)
  expect(client.frames.some(({ type, stream }) => type === RST_STREAM || stream === 5)).toBe(false)
})

test('a drain does not wait for long for a client that answers no ping', async () => {
  await using server = await start(() => undefined, { lingerTimeoutMs: 50 })
  await using client = await connectRawHttp2(server.port)
  client.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, request('/slow')))
  while (server.app.stats().requests < 1) await new Promise((resolve) => setImmediate(resolve))
  server.app.startDraining()
  const last = await client.see(GOAWAY, ({ payload }) => payload.readUInt32BE(0) !== 2 ** 31 - 1)
  expect(last.payload.readUInt32BE(0)).toBe(1)
})

test('a drain closes idle connections, also those of clients that never close their side', async () => {
  await using server = await start(hello, { lingerTimeoutMs: 50 })
  await using client = await connectRaw(server.port)
  client.send('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n').send(frame(SETTINGS, 0, 0))
  await client.until((received) => received.length > 9, 'settings')
  server.app.startDraining()
  await client.rest()
  await server.drained()
})

test('a client that reads nothing any more is cut after the last response', async () => {
  await using server = await start((session) => session.respond(200, { body: Buffer.alloc(40_000) }), {
    lingerTimeoutMs: 20,
    idleTimeoutMs: 20,
    writeTimeoutMs: 60,
  })
  await using client = await connectRawHttp2(server.port)
  client.socket.pause()
  for (let id = 1; id < 40; id += 2) client.send(frame(HEADERS, END_STREAM | END_HEADERS, id, request('/')))
  client.send(frame(WINDOW_UPDATE, 0, 0, Buffer.from([0x7f, 0, 0, 0])))
  while (server.app.stats().connections === 0) await new Promise((resolve) => setImmediate(resolve))
  await server.drained()
})

test('requestsPerConnectionMax ends the connection and loses nothing', async () => {
  await using server = await start(hello, { requestsPerConnectionMax: 3 })
  await using client = new Http2Client(server.port)
  for (const path of ['/1', '/2', '/3'])
    expect(await ask(client, { ':path': path })).toMatchObject({ body: path })
  await once(client.session, 'close')
})

// --- what must not get through ---------------------------------------------------------------------

const PSEUDO = [':method', 'GET', ':scheme', 'http', ':path', '/', ':authority', 'a']

test.each([
  ['upper case in a name', [...PSEUDO, 'X-Upper', 'b']],
  ['transfer-encoding', [...PSEUDO, 'transfer-encoding', 'chunked']],
  ['connection', [...PSEUDO, 'connection', 'close']],
  ['keep-alive', [...PSEUDO, 'keep-alive', 'timeout=5']],
  ['proxy-connection', [...PSEUDO, 'proxy-connection', 'close']],
  ['upgrade', [...PSEUDO, 'upgrade', 'h2c']],
  ['te other than trailers', [...PSEUDO, 'te', 'gzip']],
  ['host beside another :authority', [...PSEUDO, 'host', 'b']],
  ['two hosts', [...PSEUDO, 'host', 'a', 'host', 'a']],
  ['no authority at all', PSEUDO.slice(0, 6)],
  ['user information in :authority', [...PSEUDO.slice(0, 6), ':authority', 'u@a']],
  ['a space in :path', [':method', 'GET', ':scheme', 'http', ':path', '/ HTTP/1.1', ':authority', 'a']],
  ['CR LF in :path', [':method', 'GET', ':scheme', 'http', ':path', '/\r\nX: y', ':authority', 'a']],
  ['a fragment in :path', [':method', 'GET', ':scheme', 'http', ':path', '/#x', ':authority', 'a']],
  ['an absolute :path', [':method', 'GET', ':scheme', 'http', ':path', 'http://b/', ':authority', 'a']],
  ['an empty :path', [':method', 'GET', ':scheme', 'http', ':path', '', ':authority', 'a']],
  [
    '* with another method than OPTIONS',
    [':method', 'GET', ':scheme', 'http', ':path', '*', ':authority', 'a'],
  ],
  ['a space in :method', [':method', 'GET /x', ':scheme', 'http', ':path', '/', ':authority', 'a']],
  ['another :scheme', [':method', 'GET', ':scheme', 'file', ':path', '/', ':authority', 'a']],
  ['a pseudo-field twice', [...PSEUDO, ':path', '/b']],
  ['an unknown pseudo-field', [':x', 'y', ...PSEUDO]],
  ['a pseudo-field after a field', ['x', 'y', ...PSEUDO]],
  ['two lengths', [...PSEUDO, 'content-length', '1', 'content-length', '2']],
  ['a signed length', [...PSEUDO, 'content-length', '+1']],
  ['a listed length', [...PSEUDO, 'content-length', '1, 1']],
  ['a length and no body', [...PSEUDO, 'content-length', '5']],
])('RFC 9113 §8: %s is refused, and the connection goes on', async (_name, fields) => {
  const targets: string[] = []
  await using server = await start((session) => {
    targets.push(session.request.target)
    if (session.request.fields.some((text) => /[\r\n\0]|^x/i.test(text))) targets.push('smuggled')
    hello(session)
  })
  await using client = await connectRawHttp2(server.port)
  client.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, block(fields)))
  client.send(frame(HEADERS, END_STREAM | END_HEADERS, 3, request('/after')))
  await client.see(DATA, ({ stream }) => stream === 3)
  expect(client.frames.some(({ type, stream }) => type === DATA && stream === 1)).toBe(false)
  expect(targets).toEqual(['/after'])
})

test.each([
  ['CR in a value', [...PSEUDO, 'x', 'a\rb']],
  ['LF in a value', [...PSEUDO, 'x', 'a\nTransfer-Encoding: chunked']],
  ['NUL in a value', [...PSEUDO, 'x', 'a\0b']],
  ['CR LF in a name', [...PSEUDO, 'x\r\ny', 'b']],
  ['a space in a name', [...PSEUDO, 'x y', 'b']],
  ['a colon in a name', [...PSEUDO, 'transfer-encoding: chunked\r\nx', 'b']],
  ['an empty name', [...PSEUDO, '', 'b']],
])('RFC 9113 §8.2.1: a field with %s never gets through', async (_name, fields) => {
  const heads: string[] = []
  await using server = await start((session) => {
    heads.push(session.request.toWire())
    hello(session)
  })
  await using client = await connectRawHttp2(server.port)
  client.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, block(fields)))
  client.send(frame(HEADERS, END_STREAM | END_HEADERS, 3, request('/after')))
  await client.see(DATA, ({ stream }) => stream === 3)
  expect(client.frames.some(({ type, stream }) => type === RST_STREAM && stream === 1)).toBe(true)
  expect(heads).toEqual(['GET /after HTTP/1.1\r\nHost: a\r\n\r\n'])
  expect(server.app.stats().refusedHeads).toEqual({ HTTP2_FIELD: 1 })
})

test('an expectation that is said twice is refused', async () => {
  await using server = await start(hello)
  await using client = await connectRawHttp2(server.port)
  const expect100 = ['expect', '100-continue']
  client.send(frame(HEADERS, END_HEADERS, 1, block([...PSEUDO, ...expect100, ...expect100])))
  await client.see(HEADERS, ({ stream }) => stream === 1)
  expect(server.app.stats().refusedHeads).toEqual({ EXPECTATION: 1 })
})

test.each(['123', '12345'])(
  'a body %s that differs from its content-length 4 never counts as whole',
  async (body) => {
    const outcome = Promise.withResolvers<string>()
    await using server = await start(async (session) => {
      const read = session.readRequestBody()
      read.then(
        () => outcome.resolve('whole'),
        (error: Error & { code: string }) => outcome.resolve(error.code),
      )
      await read
      session.respond(200)
    })
    await using client = await connectRawHttp2(server.port)
    const head = request('/', ['content-length', '4'], 'POST')
    client.send(frame(HEADERS, END_HEADERS, 1, head), frame(DATA, END_STREAM, 1, Buffer.from(body)))
    expect(await outcome.promise).toBe('H2_ERROR')
    expect(client.frames.some(({ type }) => type === HEADERS)).toBe(false)
  },
)

test('cookies are joined into one field, Host comes from :authority', async () => {
  const heads: string[] = []
  await using server = await start((session) => {
    heads.push(session.request.toWire())
    hello(session)
  })
  await using client = await connectRawHttp2(server.port)
  const fields = ['cookie', 'a=1', 'x', 'y', 'cookie', 'b=2', 'host', 'A:80']
  client.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, request('/q?x=\\', fields)))
  await client.see(DATA)
  expect(heads).toEqual(['GET /q?x=\\ HTTP/1.1\r\nHost: a\r\ncookie: a=1; b=2\r\nx: y\r\n\r\n'])
})

test('limits of a head: the target, the number of fields, the size of all', async () => {
  await using server = await start(hello, { targetBytesMax: 100, fieldsMax: 20, headBytesMax: 4_096 })
  await using client = new Http2Client(server.port)
  const fields = (count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`x${i}`, 'y']))
  expect(await ask(client, { ':path': `/${'x'.repeat(99)}` })).toMatchObject({ status: 200 })
  expect(await ask(client, { ':path': `/${'x'.repeat(100)}` })).toMatchObject({ status: 414 })
  expect(await ask(client, fields(19))).toMatchObject({ status: 200 })
  expect(await ask(client, fields(20))).toMatchObject({ status: 431 })
  expect(await ask(client, fields(200))).toMatchObject({ status: 431 })
  expect(await ask(client, { x: 'y'.repeat(5_000) })).toMatchObject({ status: 431 })
  expect(await ask(client, {})).toMatchObject({ status: 200 })
})

test('RFC 9113 §5.1.2: more streams than http2StreamsMax are refused, and may be sent again', async () => {
  await using server = await start(() => undefined, { http2StreamsMax: 2 })
  await using client = await connectRawHttp2(server.port)
  for (const id of [1, 3, 5]) client.send(frame(HEADERS, END_STREAM | END_HEADERS, id, request('/')))
  const refused = await client.see(RST_STREAM)
  expect([refused.stream, refused.payload.readUInt32BE(0)]).toEqual([5, NGHTTP2_REFUSED_STREAM])
  expect(server.app.stats().requests).toBe(2)
})

// --- floods ----------------------------------------------------------------------------------------

test('CVE-2023-44487: a flood of resets ends the connection', async () => {
  await using server = await start(() => undefined, { http2ResetBurstMax: 50, http2ResetsPerSecondMax: 1 })
  await using client = await connectRawHttp2(server.port)
  for (let id = 1; id < 400 && !client.closed; id += 2) {
    client.send(
      frame(HEADERS, END_STREAM | END_HEADERS, id, request('/')),
      frame(RST_STREAM, 0, id, Buffer.from([0, 0, 0, 8])),
    )
  }
  await client.end()
  expect(server.app.stats().requests).toBeLessThan(150)
})

test('responses that we cut ourselves are not held against the client', async () => {
  await using server = await start((session) => session.downstream.destroy(), { http2ResetBurstMax: 5 })
  await using client = new Http2Client(server.port)
  for (let i = 0; i < 20; i++) expect((await ask(client, {})).code).toBe(NGHTTP2_CANCEL)
  expect(server.app.stats().requests).toBe(20)
})

test('CVE-2025-8671: resets that the client provokes from us count alike', async () => {
  await using server = await start(() => undefined, { http2ResetBurstMax: 20, http2ResetsPerSecondMax: 1 })
  await using client = await connectRawHttp2(server.port)
  for (let id = 1; id < 400 && !client.closed; id += 2) {
    client.send(
      frame(HEADERS, END_STREAM | END_HEADERS, id, request('/')),
      frame(WINDOW_UPDATE, 0, id, Buffer.from([0, 0, 0, 0])),
    )
    await new Promise((resolve) => setImmediate(resolve))
  }
  await client.end()
})

test.each([
  ['CVE-2019-9512: pings', () => frame(PING, 0, 0, Buffer.alloc(8))],
  ['CVE-2019-9515: settings', () => frame(SETTINGS, 0, 0)],
])('a flood of %s ends the connection', async (_name, make) => {
  await using server = await start(hello, { http2ControlFramesPerSecondMax: 5 })
  await using client = await connectRawHttp2(server.port)
  for (let i = 0; i < 100; i++) client.send(make())
  await client.end()
  expect(client.goawayCode).toBe(NGHTTP2_ENHANCE_YOUR_CALM)
  expect(server.app.stats().refusedHeads).toEqual({ HTTP2_CONTROL_FLOOD: 1 })
})

test('a response head above what the client takes becomes 502, and its connection goes on', async () => {
  const settled: unknown[] = []
  await using server = await start(async (session) => {
    const long = { 'x-long': 'y'.repeat(session.request.target === '/long' ? 2_000 : 10) }
    session.respond(200, { headers: long, body: 'z'.repeat(50_000) })
    settled.push([session.request.target, session.signal.aborted])
  })
  await using client = new Http2Client(server.port)
  await once(client.session, 'localSettings')
  client.session.settings({ maxHeaderListSize: 1_000 })
  await once(client.session, 'localSettings')
  expect(await ask(client, { ':path': '/long' })).toMatchObject({ status: 502, body: '', code: 0 })
  const short = await ask(client, { ':path': '/short' })
  expect([short.status, short.body.length]).toEqual([200, 50_000])
  expect(settled).toEqual([
    ['/long', true],
    ['/short', false],
  ])
})

test('CVE-2019-9518: a flood of empty DATA frames ends the connection', async () => {
  await using server = await start(echo, { http2ControlFramesPerSecondMax: 100 })
  await using client = await connectRawHttp2(server.port)
  client.send(frame(HEADERS, END_HEADERS, 1, request('/', [], 'POST')))
  for (let i = 0; i < 2_000; i++) client.send(frame(DATA, 0, 1))
  await client.end()
})

test('CVE-2024-27316: a flood of CONTINUATION frames ends the connection', async () => {
  await using server = await start(hello)
  await using client = await connectRawHttp2(server.port)
  client.send(frame(HEADERS, END_STREAM, 1, request('/')))
  for (let i = 0; i < 2_000; i++) client.send(frame(CONTINUATION, 0, 1, block(['x', 'y'.repeat(100)])))
  await client.end()
  expect(server.app.stats().requests).toBe(0)
})

test('whatever a request holds, what is made of it can be written as one HTTP/1 head', () => {
  const text = fc.string({ unit: fc.constantFrom(...'a/?#%\\ :@[]\r\n\0\x7f\xff\u0100'), maxLength: 12 })
  const value = fc.string({ unit: fc.constantFrom(...'a0;,= \t"\xff'), maxLength: 12 })
  const name = fc.constantFrom('cookie', 'te', 'x-a', 'content-length', 'expect')
  fc.assert(
    fc.property(fc.array(fc.tuple(name, value), { maxLength: 6 }), text, text, (fields, path, authority) => {
      const request = {
        method: 'GET',
        scheme: 'http',
        path: `/${path}`,
        authority,
        protocol: null,
        contentLength: -1,
        fields: ['host', 'a', ...fields.flat()],
        hostAt: 1,
        neverIndexed: null,
      }
      const head = readRequestHead(request, { targetBytesMax: 100, fieldsMax: 100 })
      if (isRefusal(head)) return
      const lines = head.header.toWire().split('\r\n')
      expect(lines.length).toBe(head.header.fieldCount + 3)
      expect(lines.join('')).not.toMatch(/[\r\n\0]/)
      expect(lines.filter((line) => /^host:/i.test(line)).length).toBe(1)
    }),
  )
  expect(passedTrailers(['x-a', '1', 'content-length', '5'])).toEqual(['x-a', '1'])
  expect(passedTrailers(['content-length', '5'])).toBeNull()
})
