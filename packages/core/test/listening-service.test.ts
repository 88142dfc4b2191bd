import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import {
  type ConnectionInfo,
  ListeningService,
  type ListeningServiceOptions,
  type ServerApp,
  type TcpAddress,
  type TcpListenerOptions,
  type TlsListenerOptions,
} from '../src/index.ts'
import { clientOf } from '../src/listening/listener-limits.ts'
import { Client, testContext } from './support.ts'

const CERT_FILE = join(import.meta.dirname, 'data/localhost.pem')
const KEY_FILE = join(import.meta.dirname, 'data/localhost-key.pem')

class EchoApp implements ServerApp {
  readonly alpnProtocols: readonly string[] = ['h2', 'http/1.1']
  readonly sockets: Socket[] = []
  readonly infos: ConnectionInfo[] = []
  drainCount = 0
  cleanupCount = 0

  onConnection(socket: Socket, info: ConnectionInfo): void {
    this.sockets.push(socket)
    this.infos.push(info)
    socket.pipe(socket)
  }
  startDraining(): void {
    this.drainCount += 1
  }
  cleanup(): void {
    this.cleanupCount += 1
  }
}

/** An echo service; drained and destroyed at the end of its scope, which also finds leaked sockets. */
class Echo implements AsyncDisposable {
  readonly app: EchoApp = new EchoApp()
  readonly service: ListeningService<EchoApp>

  constructor(options?: ListeningServiceOptions) {
    this.service = new ListeningService('echo', this.app, options)
  }

  async start(): Promise<this> {
    await this.service.start(testContext())
    return this
  }

  port(index = 0): number {
    return (this.service.endpoints()[index] as TcpAddress).port
  }

  connect(index = 0): Client {
    return new Client({ host: '127.0.0.1', port: this.port(index) })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const drained = this.service.drain()
    this.service.destroy()
    await drained
    expect(this.service.counters.openCount).toBe(0)
    expect(this.app.cleanupCount).toBe(1)
  }
}

let folder: string

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'cirque-listen-'))
})

afterAll(() => rmSync(folder, { recursive: true }))

test('serves every listener and tells its real address, with one info per listener', async () => {
  await using echo = new Echo()
  echo.service.addTcp('127.0.0.1:0').addTcp('[::1]:0', { ipv6Only: true }).addUnix(join(folder, 'serve.sock'))
  expect(echo.service.endpoints()).toEqual([])
  await echo.start()
  const [first, second, third] = echo.service.endpoints()
  expect(first?.text).toMatch(/^127\.0\.0\.1:[1-9]\d*$/)
  expect(second?.text).toMatch(/^\[::1\]:[1-9]\d*$/)
  await using one = echo.connect()
  await one.exchange('one', 'one')
  await using two = echo.connect()
  await two.exchange('two', 'two')
  await using three = new Client({ host: '::1', port: echo.port(1) })
  await three.exchange('three', 'three')
  await using four = new Client({ path: join(folder, 'serve.sock') })
  await four.exchange('four', 'four')
  const { infos } = echo.app
  expect(infos[0]).toEqual({ service: 'echo', address: first, tls: false })
  expect(infos[1]).toBe(infos[0])
  expect(infos[2]?.address).toEqual(second)
  expect(infos[3]?.address).toEqual(third)
  expect(Object.isFrozen(infos[0])).toBe(true)
  expect(echo.service.counters).toMatchObject({ acceptedCount: 4, openCount: 4, refusedCount: 0 })
})

test('a half-closed client still gets its answer', async () => {
  await using echo = new Echo()
  echo.service.addTcp('127.0.0.1:0')
  await echo.start()
  await using client = echo.connect()
  client.socket.end('all of it')
  await client.closed
  expect(client.received).toBe('all of it')
})

test('drain closes the acceptor at once, waits for connections, then cleans up', async () => {
  await using echo = new Echo()
  echo.service.addTcp('127.0.0.1:0')
  await echo.start()
  await using busy = echo.connect()
  await busy.exchange('a', 'a')
  const late = { host: '127.0.0.1', port: echo.port() }
  let isDrained = false
  const drained = echo.service.drain().then(() => {
    isDrained = true
  })
  expect(echo.app.drainCount).toBe(1)
  expect(echo.service.endpoints()).toEqual([])
  await using refused = new Client(late)
  await refused.closed
  await busy.exchange('b', 'ab')
  expect(isDrained).toBe(false)
  busy.socket.end()
  await drained
  expect(echo.app.cleanupCount).toBe(1)
})

