import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { connect as connectTls, createServer as createTlsServer } from 'node:tls'
import { type ConnectionDigest, createConfiguration, readProxyHeader } from '@cirque/core'
import { ProxyError } from '@cirque/error'
import { LoadBalancer, roundRobin } from '@cirque/load-balancing'
import { expect, test, vi } from 'vitest'
import {
  StreamPeer,
  type StreamPeerOptions,
  type StreamProxy,
  type StreamSession,
  type TcpProxyOptions,
  type TcpProxyService,
  tcpProxyService,
} from '../src/index.ts'
import { ownBufferCount } from '../src/read-buffers.ts'
import { Client, Running, testContext, Upstream, until } from './support.ts'

const configuration = createConfiguration()
const DATA = join(import.meta.dirname, '../../core/test/data')
const CERT = readFileSync(join(DATA, 'localhost.pem'))
const KEY = readFileSync(join(DATA, 'localhost-key.pem'))

function proxyTo(
  peer: string,
  options: TcpProxyOptions = {},
  hooks: Partial<StreamProxy> = {},
  peerOptions?: StreamPeerOptions,
): Promise<Running<TcpProxyService>> {
  const service = tcpProxyService(
    configuration,
    { upstreamPeer: () => new StreamPeer(peer, peerOptions), ...hooks },
    options,
  )
  return Running.start(service.addTcp('127.0.0.1:0'))
}

/** A proxy that promises what `logging` gets. */
function logged(): { hooks: Partial<StreamProxy>; ended: Promise<[StreamSession, ProxyError | undefined]> } {
  const { promise, resolve } = Promise.withResolvers<[StreamSession, ProxyError | undefined]>()
  return { hooks: { logging: (session, error) => resolve([session, error]) }, ended: promise }
}

const REJECT = (_resolve: unknown, reject: (error: Error) => void): void => reject(new Error('x'))

test('relays both ways, passes half-closes on, and counts bytes', async () => {
  await using upstream = await Upstream.start((socket) => {
    let text = ''
    socket.on('data', (data) => {
      text += String(data)
    })
    socket.on('end', () => socket.end(`got ${text}`))
  })
  const { hooks, ended } = logged()
  await using proxy = await proxyTo(upstream.address, {}, hooks)
  await using client = Client.to(proxy)
  client.socket.end('hello')
  expect(await client.rest()).toBe('got hello')
  const [session, error] = await ended
  expect(error).toBeUndefined()
  expect([session.bytesFromClient, session.bytesFromUpstream]).toEqual([5, 9])
  expect(session.remoteAddress).toBe('127.0.0.1')
  expect(proxy.service.stats()).toEqual({
    sessions: 1,
    open: 0,
    failed: 0,
    connectFailed: 0,
    bytesFromClients: 5,
    bytesFromUpstreams: 9,
  })
})

test('an upstream that ends first leaves the client’s direction open', async () => {
  const received: string[] = []
  await using upstream = await Upstream.start((socket) => {
    socket.end('bye')
    socket.on('data', (data) => received.push(String(data)))
  })
  await using proxy = await proxyTo(upstream.address)
  await using client = Client.to(proxy)
  expect(await client.rest()).toBe('bye')
  client.socket.end('still here')
  await until(() => received.length > 0)
  expect(received.join('')).toBe('still here')
  await client.closed
  await until(() => proxy.service.stats().open === 0)
})

