import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls, createServer as createTlsServer, type TLSSocket } from 'node:tls'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  type ConnectionDigest,
  Connector,
  clientAddressOf,
  connectionDigest,
  HttpPeer,
  ListeningService,
  type ListeningServiceOptions,
  type ProxyHeader,
  type ProxyProtocolOptions,
  proxyHeaderFor,
  proxyHeaderOf,
  serveHttp,
  type TcpAddress,
  writeProxyHeader,
} from '../src/index.ts'
import { RawClient } from './support/raw-client.ts'
import { Client, testContext } from './support.ts'

const CERT_FILE = join(import.meta.dirname, 'data/localhost.pem')
const KEY_FILE = join(import.meta.dirname, 'data/localhost-key.pem')
const TLS = { certFile: CERT_FILE, keyFile: KEY_FILE }
const V1 = 'PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n'

const header: ProxyHeader = {
  version: 2,
  command: 'proxy',
  transport: 'tcp6',
  source: { address: '2001:db8::1', port: 1234 },
  destination: { address: '2001:db8::2', port: 443 },
  tlvs: [{ type: 0x02, value: Buffer.from('a.example') }],
}

/** Echoes, and tells the digest of each connection; drained at the end of its scope. */
class Echo implements AsyncDisposable {
  readonly digests: ConnectionDigest[] = []
  readonly sockets: Socket[] = []
  readonly service: ListeningService

  constructor(options?: ListeningServiceOptions) {
    this.service = new ListeningService(
      'echo',
      {
        onConnection: (socket) => {
          this.sockets.push(socket)
          this.digests.push(connectionDigest(socket, 0, 1))
          socket.pipe(socket)
        },
        startDraining: () => undefined,
      },
      options,
    )
  }

  async start(): Promise<this> {
    await this.service.start(testContext())
    return this
  }

  get port(): number {
    return (this.service.endpoints()[0] as TcpAddress).port
  }

  connect(): Client {
    return new Client({ host: '127.0.0.1', port: this.port })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const drained = this.service.drain()
    this.service.destroy()
    await drained
    expect(this.service.counters.openCount).toBe(0)
  }
}

function proxied(
  options: Partial<ProxyProtocolOptions> = {},
  service?: ListeningServiceOptions,
): Promise<Echo> {
  const echo = new Echo(service)
  echo.service.addTcp('127.0.0.1:0', { proxyProtocol: { trusted: ['127.0.0.0/8'], ...options } })
  return echo.start()
}

let folder: string

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'cirque-proxy-'))
})

afterAll(() => rmSync(folder, { recursive: true }))

test('the digest shows the client, and keeps the proxy', async () => {
  await using echo = await proxied()
  await using client = echo.connect()
  await client.exchange(`${V1}hello`, 'hello')
  expect(client.received).toBe('hello')
  expect(echo.digests[0]).toMatchObject({
    remoteAddress: '192.0.2.1',
    remotePort: 56324,
    localAddress: '198.51.100.7',
    localPort: 443,
    proxy: {
      remoteAddress: '127.0.0.1',
      remotePort: client.socket.localPort,
      localAddress: '127.0.0.1',
      localPort: echo.port,
      header: { version: 1 },
    },
  })
  const [socket] = echo.sockets
  expect(clientAddressOf(socket as Socket)).toBe('192.0.2.1')
})

test.each([
  ['version 1', Buffer.from(V1)],
  ['version 2', writeProxyHeader(header, { crc32c: true })],
])('%s may arrive split anywhere, with data right behind it', async (_what, bytes) => {
  await using echo = await proxied()
  const all = Buffer.concat([bytes, Buffer.from('tail')])
  const clients: Client[] = []
  for (let at = 1; at < all.length; at++) {
    const client = echo.connect()
    clients.push(client)
    await once(client.socket, 'connect')
    client.socket.setNoDelay(true)
    client.socket.write(all.subarray(0, at))
  }
  await new Promise((resolve) => setImmediate(resolve))
  for (const [index, client] of clients.entries()) {
    client.socket.write(all.subarray(index + 1))
    while (client.received.length < 4) await once(client.socket, 'data')
    expect(client.received).toBe('tail')
    await client[Symbol.asyncDispose]()
  }
  expect(echo.digests.length).toBe(clients.length)
})