test('destroy cuts connections, those in a handshake included', async () => {
  await using echo = new Echo()
  echo.service.addTcp('127.0.0.1:0').addTls('127.0.0.1:0', { certFile: CERT_FILE, keyFile: KEY_FILE })
  await echo.start()
  await using plain = echo.connect()
  await plain.exchange('a', 'a')
  await using silent = echo.connect(1)
  await vi.waitFor(() => expect(echo.service.counters.openCount).toBe(2))
  echo.service.destroy()
  await Promise.all([plain.closed, silent.closed])
})

async function handshake(echo: Echo, options: object = {}): Promise<TLSSocket> {
  const socket = connectTls({
    host: '127.0.0.1',
    port: echo.port(),
    ca: readFileSync(CERT_FILE),
    servername: 'localhost',
    ...options,
  })
  socket.on('error', () => undefined)
  const { promise, resolve } = Promise.withResolvers<void>()
  socket.once('secureConnect', resolve)
  socket.once('close', () => resolve())
  await promise
  return socket
}

test('TLS: hands over verified connections with the ALPN protocol the app prefers', async () => {
  await using echo = new Echo()
  echo.service.addTls('127.0.0.1:0', { certFile: CERT_FILE, keyFile: KEY_FILE })
  await echo.start()
  const socket = await handshake(echo, { ALPNProtocols: ['http/1.1', 'h2'] })
  expect(socket.authorized).toBe(true)
  expect(socket.alpnProtocol).toBe('h2')
  socket.write('secret')
  expect(String((await once(socket, 'data'))[0])).toBe('secret')
  expect(echo.app.infos[0]?.tls).toBe(true)
  expect((echo.app.sockets[0] as TLSSocket).alpnProtocol).toBe('h2')
  expect(echo.service.counters.openCount).toBe(1)
  socket.destroy()
  await vi.waitFor(() => expect(echo.service.counters.openCount).toBe(0))
})

test('TLS: garbage, resets, refused ALPN and old versions fail their handshake and nothing else', async () => {
  await using echo = new Echo()
  echo.service.addTls('127.0.0.1:0', { certFile: CERT_FILE, keyFile: KEY_FILE })
  await echo.start()
  await using garbage = echo.connect()
  garbage.socket.write('GET / HTTP/1.1\r\n\r\n')
  await garbage.closed
  const reset = echo.connect()
  await once(reset.socket, 'connect')
  reset.socket.write(Buffer.from([0x16, 3, 1, 0, 200]))
  reset.socket.resetAndDestroy()
  await reset.closed
  expect((await handshake(echo, { ALPNProtocols: ['smtp'] })).destroyed).toBe(true)
  expect(
    (await handshake(echo, { maxVersion: 'TLSv1.1', minVersion: 'TLSv1.1', ciphers: 'ALL@SECLEVEL=0' }))
      .destroyed,
  ).toBe(true)
  await vi.waitFor(() =>
    expect(echo.service.counters).toMatchObject({ openCount: 0, handshakeFailedCount: 4 }),
  )
  const good = await handshake(echo)
  expect(good.authorized).toBe(true)
  good.destroy()
})

test('TLS: a handshake that takes too long is cut', async () => {
  await using echo = new Echo()
  echo.service.addTls('127.0.0.1:0', { certFile: CERT_FILE, keyFile: KEY_FILE, handshakeTimeoutMs: 50 })
  await echo.start()
  await using silent = echo.connect()
  await silent.closed
  expect(echo.service.counters.handshakeFailedCount).toBe(1)
})

test('TLS: a client that ends within the handshake holds no slot', async () => {
  await using echo = new Echo({ connectionsMax: 1 })
  echo.service.addTls('127.0.0.1:0', { certFile: CERT_FILE, keyFile: KEY_FILE, handshakeTimeoutMs: 600_000 })
  await echo.start()
  for (const bytes of ['', '\x16\x03\x01']) {
    await using client = new Client({ host: '127.0.0.1', port: echo.port(), allowHalfOpen: true })
    client.socket.end(Buffer.from(bytes, 'latin1'))
    client.socket.once('end', () => client.socket.destroy())
    await client.closed
    await vi.waitFor(() => expect(echo.service.counters.openCount).toBe(0))
  }
})

