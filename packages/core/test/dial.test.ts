import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import net, { type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Duplex, duplexPair, PassThrough } from 'node:stream'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { ProxyError } from '@cirque/error'
import { sharedWheel } from '@cirque/timeout'
import { expect, test } from 'vitest'
import { type ClientSession, type Connector, HttpPeer, type HttpPeerOptions } from '../src/index.ts'
import { turn } from './support/raw-client.ts'
import {
  answering,
  fetchOver,
  send,
  startConnector,
  startUpstream,
  type Upstream,
} from './support/upstream.ts'

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
const data = (name: string): Buffer => readFileSync(new URL(`./data/${name}`, import.meta.url))
const CERT = data('localhost.pem')
const TLS = { cert: CERT, key: data('localhost-key.pem') }

async function failureOf(connector: Connector, peer: HttpPeer): Promise<ProxyError> {
  return await connector.session(peer).then(
    () => {
      throw new Error('It connected')
    },
    (error: ProxyError) => error,
  )
}

test('a refused connection may be tried again elsewhere', async () => {
  const free = net.createServer().listen(0, '127.0.0.1')
  await once(free, 'listening')
  const { port } = free.address() as net.AddressInfo
  free.close()
  await once(free, 'close')
  await using connector = startConnector()
  expect(await failureOf(connector, new HttpPeer(`127.0.0.1:${port}`))).toMatchObject({
    code: 'CONNECT_REFUSED',
    source: 'upstream',
    retry: 'allowed',
  })
  expect(connector.stats()).toMatchObject({ failed: 1, open: 0 })
})

test('a name that does not resolve, and one whose resolver hangs', async () => {
  await using connector = startConnector({
    dns: {
      resolveTimeoutMs: 30,
      resolve: (host) =>
        host === 'hangs.test'
          ? new Promise(() => undefined)
          : Promise.reject(Object.assign(new Error('unknown'), { code: 'ENOTFOUND' })),
    },
  })
  expect(await failureOf(connector, new HttpPeer('unknown.test:80'))).toMatchObject({
    code: 'DNS_FAILED',
    retry: 'allowed',
  })
  expect(await failureOf(connector, new HttpPeer('hangs.test:80'))).toMatchObject({
    source: 'upstream',
    retry: 'allowed',
  })
})

test('a name that resolves is connected to, with or without a source address', async () => {
  await using upstream = await startUpstream(answering(OK))
  for (const options of [{}, { bindToIpv4: ['127.0.0.1'] }]) {
    await using connector = startConnector({
      ...options,
      dns: { resolve: () => Promise.resolve({ addresses: [{ address: '127.0.0.1', family: 4 }] }) },
    })
    expect((await fetchOver(connector, new HttpPeer(`some.test:${upstream.port}`))).body).toBe('ok')
  }
})

test('connectTimeoutMs and totalConnectTimeoutMs end a connect that hangs, and abort its signal', async () => {
  await using connector = startConnector()
  for (const name of ['connectTimeoutMs', 'totalConnectTimeoutMs']) {
    let signal: AbortSignal | undefined
    const connect: HttpPeerOptions['connect'] = (_peer, given) => {
      signal = given
      return new Promise(() => undefined)
    }
    expect(await failureOf(connector, new HttpPeer('a:80', { connect, [name]: 30 }))).toMatchObject({
      code: 'CONNECT_TIMEOUT',
      retry: 'allowed',
    })
    expect(signal?.aborted).toBe(true)
  }
})

test('a TLS handshake that hangs times out', async () => {
  await using upstream = await startUpstream(() => undefined)
  await using connector = startConnector()
  const error = await failureOf(connector, upstream.peer({ tls: true, connectTimeoutMs: 40 }))
  expect(error).toMatchObject({ code: 'CONNECT_TIMEOUT', source: 'upstream' })
})

test('a cancelled connect calls nobody, and leaves neither socket nor timer', async () => {
  const armed = sharedWheel.armedCount
  await using upstream = await startUpstream(() => undefined)
  await using connector = startConnector()
  const calls: string[] = []
  const handler = { onConnected: () => calls.push('connected'), onConnectError: () => calls.push('error') }
  for (const options of [{}, { tls: true }, { proxy: { address: upstream.address } }]) {
    connector.connect(upstream.peer(options), handler).cancel()
    if (!('tls' in options || 'proxy' in options)) continue
    const later = connector.connect(upstream.peer(options), handler)
    await turn()
    later.cancel()
  }
  for (let i = 0; i < 20; i++) await turn()
  expect(calls).toEqual([])
  expect(sharedWheel.armedCount).toBe(armed)
})