test('a header alone hands the connection over at once, for protocols where the server speaks first', async () => {
  const service = new ListeningService('greeter', {
    onConnection: (socket) => void socket.end('220 hello\r\n'),
    startDraining: () => undefined,
  })
  service.addTcp('127.0.0.1:0', { proxyProtocol: { trusted: 'any' } })
  await service.start(testContext())
  await using client = new Client({ host: '127.0.0.1', port: (service.endpoints()[0] as TcpAddress).port })
  client.socket.write(V1)
  await client.closed
  expect(client.received).toBe('220 hello\r\n')
  await service.drain()
})

test('the header comes before TLS, whose ClientHello may follow in the same packet', async () => {
  const echo = new Echo()
  echo.service.addTls('127.0.0.1:0', TLS, { proxyProtocol: { trusted: 'any' } })
  await using _ = await echo.start()
  for (const at of [undefined, 1, 20, 30]) {
    const bytes = writeProxyHeader(header)
    const raw = echo.connect()
    raw.socket.removeAllListeners('data')
    raw.socket.pause()
    await once(raw.socket, 'connect')
    raw.socket.write(bytes.subarray(0, at))
    if (at !== undefined) {
      await new Promise((resolve) => setImmediate(resolve))
      raw.socket.write(bytes.subarray(at))
    }
    const secure: TLSSocket = connectTls({ socket: raw.socket, rejectUnauthorized: false })
    secure.write('over TLS')
    const [data] = (await once(secure, 'data')) as [Buffer]
    expect(String(data)).toBe('over TLS')
    secure.destroy()
    await raw[Symbol.asyncDispose]()
  }
  expect(echo.digests.length).toBe(4)
  for (const digest of echo.digests) {
    expect(digest).toMatchObject({ remoteAddress: '2001:db8::1', tls: { version: 'TLSv1.3' } })
    expect(digest.proxy?.header).toEqual(header)
  }
})

test('two handshakes at the same time keep their clients apart', async () => {
  const echo = new Echo()
  echo.service.addTls('127.0.0.1:0', TLS, { proxyProtocol: { trusted: 'any' } })
  await using _ = await echo.start()
  const names = Array.from({ length: 20 }, (_unused, index) => `192.0.2.${index + 1}`)
  await Promise.all(
    names.map(async (name) => {
      await using raw = echo.connect()
      raw.socket.removeAllListeners('data')
      raw.socket.pause()
      await once(raw.socket, 'connect')
      raw.socket.write(`PROXY TCP4 ${name} 192.0.2.100 1 2\r\n`)
      const secure = connectTls({ socket: raw.socket, rejectUnauthorized: false })
      const port = raw.socket.localPort
      secure.write('x')
      await once(secure, 'data')
      const digest = echo.digests.find((one) => one.proxy?.remotePort === port)
      expect(digest?.remoteAddress).toBe(name)
      secure.destroy()
    }),
  )
})

test('who is not trusted is reset, and never read', async () => {
  await using echo = await proxied({ trusted: ['192.0.2.0/24', '::1', '127.0.0.2'] })
  await using client = echo.connect()
  client.socket.write(V1)
  await client.closed
  expect(echo.service.counters).toMatchObject({ refusedCount: 1, proxyHeaderFailedCount: 0 })
  await using second = new Client({ host: '127.0.0.1', port: echo.port, localAddress: '127.0.0.2' })
  await second.exchange(`${V1}x`, 'x')
})

test('IPv4 that a dual-stack socket shows mapped is matched as IPv4', async () => {
  const echo = new Echo()
  echo.service.addTcp('[::]:0', { proxyProtocol: { trusted: ['127.0.0.1'] } })
  await using _ = await echo.start()
  await using client = echo.connect()
  await client.exchange(`${V1}x`, 'x')
  expect(echo.digests[0]?.proxy?.remoteAddress).toBe('::ffff:127.0.0.1')
})