test('TLS: a half-closed client still gets its answer', async () => {
  await using echo = new Echo()
  echo.service.addTls('127.0.0.1:0', { certFile: CERT_FILE, keyFile: KEY_FILE })
  await echo.start()
  const socket = await handshake(echo, { allowHalfOpen: true })
  let received = ''
  socket.on('data', (data) => {
    received += String(data)
  })
  socket.end('x'.repeat(300_000))
  await once(socket, 'end')
  expect(received).toHaveLength(300_000)
})

test('TLS: a callback that throws or rejects fails its handshake, not the process', async () => {
  const fail = () => {
    throw new Error('broken callback')
  }
  const reject = async () => fail()
  const broken: TlsListenerOptions[] = [
    { SNICallback: fail },
    { SNICallback: reject },
    { ALPNCallback: fail },
    { ALPNCallback: reject as never },
  ]
  for (const options of broken) {
    await using echo = new Echo()
    echo.service.addTls('127.0.0.1:0', { certFile: CERT_FILE, keyFile: KEY_FILE, ...options })
    await echo.start()
    expect((await handshake(echo, { ALPNProtocols: ['h2'] })).destroyed).toBe(true)
  }
})

test('TLS: a client certificate can be demanded', async () => {
  await using echo = new Echo()
  const cert = readFileSync(CERT_FILE)
  const key = readFileSync(KEY_FILE)
  echo.service.addTls('127.0.0.1:0', { cert, key, ca: cert, requestCert: true, maxVersion: 'TLSv1.2' })
  await echo.start()
  expect((await handshake(echo)).destroyed).toBe(true)
  expect(echo.app.sockets).toHaveLength(0)
  const socket = await handshake(echo, { cert, key })
  expect(socket.destroyed).toBe(false)
  await vi.waitFor(() => expect((echo.app.sockets[0] as TLSSocket).authorized).toBe(true))
  socket.destroy()
})

test.each(['throws', 'rejects'])(
  'TLS: a pre-shared key callback that %s fails its handshake',
  async (way) => {
    await using echo = new Echo()
    const pskCallback = (): never => {
      if (way === 'rejects') return Promise.reject(new Error('broken callback')) as never
      throw new Error('broken callback')
    }
    echo.service.addTls('127.0.0.1:0', { pskCallback, ciphers: 'PSK', maxVersion: 'TLSv1.2' })
    await echo.start()
    const client = { ciphers: 'PSK', maxVersion: 'TLSv1.2', checkServerIdentity: () => undefined }
    const socket = await handshake(echo, {
      ...client,
      pskCallback: () => ({ psk: Buffer.alloc(16), identity: 'x' }),
    })
    expect(socket.destroyed).toBe(true)
  },
)

test('a Unix socket has its mode from the first moment, and is removed by its owner only', async () => {
  const path = join(folder, 'mode.sock')
  const echo = new Echo()
  echo.service.addUnix(path, { mode: 0o600 })
  await echo.start()
  expect(statSync(path).mode & 0o777).toBe(0o600)
  expect(readdirSync(folder).filter((name) => name.startsWith('mode.sock'))).toEqual(['mode.sock'])
  await echo[Symbol.asyncDispose]()
  expect(existsSync(path)).toBe(false)

  const second = new Echo()
  second.service.addUnix(path)
  await second.start()
  expect(statSync(path).mode & 0o777).toBe(0o660)
  rmSync(path)
  await using successor = new Echo()
  successor.service.addUnix(path)
  await successor.start()
  await second[Symbol.asyncDispose]()
  expect(existsSync(path)).toBe(true)
  await using client = new Client({ path })
  await client.exchange('a', 'a')
})

test('a stale Unix socket is replaced, one in use and a file of another kind are not', async () => {
  const stale = join(folder, 'stale.sock')
  const { execFileSync } = await import('node:child_process')
  const script = `require('node:net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))`
  expect(() => execFileSync(process.execPath, ['-e', script, stale], { stdio: 'ignore' })).toThrow()
  expect(existsSync(stale)).toBe(true)
  await using first = new Echo()
  first.service.addUnix(stale)
  await first.start()
  const second = new ListeningService('second', new EchoApp())
  second.addUnix(stale, { bindAttemptsMax: 1 })
  await expect(second.start(testContext())).rejects.toThrow(
    `Cannot listen on unix:${stale}: the address is in use`,
  )
  await using client = new Client({ path: stale })
  await client.exchange('still mine', 'still mine')

  const file = join(folder, 'precious.txt')
  writeFileSync(file, 'precious')
  const third = new ListeningService('third', new EchoApp())
  third.addUnix(file)
  await expect(third.start(testContext())).rejects.toThrow('the path exists and is not a socket')
  expect(readFileSync(file, 'utf8')).toBe('precious')
})