test('cancelling a connect that has succeeded leaves its connection alone', async () => {
  await using upstream = await startUpstream(answering(OK))
  await using connector = startConnector()
  const session = await new Promise<ClientSession>((resolve, reject) => {
    const pending = connector.connect(upstream.peer(), {
      onConnected: (connected) => {
        pending.cancel()
        resolve(connected)
      },
      onConnectError: reject,
    })
  })
  expect((await send(session).done).body).toBe('ok')
  connector.release(session)
})

test('a pooled connection holds on to no request that used it', async () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  await using upstream = await startUpstream(answering(OK))
  await using connector = startConnector()
  const first = await (async () => {
    const handler = { session: null as ClientSession | null, payload: new Uint8Array(1) }
    await new Promise<void>((resolve, reject) => {
      connector.connect(upstream.peer(), {
        onConnected: (session) => {
          handler.session = session
          resolve()
        },
        onConnectError: reject,
      })
    })
    const session = handler.session as ClientSession | null
    if (session === null) throw new Error('Not connected')
    const recorder = await send(session).done
    connector.release(session)
    return [new WeakRef(handler), new WeakRef(recorder)]
  })()
  for (let i = 0; i < 10 && first.some((one) => one.deref() !== undefined); i++) {
    await turn()
    collect()
  }
  expect(connector.stats().idle).toBe(1)
  expect(first.map((one) => one.deref())).toEqual([undefined, undefined])
})

test('the handler is never called within connect()', async () => {
  await using connector = startConnector()
  for (const [peer, code] of [
    [new HttpPeer(undefined), 'NO_PEER'],
    [new HttpPeer(undefined, { proxy: { address: '127.0.0.1:1' } }), 'NO_PEER'],
    [new HttpPeer('unix:/a', { proxy: { address: '127.0.0.1:1' } }), 'CONNECT_PROXY_FAILED'],
    [new HttpPeer('127.0.0.1:1', { tls: true, curves: 'nonsense' }), 'CONNECT_ERROR'],
  ] as const) {
    let within = true
    const error = await new Promise<ProxyError>((resolve, reject) => {
      connector.connect(peer, {
        onConnected: reject,
        onConnectError: (failure) => {
          expect(within).toBe(false)
          resolve(failure)
        },
      })
      within = false
    })
    expect(error).toMatchObject({ code, source: 'internal' })
  }
})

test('a Unix socket as upstream', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'cirque-'))
  const path = join(folder, 's')
  const server = net.createServer({ allowHalfOpen: true }, (socket) => answering(OK)(socket, 0)).listen(path)
  await once(server, 'listening')
  {
    await using connector = startConnector()
    const peer = new HttpPeer(`unix:${path}`)
    expect((await fetchOver(connector, peer)).body).toBe('ok')
    expect((await fetchOver(connector, peer)).body).toBe('ok')
    expect(connector.stats().reused).toBe(1)
    expect(await failureOf(connector, new HttpPeer(`unix:${path}-none`))).toMatchObject({ retry: 'allowed' })
  }
  server.close()
  rmSync(folder, { recursive: true })
})

// --- through a proxy ---------------------------------------------------------------------------

/** Answers CONNECT with `answer`; when that ends with "|", what follows the tunnel's bytes is answered with OK. */
function connectProxy(answer: string, heads: string[] = []): (socket: Socket) => void {
  return (socket) => {
    socket.once('data', (chunk: Buffer) => {
      heads.push(chunk.toString('latin1'))
      socket.write(answer)
      answering(OK)(socket, 0)
    })
  }
}

test('CONNECT through a next hop carries requests; its answer may come in pieces', async () => {
  const answer = 'HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 Connection established\r\nX: y\r\n\r\n'
  const heads: string[] = []
  let cut = 0
  await using proxy = await startUpstream((socket) => {
    socket.once('data', async (chunk: Buffer) => {
      heads.push(chunk.toString('latin1'))
      socket.write(answer.slice(0, cut))
      await turn()
      answering(OK)(socket, 0)
      socket.write(answer.slice(cut))
    })
  })
  await using connector = startConnector({ keepalivePoolSize: 0 })
  const peer = new HttpPeer('target.test:81', {
    proxy: { address: proxy.address, headers: { 'Proxy-Authorization': 'Basic x' } },
  })
  for (cut = 1; cut < answer.length; cut += 3) expect((await fetchOver(connector, peer)).body).toBe('ok')
  expect(heads[0]).toBe(
    'CONNECT target.test:81 HTTP/1.1\r\nHost: target.test:81\r\nProxy-Authorization: Basic x\r\n\r\n',
  )
})

