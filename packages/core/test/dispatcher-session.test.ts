import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Agent, MockAgent } from 'undici'
import { expect, test } from 'vitest'
import { HttpPeer, WRITE_DONE, WRITE_FULL, WRITE_PAUSE } from '../src/index.ts'
import { turn } from './support/raw-client.ts'
import { fetchOver, Recorder, requestOf, send, startConnector } from './support/upstream.ts'

async function startHttp(listener: RequestListener): Promise<AsyncDisposable & { address: string }> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

test('an Agent carries a request with its body and fields, and a response with trailers', async () => {
  let seen = ''
  await using origin = await startHttp(async (request, response) => {
    seen = `${request.method} ${request.url} ${request.headers['x-a']} `
    for await (const chunk of request) seen += chunk
    response.writeHead(201, { Trailer: 'X-Sum' })
    response.write('hel')
    response.addTrailers({ 'X-Sum': '1' })
    response.end('lo')
  })
  await using connector = startConnector()
  const dispatcher = new Agent()
  const session = await connector.session(new HttpPeer(origin.address, { dispatcher }))
  const recorder = new Recorder()
  session.handler = recorder
  session.sendHead(
    requestOf('POST', '/p?q', [
      ['X-A', 'b'],
      ['Connection', 'close'],
    ]),
    -1,
    false,
  )
  session.writeBody(Buffer.from('abc'), 0, 3)
  session.endRequest(null)
  await recorder.done
  connector.release(session)
  expect(recorder.error).toBeUndefined()
  expect(seen).toBe('POST /p?q b abc')
  expect(recorder).toMatchObject({ body: 'hello', trailers: ['X-Sum', '1'], contentLength: -1 })
  expect(recorder.head?.status).toBe(201)
  expect(recorder.head?.has('transfer-encoding')).toBe(false)
  await dispatcher.close()
})

test('HEAD, 204 and 304 announce no body', async () => {
  await using origin = await startHttp((request, response) => {
    if (request.method === 'HEAD') response.setHeader('Content-Length', 100)
    response.statusCode = request.method === 'HEAD' ? 200 : 204
    response.end()
  })
  await using connector = startConnector()
  const dispatcher = new Agent()
  const peer = new HttpPeer(origin.address, { dispatcher })
  expect(await fetchOver(connector, peer, 'HEAD')).toMatchObject({ contentLength: 0, bodyBytes: 0 })
  expect(await fetchOver(connector, peer)).toMatchObject({ contentLength: 0, bodyBytes: 0 })
  await dispatcher.close()
})

test('a MockAgent answers without a network', async () => {
  const dispatcher = new MockAgent()
  dispatcher.disableNetConnect()
  dispatcher
    .get('http://mock.test:80')
    .intercept({ path: '/' })
    .reply(200, 'mocked', { headers: { 'X-M': 'y' } })
  await using connector = startConnector()
  const recorder = await fetchOver(connector, new HttpPeer('mock.test:80', { dispatcher }))
  expect(recorder).toMatchObject({ body: 'mocked', error: undefined })
  expect(recorder.head?.get('x-m')).toBe('y')
  await dispatcher.close()
})

test('failures are the upstream’s, by undici’s own codes', async () => {
  await using origin = await startHttp((request) => {
    if (request.url === '/') request.socket.destroy()
  })
  await using connector = startConnector()
  const dispatcher = new Agent({ connect: { timeout: 200 } })
  expect((await fetchOver(connector, new HttpPeer(origin.address, { dispatcher }))).error).toMatchObject({
    code: 'CONNECTION_CLOSED',
    source: 'upstream',
  })
  expect((await fetchOver(connector, new HttpPeer('127.0.0.1:1', { dispatcher }))).error).toMatchObject({
    code: 'CONNECT_REFUSED',
    source: 'upstream',
  })
  await dispatcher.destroy()
})

test('what a dispatcher cannot carry fails without being sent', async () => {
  await using connector = startConnector()
  const dispatcher = new MockAgent()
  dispatcher.disableNetConnect()
  const upgraded = await connector.session(new HttpPeer('a.test:80', { dispatcher }))
  expect((await send(upgraded, 'GET', true).done).error).toMatchObject({
    code: 'TUNNEL_REFUSED',
    status: 501,
  })
  const unix = await connector.session(new HttpPeer('unix:/a', { dispatcher }))
  expect((await send(unix).done).error).toMatchObject({ code: 'CONNECT_ERROR', source: 'internal' })
  await dispatcher.close()
})

test('backpressure holds in both directions', async () => {
  const block = Buffer.alloc(65_536)
  let accepted = 0
  await using origin = await startHttp((request, response) => {
    request.resume()
    const fill = (): void => {
      do accepted += block.length
      while (response.write(block) && accepted < 64 * 1_048_576)
    }
    response.on('drain', fill)
    fill()
  })
  await using connector = startConnector()
  const dispatcher = new Agent()
  const session = await connector.session(new HttpPeer(origin.address, { dispatcher }))
  const recorder = new Recorder(false)
  recorder.result = WRITE_FULL
  session.handler = recorder
  session.sendHead(requestOf('POST'), -1, false)
  let result: number = WRITE_DONE
  for (let i = 0; i < 100 && result < WRITE_PAUSE; i++) result = session.writeBody(block, 0, block.length)
  expect(result).toBe(WRITE_PAUSE)
  while (recorder.drains === 0) await turn()
  for (let before = -1; before !== accepted || accepted === 0; ) {
    before = accepted
    for (let i = 0; i < 50; i++) await turn()
  }
  expect(recorder.bodyBytes).toBeLessThan(1_048_576)
  session.destroy()
  await dispatcher.destroy()
})

test('a session that is given up calls nobody', async () => {
  await using origin = await startHttp((_request, response) => response.write('part'))
  await using connector = startConnector()
  const dispatcher = new Agent()
  for (const release of [true, false]) {
    const session = await connector.session(new HttpPeer(origin.address, { dispatcher }))
    const recorder = send(session)
    while (recorder.bodyBytes === 0) await turn()
    if (release) connector.release(session)
    else session.destroy()
    for (let i = 0; i < 10; i++) await turn()
    expect(recorder.error).toBeUndefined()
    expect(recorder.ended).toBe(false)
  }
  await dispatcher.close()
})