test('binding is tried again while the address is in use', async () => {
  const blocker = createServer().listen(0, '127.0.0.1')
  await once(blocker, 'listening')
  const { port } = blocker.address() as { port: number }
  await using echo = new Echo()
  echo.service.addTcp(`127.0.0.1:${port}`)
  const context = testContext()
  const warn = vi.fn((message: string) => {
    if (message.startsWith('Address is in use')) blocker.close()
  })
  await echo.service.start({ ...context, logger: { ...context.logger, warn } })
  expect(warn).toHaveBeenCalledWith('Address is in use, trying again', expect.anything())
  expect(echo.port()).toBe(port)
})

test('a shutdown ends the wait for an address; what was bound before is closed', async () => {
  const blocker = createServer().listen(0, '127.0.0.1')
  await once(blocker, 'listening')
  const { port } = blocker.address() as { port: number }
  const service = new ListeningService('echo', new EchoApp())
  service.addTcp('127.0.0.1:0').addTcp(`127.0.0.1:${port}`, { bindAttemptsMax: 100 })
  const context = testContext()
  const warn = (message: string) => {
    if (message.startsWith('Address is in use')) context.controller.abort()
  }
  const logger = { ...context.logger, warn }
  await expect(service.start({ ...context, logger })).rejects.toThrow(/Cannot listen on .* in use/)
  expect(service.endpoints()).toEqual([])
  blocker.close()
})

test('reusePort lets two services share an address', async () => {
  await using first = new Echo()
  first.service.addTcp('127.0.0.1:0', { reusePort: true })
  await first.start()
  await using second = new Echo()
  second.service.addTcp(`127.0.0.1:${first.port()}`, { reusePort: true })
  await second.start()
  expect(second.port()).toBe(first.port())
})

test('connectionsMax of a listener: its own connections count, and those of others do not', async () => {
  await using echo = new Echo()
  echo.service.addTcp('127.0.0.1:0', { connectionsMax: 1 })
  echo.service.addTcp('127.0.0.1:0')
  await echo.start()
  const [capped, open] = echo.service.endpoints() as TcpAddress[]
  await using first = new Client({ host: '127.0.0.1', port: capped?.port ?? 0 })
  first.socket.write('a')
  await once(first.socket, 'data')
  await using second = new Client({ host: '127.0.0.1', port: capped?.port ?? 0 })
  await second.closed
  await using other = new Client({ host: '127.0.0.1', port: open?.port ?? 0 })
  other.socket.write('b')
  await once(other.socket, 'data')
  expect(echo.service.counters).toMatchObject({ acceptedCount: 3, refusedCount: 1, openCount: 2 })
})

test('connectionsMax: one less, as many, one more', async () => {
  await using echo = new Echo({ connectionsMax: 2 })
  echo.service.addTcp('127.0.0.1:0').addUnix(join(folder, 'max.sock'))
  await echo.start()
  await using one = echo.connect()
  await one.exchange('1', '1')
  await using two = new Client({ path: join(folder, 'max.sock') })
  await two.exchange('2', '2')
  await using three = echo.connect()
  await three.closed
  await using four = new Client({ path: join(folder, 'max.sock') })
  await four.closed
  expect(echo.service.counters).toMatchObject({ acceptedCount: 4, refusedCount: 2, openCount: 2 })
  one.socket.end()
  await vi.waitFor(() => expect(echo.service.counters.openCount).toBe(1))
  await using five = echo.connect()
  await five.exchange('5', '5')
})

test('connectionsPerIpMax holds per address and spares Unix sockets', async () => {
  await using echo = new Echo({ connectionsPerIpMax: 1 })
  echo.service.addTcp('127.0.0.1:0').addUnix(join(folder, 'ip.sock'))
  await echo.start()
  await using one = echo.connect()
  await one.exchange('1', '1')
  await using two = echo.connect()
  await two.closed
  await using other = new Client({ host: '127.0.0.1', port: echo.port(), localAddress: '127.0.0.2' })
  await other.exchange('o', 'o')
  for (const text of ['a', 'b']) {
    await using local = new Client({ path: join(folder, 'ip.sock') })
    await local.exchange(text, text)
  }
  one.socket.end()
  await vi.waitFor(() => expect(echo.service.counters.openCount).toBe(1))
  await using again = echo.connect()
  await again.exchange('2', '2')
})