test.each([
  ['a refusal', 'HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n'],
  ['a malformed answer', 'SSH-2.0\r\n\r\n'],
  ['a body', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'],
  ['surplus bytes', 'HTTP/1.1 200 OK\r\n\r\nearly'],
  ['a head without end', `HTTP/1.1 200 OK\r\nX: ${'y'.repeat(20_000)}`],
])('CONNECT answered with %s fails the connect', async (_name, answer) => {
  await using proxy = await startUpstream(connectProxy(answer))
  await using connector = startConnector()
  const error = await failureOf(connector, new HttpPeer('a.test:80', { proxy: { address: proxy.address } }))
  expect(error).toMatchObject({ code: 'CONNECT_PROXY_FAILED', source: 'upstream' })
})

test('a next hop that closes before or within its answer fails at once, however it closes', async () => {
  for (const way of ['end', 'resetAndDestroy'] as const) {
    for (const part of ['', 'HTTP/1.1 200']) {
      await using proxy = await startUpstream((socket) => {
        socket.once('data', () => socket.write(part, () => socket[way]()))
      })
      await using connector = startConnector()
      const started = performance.now()
      const error = await failureOf(
        connector,
        new HttpPeer('a.test:80', { proxy: { address: proxy.address } }),
      )
      expect(error).toMatchObject({ source: 'upstream', retry: 'allowed' })
      expect(performance.now() - started).toBeLessThan(2_000)
    }
  }
})

test('TLS inside of CONNECT', async () => {
  await using upstream = await startUpstream(answering(OK), TLS)
  await using proxy = await startUpstream((socket) => {
    socket.once('data', () => {
      const onward = net.connect(upstream.port, '127.0.0.1', () => {
        socket.write('HTTP/1.1 200 OK\r\n\r\n')
        socket.pipe(onward).pipe(socket)
      })
      onward.on('error', () => socket.destroy())
      socket.on('close', () => onward.destroy())
    })
  })
  await using connector = startConnector()
  const peer = new HttpPeer('localhost:443', { tls: true, ca: CERT, proxy: { address: proxy.address } })
  expect((await fetchOver(connector, peer)).body).toBe('ok')
  expect((await fetchOver(connector, peer)).body).toBe('ok')
  expect(proxy.sockets.length).toBe(1)
})

// --- custom transports -------------------------------------------------------------------------

test('a custom transport: any Duplex, kept for the next request, ended by its end', async () => {
  const far: Duplex[] = []
  const connect: HttpPeerOptions['connect'] = () => {
    const [near, other] = duplexPair()
    other.on('error', () => undefined)
    far.push(other)
    // Later: a stream counts as written once the other end has read.
    other.on('data', () => setImmediate(() => other.write(OK)))
    other.on('end', () => other.end())
    return Promise.resolve(near)
  }
  await using connector = startConnector()
  const peer = new HttpPeer('a:80', { connect })
  for (let i = 0; i < 3; i++) expect((await fetchOver(connector, peer)).body).toBe('ok')
  expect(far.length).toBe(1)
  far[0]?.end()
  while (connector.stats().open > 0) await turn()
})

test('the signal of a custom connect is not aborted once it has connected', async () => {
  await using upstream = await startUpstream(answering(OK))
  let signal: AbortSignal | undefined
  const connect: HttpPeerOptions['connect'] = async (_peer, given) => {
    signal = given
    const socket = net.connect({ port: upstream.port, host: '127.0.0.1', signal: given })
    await once(socket, 'connect')
    return socket
  }
  await using connector = startConnector()
  const peer = new HttpPeer('a:80', { connect })
  for (let i = 0; i < 2; i++) expect((await fetchOver(connector, peer)).body).toBe('ok')
  expect(signal?.aborted).toBe(false)
  expect(upstream.sockets.length).toBe(1)
})

test('a custom connect that fails, throws, or gives something else', async () => {
  await using connector = startConnector()
  const dead = new PassThrough()
  dead.destroy()
  for (const [connect, expected] of [
    [() => Promise.reject(new Error('mine')), { code: 'CONNECT_ERROR', retry: 'allowed' }],
    [
      () => {
        throw new Error('mine')
      },
      { code: 'CONNECT_ERROR', retry: 'allowed' },
    ],
    [() => Promise.resolve({} as Duplex), { code: 'CONNECT_ERROR', source: 'internal' }],
    [() => Promise.resolve(dead), { code: 'CONNECT_ERROR', retry: 'allowed' }],
  ] as const) {
    expect(await failureOf(connector, new HttpPeer('a:80', { connect }))).toMatchObject(expected)
  }
})

test('a custom transport that comes too late is destroyed', async () => {
  const late = new PassThrough()
  let give: (stream: Duplex) => void = () => undefined
  await using connector = startConnector()
  const connect: HttpPeerOptions['connect'] = () => new Promise((resolve) => (give = resolve))
  await failureOf(connector, new HttpPeer('a:80', { connect, connectTimeoutMs: 20 }))
  give(late)
  await once(late, 'close')
})

// --- TLS ---------------------------------------------------------------------------------------

async function startTlsUpstream(): Promise<Upstream> {
  return startUpstream(answering(OK), TLS)
}

test('TLS: the certificate must come from the given authority and name the peer', async () => {
  await using upstream = await startTlsUpstream()
  await using connector = startConnector()
  const byName = (options: HttpPeerOptions, host: string = 'localhost') =>
    new HttpPeer(`${host}:${upstream.port}`, { tls: true, ...options })
  for (const peer of [
    byName({ ca: CERT }),
    byName({ ca: CERT }, '127.0.0.1'),
    byName({ ca: CERT, sni: 'localhost' }, '127.0.0.1'),
    byName({ ca: CERT, sni: 'other.test', alternativeName: 'localhost' }, '127.0.0.1'),
    byName({ ca: CERT, sni: 'other.test', verifyHostname: false }, '127.0.0.1'),
    byName({ verifyCertificate: false }),
  ]) {
    expect((await fetchOver(connector, peer)).body).toBe('ok')
  }
  expect(connector.stats().reused).toBe(0)
  for (const peer of [
    byName({}),
    byName({ ca: CERT, sni: 'other.test' }),
    byName({ ca: CERT, alternativeName: 'other.test' }),
    byName({ verifyHostname: false }),
  ]) {
    expect(await failureOf(connector, peer)).toMatchObject({ code: 'INVALID_CERT', source: 'upstream' })
  }
})

test('TLS: the server name is the host when that is a name, and the digest tells of it', async () => {
  const asked: (string | false)[] = []
  await using upstream = await startUpstream((socket) => {
    asked.push((socket as unknown as { servername: string | false }).servername)
    answering(OK)(socket, 0)
  }, TLS)
  await using connector = startConnector()
  const ca = CERT
  await fetchOver(connector, new HttpPeer(`localhost:${upstream.port}`, { tls: true, ca }))
  await fetchOver(connector, new HttpPeer(`127.0.0.1:${upstream.port}`, { tls: true, ca }))
  await fetchOver(connector, new HttpPeer(`127.0.0.1:${upstream.port}`, { tls: true, ca, sni: 'localhost' }))
  expect(asked).toEqual(['localhost', false, 'localhost'])
  const session = await connector.session(new HttpPeer(`localhost:${upstream.port}`, { tls: true, ca }))
  expect(session.digest()).toMatchObject({
    remotePort: upstream.port,
    requestCount: 2,
    tls: { version: 'TLSv1.3' },
  })
  await send(session).done
  connector.release(session)
})

test('caFile is trusted where a peer names no authority', async () => {
  await using upstream = await startTlsUpstream()
  await using connector = startConnector({
    caFile: new URL('./data/localhost.pem', import.meta.url).pathname,
  })
  expect((await fetchOver(connector, new HttpPeer(`localhost:${upstream.port}`, { tls: true }))).body).toBe(
    'ok',
  )
})

test('TLS to something that speaks none', async () => {
  await using upstream = await startUpstream(answering('HTTP/1.1 400 Bad Request\r\n\r\n'))
  upstream.server.on('connection', (socket: Socket) => socket.once('data', () => socket.end('no TLS here')))
  await using connector = startConnector()
  expect(await failureOf(connector, upstream.peer({ tls: true }))).toMatchObject({
    source: 'upstream',
    retry: 'allowed',
  })
})