test.each([
  ['to the upstream', true],
  ['to the client', false],
])('64 MiB %s arrive unchanged, with small writes between, to a reader that stalls', async (_way, up) => {
  const parts: Buffer[] = []
  const block = randomBytes(1 << 20)
  for (let index = 0; index < 64; index++) parts.push(block, block.subarray(index, index + 700))
  const sent = createHash('sha256')
  for (const part of parts) sent.update(part)
  const send = async (socket: Socket) => {
    for (const part of parts) {
      if (!socket.write(part)) await once(socket, 'drain')
    }
    socket.end()
  }
  const received = createHash('sha256')
  const receive = (socket: Socket) =>
    new Promise<string>((resolve) => {
      let count = 0
      socket.on('data', (chunk: Buffer) => {
        received.update(chunk)
        count += chunk.length
        if (count % 7 === 0) {
          socket.pause()
          setImmediate(() => socket.resume())
        }
      })
      socket.on('end', () => {
        socket.end()
        resolve(received.digest('hex'))
      })
    })
  let arrived: Promise<string> | undefined
  await using upstream = await Upstream.start((socket) => {
    if (up) arrived = receive(socket)
    else {
      void send(socket)
      socket.resume()
    }
  })
  await using proxy = await proxyTo(upstream.address)
  const client = connect({ host: '127.0.0.1', port: proxy.port(), allowHalfOpen: true })
  if (up) {
    client.resume()
    await send(client)
    await until(() => arrived !== undefined)
  } else arrived = receive(client)
  expect(await arrived).toBe(sent.digest('hex'))
  await until(() => proxy.service.stats().open === 0)
})

test('many connections at once never see each other’s bytes', async () => {
  await using upstream = await Upstream.start((socket) => {
    socket.once('data', (data) => {
      const seed = Number(String(data))
      // Sizes on both sides of every threshold.
      for (let index = 0; index < 40; index++) socket.write(Buffer.alloc(1 << (index % 18), seed))
      socket.end()
    })
  })
  await using proxy = await proxyTo(upstream.address)
  const total = Array.from({ length: 40 }, (_unused, index) => 1 << (index % 18)).reduce((a, b) => a + b)
  await Promise.all(
    Array.from({ length: 32 }, async (_unused, seed) => {
      const client = connect({ host: '127.0.0.1', port: proxy.port() })
      client.write(String(seed + 1))
      let count = 0
      for await (const chunk of client) {
        expect((chunk as Buffer).every((byte) => byte === seed + 1)).toBe(true)
        count += (chunk as Buffer).length
      }
      expect(count).toBe(total)
    }),
  )
})

