import { execFileSync, spawnSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer as createTlsServer } from 'node:tls'
import { describe, expect, test } from 'vitest'
import { until } from '../../proxy/test/support/observed-proxy.ts'
import { syslogDestination } from '../src/index.ts'

const withoutOpenssl = spawnSync('openssl', ['version']).error !== undefined
if (withoutOpenssl) console.log('Without openssl: syslog over TLS is not tested')

const HEADER = /^<190>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z host app \d+ - - /
const NAMES = { hostname: 'host', appName: 'app' } as const

/** The messages of a stream with their lengths in front, without their headers; fails on any other byte. */
function messagesOf(stream: string): string[] {
  const messages: string[] = []
  for (let at = 0; at < stream.length; ) {
    const space = stream.indexOf(' ', at)
    const length = Number(stream.slice(at, space))
    if (!Number.isInteger(length) || length === 0) throw new Error(`No length at ${at}`)
    const message = stream.slice(space + 1, space + 1 + length)
    expect(message).toMatch(HEADER)
    messages.push(message.replace(HEADER, ''))
    at = space + 1 + length
  }
  return messages
}

/** A receiver on a stream. */
async function receive(server: Server, where: object | string = { host: '127.0.0.1', port: 0 }) {
  const sockets = new Set<Socket>()
  const received: string[] = []
  const onSocket = (socket: Socket) => {
    const index = received.push('') - 1
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('data', (data) => {
      received[index] += data.toString('latin1')
    })
  }
  server.on('connection', onSocket)
  server.listen(where)
  await once(server, 'listening')
  return {
    sockets,
    received,
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

describe('UDP', () => {
  test('one datagram per message, cut at its bound', async () => {
    const socket = createSocket('udp4')
    const received: string[] = []
    socket.on('message', (message) => received.push(String(message)))
    socket.bind(0, '127.0.0.1')
    await once(socket, 'listening')
    const destination = syslogDestination({
      transport: 'udp',
      port: socket.address().port,
      messageBytesMax: 480,
      ...NAMES,
    })
    expect(destination.write('GET / 200')).toBe(true)
    expect(destination.write('x'.repeat(1_000))).toBe(true)
    await destination.close()
    await until(() => received.length === 2)
    expect(received[0]).toMatch(HEADER)
    expect(received[0]?.replace(HEADER, '')).toBe('GET / 200')
    expect(received[1]).toHaveLength(480)
    expect(destination.stats()).toEqual({ writtenCount: 2, droppedCount: 0, waitingBytes: 0 })
    expect(destination.write('late')).toBe(false)
    socket.close()
  })

  test('what the socket does not take yet is bounded', async () => {
    const destination = syslogDestination({ transport: 'udp', port: 9, bufferBytesMax: 1_024, ...NAMES })
    const taken = Array.from({ length: 100 }, () => destination.write('x'.repeat(100)))
    expect(taken.filter(Boolean).length).toBeLessThanOrEqual(8)
    expect(destination.stats().waitingBytes).toBeLessThanOrEqual(1_024)
    destination.destroy()
    await destination.close()
  })
})

describe('streams', () => {
  test('messages follow their lengths, over TCP', async () => {
    await using receiver = await receive(createServer())
    const destination = syslogDestination({ transport: 'tcp', port: receiver.port, ...NAMES })
    const lines = Array.from({ length: 500 }, (_, index) => `line ${index} ${'x'.repeat(index)}`)
    for (const line of lines) expect(destination.write(line)).toBe(true)
    await destination.close()
    await until(() => messagesOf(receiver.received[0] ?? '').length === 500)
    expect(messagesOf(receiver.received[0] as string)).toEqual(lines)
    expect(destination.stats()).toEqual({ writtenCount: 500, droppedCount: 0, waitingBytes: 0 })
  })

  test.skipIf(process.platform === 'win32')('and over a Unix socket', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'cirque-syslog-'))
    const path = join(folder, 'log')
    {
      await using receiver = await receive(createServer(), { path })
      const destination = syslogDestination({ transport: 'unix', path, ...NAMES })
      destination.write('a')
      await destination.close()
      await until(() => receiver.received[0] !== undefined && messagesOf(receiver.received[0]).length === 1)
    }
    rmSync(folder, { recursive: true })
  })

  test.skipIf(withoutOpenssl)('and over TLS, whose certificate is checked', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'cirque-syslog-'))
    const [key, cert] = [join(folder, 'key'), join(folder, 'cert')]
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost']
    const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2']
    execFileSync('openssl', ['req', ...kind, ...subject, '-keyout', key, '-out', cert], { stdio: 'ignore' })
    const identity = { key: readFileSync(key), cert: readFileSync(cert) }
    rmSync(folder, { recursive: true })
    const received: string[] = []
    const server = createTlsServer(identity, (socket) => {
      socket.on('error', () => undefined)
      socket.on('data', (data) => received.push(data.toString('latin1')))
    })
    server.on('tlsClientError', () => undefined)
    await using receiver = await receive(server)
    const options = { transport: 'tls', port: receiver.port, ...NAMES } as const
    const trusting = syslogDestination({ ...options, tls: { ca: identity.cert, servername: 'localhost' } })
    trusting.write('hello')
    await trusting.close()
    await until(() => received.length > 0)
    expect(messagesOf(received.join(''))).toEqual(['hello'])

    const wary = syslogDestination({ ...options, reconnectDelayMs: 1 })
    wary.write('secret')
    await wary.close()
    expect(wary.stats()).toMatchObject({ writtenCount: 0, droppedCount: 1 })
    expect(received).toHaveLength(1)
  })

  test('a receiver that is not there yet gets what waits when it comes', async () => {
    const placeholder = createServer().listen(0, '127.0.0.1')
    await once(placeholder, 'listening')
    const { port } = placeholder.address() as AddressInfo
    placeholder.close()
    await once(placeholder, 'close')
    const destination = syslogDestination({ transport: 'tcp', port, reconnectDelayMs: 5, ...NAMES })
    destination.write('early')
    await new Promise((resolve) => setTimeout(resolve, 20)) // at least one attempt has failed
    await using receiver = await receive(createServer(), { host: '127.0.0.1', port })
    await until(() => receiver.received.length > 0 && messagesOf(receiver.received[0] as string).length === 1)
    destination.write('later')
    await destination.close()
    await until(() => messagesOf(receiver.received[0] as string).length === 2)
    expect(destination.stats()).toMatchObject({ writtenCount: 2, droppedCount: 0 })
  })

  test('a connection that breaks is made anew, also by reopen()', async () => {
    await using receiver = await receive(createServer())
    const destination = syslogDestination({
      transport: 'tcp',
      port: receiver.port,
      reconnectDelayMs: 1,
      ...NAMES,
    })
    const arrived = async (index: number, line: string) => {
      destination.write(line)
      await until(() => (receiver.received[index] ?? '').endsWith(line))
    }
    await arrived(0, 'first')
    for (const socket of receiver.sockets) socket.destroy()
    await until(() => [...receiver.sockets].every(({ destroyed }) => destroyed))
    await new Promise((resolve) => setTimeout(resolve, 20)) // the FIN has arrived
    await arrived(1, 'second')
    await destination.reopen()
    await arrived(2, 'third')
    await destination.close()
  })

  test('a receiver that does not read costs no more than bufferBytesMax; destroy() does not wait for it', async () => {
    const server = createServer((socket) => void socket.pause())
    await using receiver = await receive(server)
    server.removeAllListeners('connection')
    server.on('connection', (socket) => {
      socket.pause()
      socket.on('error', () => undefined)
      receiver.sockets.add(socket)
    })
    const destination = syslogDestination({
      transport: 'tcp',
      port: receiver.port,
      bufferBytesMax: 4_194_304,
      ...NAMES,
    })
    const line = 'x'.repeat(8_000)
    let dropped = 0
    for (let round = 0; dropped === 0 && round < 10_000; round++) {
      if (!destination.write(line)) dropped++
      if (round % 100 === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    expect(dropped).toBe(1)
    expect(destination.stats().waitingBytes).toBeLessThanOrEqual(4_194_304)
    const impatient = syslogDestination({
      transport: 'tcp',
      port: receiver.port,
      bufferBytesMax: 16_777_216,
      connectTimeoutMs: 100,
      ...NAMES,
    })
    for (let round = 0; round < 2_000; round++) impatient.write(line)
    await until(() => receiver.sockets.size === 2)
    await impatient.close() // by itself, as nothing moves
    expect(impatient.stats()).toMatchObject({ writtenCount: 0, droppedCount: 2_000, waitingBytes: 0 })
    const closed = destination.close()
    destination.destroy()
    await closed
    expect(destination.stats().waitingBytes).toBe(0)
  })
})

test.each([
  ['an unknown transport', { transport: 'dtls' }],
  ['a Unix socket without its path', { transport: 'unix' }],
  ['a path elsewhere', { transport: 'tcp', path: '/dev/log' }],
  ['TLS options elsewhere', { transport: 'tcp', tls: {} }],
  ['a name that UDP would look up each time', { transport: 'udp', host: 'localhost' }],
  ['an unknown facility', { transport: 'udp', facility: 'local8' }],
  ['an unknown severity', { transport: 'udp', severity: 'warn' }],
  ['a host name with a space', { transport: 'udp', hostname: 'a b' }],
  ['an application name that is too long', { transport: 'udp', appName: 'a'.repeat(49) }],
  ['port 0', { transport: 'tcp', port: 0 }],
  ['a host that is a number', { transport: 'tcp', host: 127 }],
  ['an empty path', { transport: 'unix', path: '' }],
  ['a certificate that is none', { transport: 'tls', tls: { cert: 'x', key: 'y' } }],
  ['an unknown option', { transport: 'tcp', address: '127.0.0.1' }],
])('%s is refused at construction', (_name, options) => {
  expect(() => syslogDestination(options as never)).toThrow()
})