test.each([
  ['1.2.3.4', '1.2.3.4'],
  ['::ffff:1.2.3.4', '1.2.3.4'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:db8:1:2::6', '2001:db8:1:2::/64'],
  ['2001:db8::6', '2001:db8:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
  ['::', '0:0:0:0::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
  ['64:ff9b::1.2.3.4', '64:ff9b:0:0::/64'],
])('the client of %s is %s', (ip, client) => {
  expect(clientOf(ip)).toBe(client)
})

test('the connection filter decides before TLS, for listeners added before and after it', async () => {
  await using echo = new Echo()
  echo.service.addTcp('127.0.0.1:0')
  const seen: unknown[] = []
  echo.service.setConnectionFilter({
    shouldAccept(remoteAddress) {
      seen.push(remoteAddress)
      return remoteAddress !== '127.0.0.2'
    },
  })
  echo.service
    .addTls('127.0.0.1:0', { certFile: CERT_FILE, keyFile: KEY_FILE })
    .addUnix(join(folder, 'filter.sock'))
  await echo.start()
  await using refused = new Client({ host: '127.0.0.1', port: echo.port(), localAddress: '127.0.0.2' })
  await refused.closed
  await using refusedTls = new Client({ host: '127.0.0.1', port: echo.port(1), localAddress: '127.0.0.2' })
  await refusedTls.closed
  await using accepted = echo.connect()
  await accepted.exchange('a', 'a')
  await using local = new Client({ path: join(folder, 'filter.sock') })
  await local.exchange('b', 'b')
  expect(seen).toEqual(['127.0.0.2', '127.0.0.2', '127.0.0.1', undefined])
  expect(echo.service.counters).toMatchObject({ refusedCount: 2, handshakeFailedCount: 0, openCount: 2 })
})

test('an asynchronous filter loses no byte, and everything that is not true refuses', async () => {
  await using echo = new Echo({ connectionFilterTimeoutMs: 50 })
  echo.service.addTcp('127.0.0.1:0')
  await echo.start()
  const verdict = Promise.withResolvers<boolean>()
  echo.service.setConnectionFilter({ shouldAccept: () => verdict.promise })
  await using patient = echo.connect()
  patient.socket.write('early')
  await vi.waitFor(() => expect(echo.service.counters.acceptedCount).toBe(1))
  verdict.resolve(true)
  await patient.exchange('', 'early')

  const refusals: (() => boolean | Promise<boolean>)[] = [
    () => Promise.resolve(false),
    () => Promise.reject(new Error('no')),
    () => {
      throw new Error('no')
    },
    () => new Promise(() => undefined),
    () => 1 as unknown as boolean,
  ]
  for (const shouldAccept of refusals) {
    echo.service.setConnectionFilter({ shouldAccept })
    await using client = echo.connect()
    await client.closed
  }
  expect(echo.service.counters.refusedCount).toBe(refusals.length)
  const leaver = Promise.withResolvers<boolean>()
  echo.service.setConnectionFilter({ shouldAccept: () => leaver.promise })
  const gone = echo.connect()
  await vi.waitFor(() => expect(echo.service.counters.openCount).toBe(2))
  gone.socket.resetAndDestroy()
  await vi.waitFor(() => expect(echo.service.counters.openCount).toBe(1))
  leaver.resolve(true)
  await leaver.promise
  expect(echo.app.sockets).toHaveLength(1)
})

test('an app that throws loses its connection and nothing else', async () => {
  const app: ServerApp = {
    onConnection() {
      throw new Error('broken app')
    },
    startDraining() {},
  }
  const service = new ListeningService('broken', app).addTcp('127.0.0.1:0')
  await service.start(testContext())
  for (let count = 0; count < 2; count += 1) {
    await using client = new Client({ host: '127.0.0.1', port: (service.endpoints()[0] as TcpAddress).port })
    await client.closed
  }
  await service.drain()
})

test('resets at any moment are no uncaught errors', async () => {
  await using echo = new Echo()
  echo.service.addTcp('127.0.0.1:0').addTls('127.0.0.1:0', { certFile: CERT_FILE, keyFile: KEY_FILE })
  await echo.start()
  for (let count = 0; count < 40; count += 1) {
    const client = echo.connect(count % 2)
    if (count % 4 < 2) client.socket.write('x'.repeat(100_000))
    await once(client.socket, 'connect')
    if (count % 3 === 0) await new Promise(setImmediate)
    client.socket.resetAndDestroy()
    await client.closed
  }
  await vi.waitFor(() => expect(echo.service.counters.openCount).toBe(0))
})

test.each([
  ['127.0.0.1', {}, 'the port is missing'],
  ['127.0.0.1:0', { backlog: 0 }, 'Expected backlog to be a whole number from 1 to 2147483647, received 0'],
  ['127.0.0.1:0', { readAheadBytes: 1 }, 'readAheadBytes'],
  ['127.0.0.1:0', { bindAttemptsMax: 0 }, 'bindAttemptsMax'],
  ['127.0.0.1:0', { noDelay: 1 as unknown as boolean }, 'Expected noDelay to be true or false, received 1'],
  ['127.0.0.1:0', { keepAliveInitialDelayMs: 5000 }, 'has no effect without keepAlive'],
  ['127.0.0.1:0', { nodelay: true } as TcpListenerOptions, "Unknown option 'nodelay'"],
])('refuses the listener %s with %j', (address, options, message) => {
  const service = new ListeningService('x', new EchoApp())
  expect(() => service.addTcp(address, options)).toThrow(message)
})

test.each([
  [{}, 'needs a certificate and key'],
  [{ certFile: '/nowhere.pem', keyFile: KEY_FILE }, 'Cannot read "/nowhere.pem" for TLS on 127.0.0.1:0'],
  [{ cert: 'junk', key: 'junk' }, 'Invalid TLS options for 127.0.0.1:0'],
  [{ certFile: CERT_FILE, cert: 'x', keyFile: KEY_FILE }, 'has both "certFile" and "cert"'],
  [{ certFile: CERT_FILE, keyFile: KEY_FILE, handshakeTimeoutMs: 0 }, 'handshakeTimeoutMs'],
  [
    { certFile: CERT_FILE, keyFile: KEY_FILE, secureProtocol: 'x' } as TlsListenerOptions,
    "Unknown option 'secureProtocol'",
  ],
])('refuses TLS with %j', (options, message) => {
  const service = new ListeningService('x', new EchoApp())
  expect(() => service.addTls('127.0.0.1:0', options)).toThrow(message)
})

test('refuses what makes no sense at construction', async () => {
  const app = new EchoApp()
  expect(() => new ListeningService('', app)).toThrow(TypeError)
  expect(() => new ListeningService('x', {} as ServerApp)).toThrow('needs onConnection() and startDraining()')
  expect(() => new ListeningService('x', app, { connectionsMax: 0 })).toThrow(RangeError)
  expect(() => new ListeningService('x', app, { connectionsPerIpMax: -1 })).toThrow(RangeError)
  expect(() => new ListeningService('x', app, { max: 1 } as ListeningServiceOptions)).toThrow(
    "Unknown option 'max'",
  )
  const service = new ListeningService('x', app)
  expect(() => service.addTls('127.0.0.1:0', undefined as never)).toThrow('TLS options of 127.0.0.1:0')
  expect(() => service.addUnix('relative.sock')).toThrow('must be absolute')
  expect(() => service.addUnix('/tmp/x.sock', { mode: 0o1777 })).toThrow(RangeError)
  expect(() => service.addListener({ address: 'unix:/tmp/x', tcp: {} })).toThrow('takes no "tcp" options')
  expect(() => service.addListener({ address: '127.0.0.1:0', unix: {} })).toThrow('takes no "unix" options')
  expect(() => service.setConnectionFilter({} as never)).toThrow('shouldAccept')
  await expect(service.start(testContext())).rejects.toThrow('has no listener')
  await expect(new ListeningService('y', app).addTcp('192.0.2.1:1').start(testContext())).rejects.toThrow(
    'Cannot listen on 192.0.2.1:1: no interface of this machine has this address',
  )
  const long = `${folder}/${'x'.repeat(106 - folder.length)}`
  await expect(new ListeningService('z', app).addUnix(long).start(testContext())).rejects.toThrow('bytes')
})
