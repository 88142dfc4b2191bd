import { once } from 'node:events'
import http2, { type ServerHttp2Stream } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { HttpPeer } from '@cirque/core'
import { expect, test } from 'vitest'
import { get, RawClient } from './support/client.ts'
import { AnyClient, startOrigin } from './support/http2.ts'
import { startProxy } from './support/proxy.ts'
import { startUpstream } from './support/upstream.ts'
import { until } from './support/waiting.ts'

/** An HTTP/2 origin whose streams are left to the test, and a proxy in front of it. */
async function start(answer: (stream: ServerHttp2Stream) => void) {
  const stack = new AsyncDisposableStack()
  const server = http2.createServer() // not one of the compatible API, which answers by itself
  const sessions = new Set<http2.ServerHttp2Session>()
  server.on('session', (session) => sessions.add(session.on('error', () => undefined)))
  const codes: number[] = []
  server.on('stream', (given) => {
    const stream = given as ServerHttp2Stream
    stream.on('error', () => undefined)
    stream.on('close', () => codes.push(stream.rstCode))
    answer(stream)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  stack.defer(() => {
    for (const session of sessions) session.destroy()
    server.close()
  })
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`
  const logged: (string | undefined)[] = []
  const proxy = stack.use(
    await startProxy(
      {
        upstreamPeer: () => new HttpPeer(address, { httpVersion: 2 }),
        logging: (_session, error) => void logged.push(error?.code),
      },
      { server: { h2c: true } },
    ),
  )
  return { proxy, codes, logged, [Symbol.asyncDispose]: () => stack.disposeAsync() }
}

test('a response that is whole by its Content-Length does not wait for the stream’s end', async () => {
  const open: ServerHttp2Stream[] = []
  await using scene = await start((stream) => {
    open.push(stream)
    stream.respond({ ':status': 200, 'content-length': '2' })
    stream.write('ok')
  })
  await using client = new RawClient(scene.proxy.port)
  expect((await client.write(get('/1')).response()).body).toBe('ok')
  expect((await client.write(get('/2')).response()).body).toBe('ok')
  open[0]?.end() // late, and well
  await scene.proxy.idle()
  expect(scene.logged).toEqual([undefined, undefined])
  expect(scene.proxy.proxy.connector.stats().opened).toBe(1)
  await until(() => scene.codes.length === 2, 'a stream stays open')
  expect(scene.codes).toContain(http2.constants.NGHTTP2_CANCEL)
  expect((await client.write(get('/3')).response()).body).toBe('ok')
})

test('trailers that were announced are waited for', async () => {
  await using scene = await start((stream) => {
    stream.respond({ ':status': 200, 'content-length': '2', trailer: 'x-sum' }, { waitForTrailers: true })
    stream.once('wantTrailers', () => stream.sendTrailers({ 'x-sum': '1' }))
    stream.write('ok')
    setTimeout(() => stream.end(), 250)
  })
  await using client = new AnyClient(2, scene.proxy.port)
  const answer = await client.ask({ headers: { te: 'trailers' } })
  expect([answer.body.toString(), answer.trailers['x-sum']]).toEqual(['ok', '1'])
})

test('an upload goes on until its own end is no longer wanted', async () => {
  await using scene = await start((stream) => {
    stream.resume()
    stream.respond({ ':status': 200, 'content-length': '2' })
    stream.write('ok')
  })
  await using client = new RawClient(scene.proxy.port)
  client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nbeginning')
  expect((await client.response()).body).toBe('ok')
  await scene.proxy.idle()
  await until(() => scene.codes.length === 1, 'the stream stays open')
  expect(scene.logged).toEqual([undefined])
})

test('a request that ends with an empty DATA frame goes to HTTP/1.1 without a body', async () => {
  await using upstream = await startUpstream((request, response) => {
    const { 'transfer-encoding': coding, 'content-length': length } = request.headers
    request.resume().on('end', () => response.end(`${request.method} ${coding} ${length}`))
  })
  await using proxy = await startProxy(
    { upstreamPeer: () => new HttpPeer(upstream.address) },
    { server: { h2c: true } },
  )
  await using client = new AnyClient(2, proxy.port)
  for (let i = 0; i < 2; i++) {
    // Over a new connection, and over one from the pool.
    expect(String((await client.ask({ body: '' })).body)).toBe('GET undefined undefined')
    const sent = await client.ask({ method: 'POST', headers: { 'content-length': '0' }, body: '' })
    expect(String(sent.body)).toBe('POST undefined 0')
  }
})

test('RFC 9110 §8.6: an empty POST, PUT or PATCH of HTTP/2 says so to HTTP/1.1, and others do not', async () => {
  await using upstream = await startUpstream((request, response) =>
    response.end(String(request.headers['content-length'])),
  )
  await using proxy = await startProxy(
    { upstreamPeer: () => new HttpPeer(upstream.address) },
    { server: { h2c: true } },
  )
  await using client = new AnyClient(2, proxy.port)
  for (const [method, length] of [
    ['POST', '0'],
    ['PUT', '0'],
    ['PATCH', '0'],
    ['GET', 'undefined'],
    ['DELETE', 'undefined'],
    ['OPTIONS', 'undefined'],
  ] as const) {
    expect(String((await client.ask({ method })).body), method).toBe(length)
  }
})

test.each([
  [1, 1],
  [1, 2],
  [2, 1],
  [2, 2],
] as const)(
  'from HTTP/%i to HTTP/%i: an upstream that dies after 103 is a 502 behind it',
  async (down, up) => {
    let asked = 0
    await using origin = await startOrigin(up, (_request, response) => {
      asked++
      response.writeEarlyHints({ link: '</style.css>; rel=preload' })
      setTimeout(() => origin.cut(), 20)
    })
    await using proxy = await startProxy(
      { upstreamPeer: () => new HttpPeer(origin.address, { httpVersion: up }) },
      { server: { h2c: true } },
    )
    if (down === 1) {
      await using client = new RawClient(proxy.port)
      client.write(get())
      const early = await client.response()
      expect(early.head).toMatch(/^HTTP\/1\.1 103 Early Hints\r\nlink: <\/style\.css>/i)
      expect((await client.response()).status).toBe(502)
    } else {
      await using client = new AnyClient(2, proxy.port)
      expect(await client.ask()).toMatchObject({ status: 502, informational: [103], whole: true })
    }
    expect(asked).toBe(1)
  },
)