test('a client that reads nothing stops the upstream’s sender, with little held between', async () => {
  let written = 0
  await using upstream = await Upstream.start((socket) => {
    const block = Buffer.alloc(1 << 20)
    const fill = () => {
      while (!socket.destroyed && written < 512 && socket.write(block)) written++
      written++
    }
    socket.on('drain', fill)
    fill()
  })
  await using proxy = await proxyTo(upstream.address)
  const client = connect({ host: '127.0.0.1', port: proxy.port() }).pause()
  client.on('error', () => undefined)
  await once(client, 'connect')
  let before = -1
  while (before !== written) {
    before = written
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  expect(written).toBeLessThan(64) // MiB, nearly all of it in the kernel's socket buffers
  client.destroy()
  await until(() => proxy.service.stats().open === 0)
})

test('a reset on one side is a reset on the other, and names who caused it', async () => {
  await using upstream = await Upstream.start((socket) => {
    socket.on('data', (data) => {
      if (String(data) === 'reset') socket.resetAndDestroy()
    })
  })
  const errors: (ProxyError | undefined)[] = []
  await using proxy = await proxyTo(
    upstream.address,
    {},
    { logging: (_session, error) => errors.push(error) },
  )
  await using client = Client.to(proxy)
  client.socket.write('reset')
  await client.closed
  expect(client.wasReset).toBe(true)
  await using other = Client.to(proxy)
  other.socket.write('x')
  await until(() => upstream.sockets.length === 2)
  const lost = new Promise((resolve) => upstream.sockets[1]?.once('close', resolve))
  other.socket.resetAndDestroy()
  expect(await lost).toBe(true) // had an error
  await until(() => errors.length === 2)
  expect(errors.map((error) => [error?.code, error?.source])).toEqual([
    ['CONNECTION_CLOSED', 'upstream'],
    ['CONNECTION_CLOSED', 'downstream'],
  ])
  expect(proxy.service.stats().failed).toBe(2)
})

test('a session that is cut while an end is passed on ends, and leaves no socket behind', async () => {
  await using upstream = await Upstream.start((socket) => void socket.pipe(socket))
  const { hooks, ended } = logged()
  await using proxy = await proxyTo(
    upstream.address,
    {},
    {
      ...hooks,
      // In the turn in which the client's end goes on to the upstream.
      connectedToUpstream: (session) =>
        void session.downstream.once('end', () => process.nextTick(() => session.destroy())),
    },
  )
  await using client = Client.to(proxy)
  client.socket.end('hello')
  await ended
  await client.closed
  await until(() => !process.getActiveResourcesInfo().includes('TCPSocketWrap'))
})

test('silence both ways ends a session; traffic one way does not', async () => {
  await using upstream = await Upstream.echo()
  const { hooks, ended } = logged()
  await using proxy = await proxyTo(upstream.address, { idleTimeoutMs: 150 }, hooks)
  await using client = Client.to(proxy)
  for (let index = 0; index < 5; index++) {
    client.socket.write('x')
    await client.take(index + 1)
    await new Promise((resolve) => setTimeout(resolve, 60))
  }
  await client.closed
  expect(client.received).toBe('xxxxx')
  expect((await ended)[1]).toMatchObject({ code: 'READ_TIMEOUT', source: 'downstream' })
})

test('no session lasts longer than totalTimeoutMs, connecting included', async () => {
  await using upstream = await Upstream.echo()
  await using proxy = await proxyTo(upstream.address, { totalTimeoutMs: 100 })
  await using client = Client.to(proxy)
  const timer = setInterval(() => client.socket.write('x'), 10)
  await client.closed
  clearInterval(timer)
  expect(client.wasReset).toBe(true)
  await using hangs = await proxyTo(
    '',
    { totalTimeoutMs: 60 },
    { upstreamPeer: () => new Promise(() => undefined) },
  )
  await using waits = Client.to(hangs)
  await waits.closed
  await until(() => hangs.service.stats().open === 0)
})

test('tries another backend when one does not connect', async () => {
  await using upstream = await Upstream.echo()
  const dead = await Upstream.echo()
  const deadAddress = dead.address
  await dead[Symbol.asyncDispose]()
  const balancer = LoadBalancer.fromAddresses([deadAddress, upstream.address], roundRobin())
  const failed: string[] = []
  await using proxy = await proxyTo(
    '',
    {},
    {
      upstreamPeer: (session) =>
        new StreamPeer(
          balancer.select(undefined, {
            accept: (backend, eligible) => eligible && !session.triedAddresses.includes(backend.address),
          }),
        ),
      failToConnect: (_session, peer, error) => failed.push(`${peer} ${error.code}`),
    },
  )
  for (let index = 0; index < 4; index++) {
    await using client = Client.to(proxy)
    client.socket.write('x')
    await client.take(1)
  }
  expect(new Set(failed)).toEqual(new Set([`${deadAddress} CONNECT_REFUSED`]))
  expect(proxy.service.stats()).toMatchObject({ sessions: 4, connectFailed: failed.length })
})

test('gives up after connectAttemptsMax, or at once when the hook says so', async () => {
  const attempts = vi.fn(() => new StreamPeer('127.0.0.1:1'))
  const { hooks, ended } = logged()
  await using proxy = await proxyTo('', { connectAttemptsMax: 3 }, { ...hooks, upstreamPeer: attempts })
  await using client = Client.to(proxy)
  await client.closed
  expect(client.wasReset).toBe(true)
  expect(attempts).toHaveBeenCalledTimes(3)
  expect((await ended)[1]?.code).toBe('CONNECT_REFUSED')
  attempts.mockClear()
  await using strict = await proxyTo(
    '',
    {},
    {
      upstreamPeer: attempts,
      failToConnect: (_session, _peer, error) => {
        error.retry = 'never'
      },
    },
  )
  await using other = Client.to(strict)
  await other.closed
  expect(attempts).toHaveBeenCalledTimes(1)
})

test('no backend ends the session with NO_PEER', async () => {
  const { hooks, ended } = logged()
  await using proxy = await proxyTo('', {}, { ...hooks, upstreamPeer: () => new StreamPeer(undefined) })
  await using client = Client.to(proxy)
  await client.closed
  expect((await ended)[1]).toMatchObject({ code: 'NO_PEER', source: 'internal' })
})

test('a peer that does not answer is a connect timeout', async () => {
  // TLS with a peer that accepts and stays silent: works without a black hole in the network.
  await using upstream = await Upstream.start((socket) => socket.on('end', () => socket.end()).resume())
  const { hooks, ended } = logged()
  const peer: StreamPeerOptions = { tls: true, totalConnectTimeoutMs: 50 }
  await using proxy = await proxyTo(upstream.address, { connectAttemptsMax: 1 }, hooks, peer)
  await using client = Client.to(proxy)
  await client.closed
  expect((await ended)[1]).toMatchObject({ code: 'CONNECT_TIMEOUT', source: 'upstream' })
})

test('a client that leaves while we connect ends the attempt', async () => {
  const { promise, resolve } = Promise.withResolvers<StreamPeer>()
  await using upstream = await Upstream.echo()
  await using proxy = await proxyTo('', {}, { upstreamPeer: () => promise })
  await using client = Client.to(proxy)
  await until(() => proxy.service.stats().open === 1)
  client.socket.resetAndDestroy()
  await until(() => proxy.service.stats().open === 0)
  resolve(new StreamPeer(upstream.address))
  await new Promise((done) => setTimeout(done, 30))
  expect(upstream.sockets.length).toBe(0)
})

test.each([
  ['false', () => false],
  ['a promise of false', async () => false],
])('a filter that gives %s resets the client, without an error', async (_what, connectionFilter) => {
  const { hooks, ended } = logged()
  const upstreamPeer = vi.fn()
  await using proxy = await proxyTo('', {}, { ...hooks, connectionFilter, upstreamPeer })
  await using client = Client.to(proxy)
  await client.closed
  expect(client.wasReset).toBe(true)
  expect((await ended)[1]).toBeUndefined()
  expect(upstreamPeer).not.toHaveBeenCalled()
})

test.each<[string, Partial<StreamProxy>]>([
  ['connectionFilter', { connectionFilter: () => Promise.reject(new Error('x')) }],
  [
    'upstreamPeer',
    {
      upstreamPeer: () => {
        throw new Error('x')
      },
    },
  ],
  ['upstreamPeer', { upstreamPeer: () => 'nonsense' as never }],
  ['a connectionFilter that gives null', { connectionFilter: () => null as never }],
  ['a connectionFilter that gives a number', { connectionFilter: async () => 1 as never }],
  ['a thenable', { connectionFilter: () => Object.defineProperty({}, 'then', { value: REJECT }) as never }],
  [
    'connectedToUpstream',
    {
      connectedToUpstream: () => {
        throw new Error('x')
      },
    },
  ],
])('what %s throws ends the session as our own fault', async (_name, hook) => {
  await using upstream = await Upstream.echo()
  const { hooks, ended } = logged()
  await using proxy = await proxyTo(upstream.address, {}, { ...hooks, ...hook })
  await using client = Client.to(proxy)
  await client.closed
  expect((await ended)[1]).toMatchObject({ code: 'FILTER_FAILED', source: 'internal' })
})

test.each<[string, Partial<StreamProxy>]>([
  ['connectionFilter', { connectionFilter: () => new Promise(() => undefined) }],
  ['upstreamPeer', { upstreamPeer: () => new Promise(() => undefined) }],
])('%s that never answers ends the session after filterTimeoutMs', async (_name, hook) => {
  const { hooks, ended } = logged()
  await using proxy = await proxyTo('', { filterTimeoutMs: 30 }, { ...hooks, ...hook })
  await using client = Client.to(proxy)
  await client.closed
  expect(client.wasReset).toBe(true)
  expect((await ended)[1]).toMatchObject({ code: 'FILTER_TIMEOUT', source: 'internal' })
  await until(() => proxy.service.stats().open === 0)
})

test('a filter that answers in time is not held to the deadline afterwards', async () => {
  await using upstream = await Upstream.echo()
  const connectionFilter = () => new Promise<undefined>((resolve) => setImmediate(resolve, undefined))
  await using proxy = await proxyTo(upstream.address, { filterTimeoutMs: 50 }, { connectionFilter })
  await using client = Client.to(proxy)
  client.socket.write('x')
  await new Promise((resolve) => setTimeout(resolve, 120))
  client.socket.end('y')
  expect(await client.rest()).toBe('xy')
})

test('newCtx that gives a promise fails its connection, and not the process', async () => {
  await using upstream = await Upstream.echo()
  let fails = true
  const newCtx = () => (fails ? (Promise.reject(new Error('x')) as never) : undefined)
  await using proxy = await proxyTo(upstream.address, {}, { newCtx })
  await using client = Client.to(proxy)
  expect(await client.rest()).toBe('')
  fails = false
  await using next = Client.to(proxy)
  next.socket.end('x')
  expect(await next.rest()).toBe('x')
})

test('a promise that rejects where none is waited for is logged, and ends nothing', async () => {
  await using upstream = await Upstream.echo()
  const messages: string[] = []
  const service = tcpProxyService(configuration, {
    upstreamPeer: () => new StreamPeer(upstream.address),
    connectedToUpstream: () => Promise.reject(new Error('x')) as never,
    logging: () => Promise.reject(new Error('y')) as never,
  }).addTcp('127.0.0.1:0')
  const context = testContext()
  await service.start({
    ...context,
    logger: { ...context.logger, error: (text: string) => messages.push(text) },
  })
  await using client = new Client({
    host: '127.0.0.1',
    port: (service.endpoints()[0] as { port: number }).port,
  })
  client.socket.end('x')
  expect(await client.rest()).toBe('x')
  await service.drain()
  await until(() => messages.length === 2)
})

test('TLVs that cannot be written end the session, also when the peer came later', async () => {
  const options: StreamPeerOptions = {
    sendProxyProtocol: 2,
    proxyTlvs: [{ type: 0xe1, value: Buffer.alloc(65_536) }],
  }
  const { hooks, ended } = logged()
  const upstreamPeer = async () => new StreamPeer('127.0.0.1:1', options)
  await using proxy = await proxyTo('', {}, { ...hooks, upstreamPeer })
  await using client = Client.to(proxy)
  await client.closed
  expect((await ended)[1]?.code).toBe('FILTER_FAILED')
})

test('a ProxyError from a hook is the session’s error', async () => {
  const { hooks, ended } = logged()
  const upstreamPeer = () => Promise.reject(new ProxyError('CUSTOM_CLOSED', 'internal', 'Closed on Sundays'))
  await using proxy = await proxyTo('', {}, { ...hooks, upstreamPeer })
  await using client = Client.to(proxy)
  await client.closed
  expect((await ended)[1]?.code).toBe('CUSTOM_CLOSED')
})

test('the context is made once and reaches every hook', async () => {
  await using upstream = await Upstream.echo()
  const seen: string[] = []
  const app: StreamProxy<string[]> = {
    newCtx: () => seen,
    connectionFilter: (_session, ctx) => ctx.push('filter') > 0,
    upstreamPeer: (session, ctx) => {
      ctx.push(`peer ${session.ctx === ctx}`)
      return new StreamPeer(upstream.address)
    },
    connectedToUpstream: (session, peer, ctx) => {
      ctx.push(`connected ${session.peer === peer} ${session.upstreamDigest()?.remoteAddress}`)
    },
    logging: (_session, _error, ctx) => ctx.push('logging'),
  }
  const service = tcpProxyService(configuration, app).addTcp('127.0.0.1:0')
  await using proxy = await Running.start(service)
  await using client = Client.to(proxy)
  client.socket.end('x')
  await client.rest()
  await until(() => seen.length === 4)
  expect(seen).toEqual(['filter', 'peer true', 'connected true 127.0.0.1', 'logging'])
})

test('ends TLS of clients, and starts TLS to the peer', async () => {
  const secure = createTlsServer({ cert: CERT, key: KEY, allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined)
    socket.pipe(socket)
  })
  secure.listen(0, '127.0.0.1')
  await once(secure, 'listening')
  const { port } = secure.address() as { port: number }
  let digest: ConnectionDigest | undefined
  const service = tcpProxyService(configuration, {
    upstreamPeer: (session) => {
      digest = session.digest()
      return new StreamPeer(`127.0.0.1:${port}`, { tls: true, verifyCertificate: false, sni: 'localhost' })
    },
  })
  service.addTls('127.0.0.1:0', { cert: CERT, key: KEY })
  await using proxy = await Running.start(service)
  const client = connectTls({ host: '127.0.0.1', port: proxy.port(), rejectUnauthorized: false })
  const body = randomBytes(3 << 20)
  client.end(body)
  const echoed: Buffer[] = []
  for await (const chunk of client) echoed.push(chunk as Buffer)
  expect(Buffer.concat(echoed).equals(body)).toBe(true)
  expect(digest?.tls?.version).toBe('TLSv1.3')
  await until(() => service.stats().open === 0)
  secure.close()
})

