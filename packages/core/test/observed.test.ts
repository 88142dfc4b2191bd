// What core counts and publishes for those who observe a server.
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { connect } from 'node:net'
import { expect, test } from 'vitest'
import { frame, PING } from '../../../scripts/test-support/http2-frames.ts'
import { type PhaseMessage, type PoolMessage, Server, serveHttp } from '../src/index.ts'
import { makeCertificate } from './support/certificates.ts'
import { startApp } from './support/http-server.ts'
import { ask, Http2Client } from './support/http2.ts'
import { connectRawHttp2 } from './support/raw-http2.ts'
import { TlsService } from './support/tls.ts'
import { answering, fetchOver, startConnector, startUpstream } from './support/upstream.ts'

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'

/** Collects what a channel publishes, until the end of the scope. */
function listen<M>(name: string): { heard: M[] } & Disposable {
  const heard: M[] = []
  const listener = (message: unknown) => void heard.push(message as M)
  subscribe(name, listener)
  return { heard, [Symbol.dispose]: () => void unsubscribe(name, listener) }
}

test('the channel cirque:pool tells of connections that are opened, reused, evicted and not to be had', async () => {
  using pool = listen<PoolMessage>('cirque:pool')
  await using upstream = await startUpstream(answering(OK))
  await using connector = startConnector({ keepalivePoolSize: 1 })
  const a = upstream.peer({ groupKey: 'a' })
  const b = upstream.peer({ groupKey: 'b' })
  await fetchOver(connector, a)
  await fetchOver(connector, a)
  await fetchOver(connector, b)
  const nobody = upstream.peer({ connect: () => Promise.reject(new Error('No')) })
  await expect(connector.session(nobody)).rejects.toThrow()
  const told = pool.heard.map(({ event, peer, reason }) => [event, peer, reason])
  expect(told).toEqual([
    ['opened', a, undefined],
    ['reused', a, undefined],
    ['opened', b, undefined],
    ['evicted', a, 'capacity'],
    ['failed', nobody, undefined],
  ])
  expect(connector.stats().evictions).toMatchObject({ capacity: 1, age: 0, 'idle-timeout': 0 })
})

test('the channel cirque:phase tells of each phase of a server', async () => {
  using phases = listen<PhaseMessage>('cirque:phase')
  const server = new Server({ argv: false })
  const running = server.run()
  await server.whenRunning()
  server.shutdown()
  await running
  const own = phases.heard.filter((message) => message.server === server).map(({ phase }) => phase)
  expect(own[0]).toBe('bootstrap')
  expect(own).toContain('running')
  expect(own.at(-1)).toBe('terminated')
})

test('HTTP/2 connections, requests, resets, GOAWAYs and floods are counted', async () => {
  const app = serveHttp(
    async (session) => {
      if (session.request.path === '/wait') await new Promise(() => undefined)
      session.respond(200)
    },
    { h2c: true, http2ControlFramesPerSecondMax: 5 },
  )
  await using server = await startApp(app)
  {
    await using client = new Http2Client(server.port)
    await ask(client, {})
    const stream = client.session.request({ ':path': '/wait' })
    stream.on('error', () => undefined)
    await ask(client, {}) // the one before has arrived
    stream.close(8)
    await once(stream, 'close')
    await ask(client, {})
    const goaway = once(client.session, 'goaway')
    app.startDraining()
    await goaway
  }
  expect(app.stats().http2).toEqual({ connections: 1, requests: 4, resets: 1, goAways: 1, floods: 0 })
  app.draining = false
  await using flooder = await connectRawHttp2(server.port)
  for (let i = 0; i < 100; i++) flooder.send(frame(PING, 0, 0, Buffer.alloc(8)))
  await flooder.end()
  expect(app.stats().http2).toMatchObject({ connections: 2, floods: 1 })
})

test('TLS handshakes are counted by version, with those that resumed and those that failed', async () => {
  const { cert, key } = makeCertificate({ name: 'one', dnsNames: ['one.example'] })
  await using tls = await TlsService.start({ certificates: [{ cert, key }] })
  const { session } = await tls.visit('one.example', { maxVersion: 'TLSv1.2' })
  await tls.visit('one.example', { maxVersion: 'TLSv1.2', session: session as Buffer })
  await tls.visit('one.example', {})
  const [address] = tls.service.endpoints()
  const socket = connect(address?.kind === 'tcp' ? address.port : 0, '127.0.0.1')
  socket.on('error', () => undefined)
  socket.write('GET / HTTP/1.1\r\n\r\n')
  socket.resume()
  await once(socket, 'close')
  expect(tls.service.tlsStats()).toEqual({
    versions: { 'TLSv1.2': 2, 'TLSv1.3': 1 },
    resumedCount: 1,
    failedCount: 1,
  })
})