test('not required: direct clients are served, and who is not trusted cannot speak for others', async () => {
  await using echo = await proxied({ trusted: ['127.0.0.2'], required: false })
  await using direct = echo.connect()
  await direct.exchange(V1, V1)
  expect(echo.digests[0]).toMatchObject({ remoteAddress: '127.0.0.1', proxy: undefined })
  await using trusted = new Client({ host: '127.0.0.1', port: echo.port, localAddress: '127.0.0.2' })
  await trusted.exchange('GET / HTTP/1.1\r\n', 'GET / HTTP/1.1\r\n')
  expect(echo.digests[1]).toMatchObject({ remoteAddress: '127.0.0.2', proxy: undefined })
})

test.each([
  ['malformed', 'PROXY TCP4 a b c d\r\n'],
  ['missing', 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['of another version', writeProxyHeader(header).toString('latin1')],
])('a header that is %s ends in a reset, is counted, and reaches no app', async (_what, bytes) => {
  await using echo = await proxied({ versions: [1] })
  await using client = new RawClient(echo.port)
  client.send(bytes)
  await client.rest()
  expect(client.wasReset).toBe(true)
  expect(echo.service.counters).toMatchObject({ proxyHeaderFailedCount: 1, refusedCount: 0, openCount: 0 })
  expect(echo.digests).toEqual([])
})

test('a client that ends within the header, and one that sends nothing, are reset', async () => {
  await using echo = await proxied({ timeoutMs: 60 })
  await using ends = echo.connect()
  ends.socket.end('PROXY TC')
  await using waits = echo.connect()
  await Promise.all([ends.closed, waits.closed])
  expect(echo.service.counters.proxyHeaderFailedCount).toBe(2)
})

test('a header that trickles does not get more time', async () => {
  await using echo = await proxied({ timeoutMs: 100 })
  await using client = echo.connect()
  const timer = setInterval(() => client.socket.write('PROXY UNKNOWN ' === client.received ? '' : 'P'), 20)
  client.socket.write('PROXY UNKNOWN ')
  await client.closed
  clearInterval(timer)
  expect(echo.service.counters.proxyHeaderFailedCount).toBe(1)
})

test('a header at the cap passes, one byte more does not', async () => {
  await using echo = await proxied({ headerBytesMax: 300 })
  const sized = (bytes: number) =>
    writeProxyHeader({ ...header, tlvs: [{ type: 0xe1, value: Buffer.alloc(bytes - 16 - 36 - 3) }] })
  expect(sized(300).length).toBe(300)
  await using fits = echo.connect()
  fits.socket.write(sized(300))
  await fits.exchange('x', 'x')
  await using tooLong = echo.connect()
  tooLong.socket.write(sized(301))
  await tooLong.closed
  expect(echo.service.counters.proxyHeaderFailedCount).toBe(1)
})

test('LOCAL and unspecified headers leave the connection its own addresses', async () => {
  await using echo = await proxied()
  for (const bytes of [writeProxyHeader({ ...header, command: 'local' }), Buffer.from('PROXY UNKNOWN\r\n')]) {
    await using client = echo.connect()
    client.socket.write(bytes)
    await client.exchange('x', 'x')
    expect(echo.digests.at(-1)).toMatchObject({
      remoteAddress: '127.0.0.1',
      remotePort: client.socket.localPort,
    })
    expect(echo.digests.at(-1)?.proxy).toBeDefined()
  }
})

test('on a Unix socket everybody who may open it is trusted', async () => {
  const echo = new Echo()
  const path = join(folder, 'proxy.sock')
  echo.service.addUnix(path, { proxyProtocol: { trusted: 'any' } })
  await using _ = await echo.start()
  await using client = new Client({ path })
  await client.exchange(`${V1}x`, 'x')
  expect(echo.digests[0]).toMatchObject({ remoteAddress: '192.0.2.1', proxy: { remoteAddress: undefined } })
  await using local = new Client({ path })
  const unix = { address: '/run/a', port: 0 }
  local.socket.write(
    writeProxyHeader({ ...header, transport: 'unix-stream', source: unix, destination: unix }),
  )
  await local.exchange('x', 'x')
  expect(echo.digests[1]?.remoteAddress).toBeUndefined()
  expect(echo.digests[1]?.proxy?.header.source).toEqual(unix)
})

test('the filter and the cap per client see the client, not the proxy', async () => {
  await using echo = await proxied({}, { connectionsPerIpMax: 1 })
  const seen: (string | undefined)[] = []
  echo.service.setConnectionFilter({
    shouldAccept: (address) => {
      seen.push(address)
      return address !== '192.0.2.66'
    },
  })
  const header = (ip: string) => `PROXY TCP4 ${ip} 192.0.2.100 1 2\r\nx`
  await using one = echo.connect()
  await one.exchange(header('192.0.2.1'), 'x')
  await using two = echo.connect()
  await two.exchange(header('192.0.2.2'), 'x')
  await using again = echo.connect()
  again.socket.write(header('192.0.2.1'))
  await again.closed
  await using banned = echo.connect()
  banned.socket.write(header('192.0.2.66'))
  await banned.closed
  expect(seen).toEqual(['192.0.2.1', '192.0.2.2', '192.0.2.66'])
  expect(echo.service.counters).toMatchObject({ refusedCount: 2, openCount: 2 })
  one.socket.destroy()
  await one.closed
  while (echo.service.counters.openCount > 1) await new Promise((resolve) => setImmediate(resolve))
  await using freed = echo.connect()
  await freed.exchange(header('192.0.2.1'), 'x')
})

test('connections that owe their header count against connectionsMax', async () => {
  await using echo = await proxied({}, { connectionsMax: 1 })
  await using silent = echo.connect()
  await once(silent.socket, 'connect')
  while (echo.service.counters.openCount < 1) await new Promise((resolve) => setImmediate(resolve))
  await using refused = echo.connect()
  await refused.closed
  expect(echo.service.counters.refusedCount).toBe(1)
})

test('an HTTP application sees the client’s address', async () => {
  const app = serveHttp((session) => session.respond(200, { body: session.remoteAddress ?? '' }))
  const service = new ListeningService('http', app)
  service.addTcp('127.0.0.1:0', { proxyProtocol: { trusted: ['127.0.0.1'] } })
  await service.start(testContext())
  await using client = new RawClient((service.endpoints()[0] as TcpAddress).port)
  client.send(`${V1}GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)
  expect(await client.rest()).toMatch(/192\.0\.2\.1$/)
  await service.drain()
})

test.each<[unknown, ErrorConstructor]>([
  [{}, TypeError],
  [true, TypeError],
  [{ trusted: [] }, TypeError],
  [{ trusted: ['10.0.0.0/33'] }, TypeError],
  [{ trusted: ['10.0.0.0/8/8'] }, TypeError],
  [{ trusted: ['example.com'] }, TypeError],
  [{ trusted: ['fe80::1%lo'] }, TypeError],
  [{ trusted: [7] }, TypeError],
  [{ trusted: 'any', timeout: 5 }, TypeError],
  [{ trusted: 'any', required: 1 }, TypeError],
  [{ trusted: 'any', versions: [] }, TypeError],
  [{ trusted: 'any', versions: [3] }, TypeError],
  [{ trusted: 'any', timeoutMs: 0 }, RangeError],
  [{ trusted: 'any', headerBytesMax: 231 }, RangeError],
  [{ trusted: 'any', headerBytesMax: 65_552 }, RangeError],
])('refuses the option %j', (options, error) => {
  const add = () =>
    new Echo().service.addTcp('127.0.0.1:0', { proxyProtocol: options as ProxyProtocolOptions })
  expect(add).toThrow(error)
})

test('refuses a list of trusted addresses on a Unix socket', () => {
  const add = () => new Echo().service.addUnix(join(folder, 'a'), { proxyProtocol: { trusted: ['::1'] } })
  expect(add).toThrow(TypeError)
})

test.each([1, 2] as const)('a peer gets version %i first, in the clear and before TLS', async (version) => {
  const sent = proxyHeaderFor(
    { remoteAddress: '192.0.2.1', remotePort: 1234, localAddress: '192.0.2.2', localPort: 80 },
    version,
  )
  const connector = new Connector()
  for (const tls of [false, true]) {
    const echo = new Echo()
    const proxyProtocol: ProxyProtocolOptions = { trusted: 'any', versions: [version] }
    if (tls) echo.service.addTls('127.0.0.1:0', TLS, { proxyProtocol })
    else echo.service.addTcp('127.0.0.1:0', { proxyProtocol })
    await using _ = await echo.start()
    const ca = readFileSync(CERT_FILE)
    const peer = new HttpPeer(`localhost:${echo.port}`, {
      sendProxyProtocol: sent,
      ...(tls ? { tls, ca, verifyHostname: false, verifyCertificate: false } : {}),
    })
    const session = await connector.session(peer)
    while (echo.digests.length === 0) await new Promise((resolve) => setImmediate(resolve))
    session.destroy()
    expect(echo.digests[0]).toMatchObject({ remoteAddress: '192.0.2.1', remotePort: 1234 })
    expect(proxyHeaderOf(echo.sockets[0] as Socket)).toEqual(sent)
  }
  connector.close()
})

test('a custom transport and a CONNECT tunnel carry the header too', async () => {
  const received: string[] = []
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.on('data', (data) => {
      received.push(String(data))
      if (String(data).startsWith('CONNECT')) socket.write('HTTP/1.1 200 OK\r\n\r\n')
      else socket.destroy()
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const connector = new Connector()
  const sent = proxyHeaderFor({ remoteAddress: '::1', remotePort: 1, localAddress: '::2', localPort: 2 }, 1)
  const closed = once(server, 'connection').then(([socket]) => once(socket as Socket, 'close'))
  const tunnel = await connector.session(
    new HttpPeer('10.0.0.1:1', { sendProxyProtocol: sent, proxy: { address: `127.0.0.1:${port}` } }),
  )
  await closed
  tunnel.destroy()
  expect(received[1]).toBe('PROXY TCP6 ::1 ::2 1 2\r\n')
  const again = once(server, 'connection').then(([socket]) => once(socket as Socket, 'close'))
  const custom = await connector.session(
    new HttpPeer('10.0.0.1:1', {
      sendProxyProtocol: sent,
      connect: async () => {
        const { connect } = await import('node:net')
        const socket = connect(port, '127.0.0.1')
        await once(socket, 'connect')
        return socket
      },
    }),
  )
  await again
  custom.destroy()
  expect(received[2]).toBe('PROXY TCP6 ::1 ::2 1 2\r\n')
  connector.close()
  server.close()
})

test('TLS that fails after the header is the peer’s failure', async () => {
  const server = createTlsServer({ cert: readFileSync(CERT_FILE), key: readFileSync(KEY_FILE) })
  server.on('tlsClientError', () => undefined)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const connector = new Connector()
  const peer = new HttpPeer(`127.0.0.1:${port}`, {
    tls: true,
    verifyCertificate: false,
    sendProxyProtocol: { ...header, command: 'local' },
  })
  await expect(connector.session(peer)).rejects.toMatchObject({ source: 'upstream' })
  connector.close()
  server.close()
})

test('connections made for one client are never kept, nor shared with another', () => {
  const from = (ip: string) =>
    proxyHeaderFor({ remoteAddress: ip, remotePort: 1, localAddress: '192.0.2.9', localPort: 2 }, 2)
  const make = (ip: string) => new HttpPeer('192.0.2.5:80', { sendProxyProtocol: from(ip) })
  expect(make('192.0.2.1').reuseKey).not.toBe(make('192.0.2.2').reuseKey)
  expect(make('192.0.2.1').reuseKey).not.toBe(new HttpPeer('192.0.2.5:80').reuseKey)
  expect(make('192.0.2.1').optionsKey).toBe(make('192.0.2.2').optionsKey)
  expect(make('192.0.2.1').options.idleTimeoutMs).toBe(0)
  const wrong = { ...from('192.0.2.1'), transport: 'tcp6' as const }
  expect(() => new HttpPeer('192.0.2.5:80', { sendProxyProtocol: wrong })).toThrow(TypeError)
  const dispatcher = { dispatch: () => true } as never
  expect(() => new HttpPeer('192.0.2.5:80', { sendProxyProtocol: from('::1'), dispatcher })).toThrow(
    TypeError,
  )
})