test('a peer whose certificate is not trusted is refused', async () => {
  const secure = createTlsServer({ cert: CERT, key: KEY })
  secure.on('tlsClientError', () => undefined)
  secure.listen(0, '127.0.0.1')
  await once(secure, 'listening')
  const { port } = secure.address() as { port: number }
  const { hooks, ended } = logged()
  await using proxy = await proxyTo(`localhost:${port}`, { connectAttemptsMax: 1 }, hooks, { tls: true })
  await using client = Client.to(proxy)
  await client.closed
  expect((await ended)[1]).toMatchObject({ code: 'INVALID_CERT', source: 'upstream' })
  secure.close()
})

test.each([1, 2] as const)(
  'PROXY protocol %i passes through: from the one in front to the upstream',
  async (version) => {
    await using upstream = await Upstream.start((socket) => {
      socket.on('data', (data) => socket.end(data))
    })
    const peer: StreamPeerOptions = { sendProxyProtocol: version }
    const service = tcpProxyService(configuration, {
      upstreamPeer: () => new StreamPeer(upstream.address, peer),
    })
    service.addTcp('127.0.0.1:0', { proxyProtocol: { trusted: 'any' } })
    await using proxy = await Running.start(service)
    const client = connect(proxy.port(), '127.0.0.1')
    client.write('PROXY TCP4 192.0.2.7 192.0.2.8 1234 80\r\n')
    const chunks: Buffer[] = []
    for await (const chunk of client) chunks.push(chunk as Buffer)
    const result = readProxyHeader(Buffer.concat(chunks))
    expect(result).toMatchObject({
      kind: 'header',
      header: {
        version,
        source: { address: '192.0.2.7', port: 1234 },
        destination: { address: '192.0.2.8', port: 80 },
      },
    })
  },
)

test('with TLS to the peer, the PROXY header goes before it', async () => {
  const inner = tcpProxyService(configuration, {
    upstreamPeer: (session) => {
      expect(session.remoteAddress).toBe('127.0.0.1')
      expect(session.digest().proxy?.header.version).toBe(2)
      return new StreamPeer(upstream.address)
    },
  })
  inner.addTls('127.0.0.1:0', { cert: CERT, key: KEY }, { proxyProtocol: { trusted: 'any' } })
  await using upstream = await Upstream.echo()
  await using innerRunning = await Running.start(inner)
  const peer: StreamPeerOptions = { tls: true, verifyCertificate: false, sendProxyProtocol: 2 }
  await using outer = await proxyTo(`127.0.0.1:${innerRunning.port()}`, {}, {}, peer)
  await using client = Client.to(outer)
  client.socket.end('through')
  expect(await client.rest()).toBe('through')
})

test('draining lets busy sessions go on and ends silent ones', async () => {
  await using upstream = await Upstream.echo()
  await using proxy = await proxyTo(upstream.address, { drainIdleTimeoutMs: 200 })
  await using busy = Client.to(proxy)
  await using silent = Client.to(proxy)
  busy.socket.write('x')
  silent.socket.write('x')
  await Promise.all([busy.take(1), silent.take(1)])
  const drained = proxy.service.drain()
  const timer = setInterval(() => busy.socket.write('x'), 20)
  await silent.closed
  expect(busy.socket.closed).toBe(false)
  clearInterval(timer)
  busy.socket.end()
  await busy.rest()
  await drained
})

test.each<[object, ErrorConstructor]>([
  [{ idleTimeoutMs: -1 }, RangeError],
  [{ totalTimeoutMs: 2 ** 31 }, RangeError],
  [{ connectAttemptsMax: 0 }, RangeError],
  [{ drainIdleTimeoutMs: 0.5 }, RangeError],
  [{ filterTimeoutMs: -1 }, RangeError],
  [{ idleTimeout: 1 }, TypeError],
])('refuses the option %j', (options, error) => {
  const make = () => tcpProxyService(configuration, { upstreamPeer: () => new StreamPeer('a:1') }, options)
  expect(make).toThrow(error)
})

test('sessions that ended in any way have given their memory back', async () => {
  await using upstream = await Upstream.start((socket) => {
    socket.on('drain', () => socket.write(Buffer.alloc(1 << 20)))
    socket.write(Buffer.alloc(8 << 20))
  })
  await using proxy = await proxyTo(upstream.address)
  const clients = Array.from({ length: 8 }, () => connect({ host: '127.0.0.1', port: proxy.port() }))
  for (const client of clients) {
    client.on('error', () => undefined)
    await once(client, 'data')
    client.pause()
  }
  await until(() => ownBufferCount() > 0)
  for (const client of clients) client.resetAndDestroy()
  await until(() => proxy.service.stats().open === 0)
  expect(ownBufferCount()).toBe(0)
})

test('refuses an app without upstreamPeer, or with a hook that is no function', () => {
  expect(() => tcpProxyService(configuration, {} as StreamProxy)).toThrow(TypeError)
  const app = { upstreamPeer: () => new StreamPeer('a:1'), logging: 1 } as never
  expect(() => tcpProxyService(configuration, app)).toThrow(TypeError)
})

test.each<[object, ErrorConstructor]>([
  [{ tls: 1 }, TypeError],
  [{ sni: 'a' }, TypeError],
  [{ tls: true, cert: 'x' }, TypeError],
  [{ timeoutMs: 1 }, TypeError],
  [{ connectTimeoutMs: 0 }, RangeError],
  [{ tcpKeepAliveMs: -1 }, RangeError],
  [{ localAddress: 'localhost' }, TypeError],
  [{ sendProxyProtocol: 3 }, TypeError],
  [{ sendProxyProtocol: 1, proxyTlvs: [] }, TypeError],
  [{ verifyCertificate: false }, TypeError],
])('refuses the peer option %j', (options, error) => {
  expect(() => new StreamPeer('a:1', options as StreamPeerOptions)).toThrow(error)
})
