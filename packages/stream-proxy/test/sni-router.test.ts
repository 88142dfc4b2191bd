import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { connect as connectTls, createServer as createTlsServer, type TLSSocket } from 'node:tls'
import { createConfiguration } from '@cirque/core'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  readClientHello,
  type SniRoute,
  type SniRouterOptions,
  StreamPeer,
  sniRouter,
  tcpProxyService,
} from '../src/index.ts'
import { Client, Running, until } from './support.ts'

const configuration = createConfiguration()
const DATA = join(import.meta.dirname, '../../core/test/data')
const CERT = readFileSync(join(DATA, 'localhost.pem'))
const KEY = readFileSync(join(DATA, 'localhost-key.pem'))

/** A ClientHello of Node's own. */
async function realHello(servername: string, alpn: string[] = []): Promise<Buffer> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const accepted = once(server, 'connection') as Promise<[Socket]>
  const client = connectTls({ port, host: '127.0.0.1', servername, ALPNProtocols: alpn })
  client.on('error', () => undefined)
  const [socket] = await accepted
  const [bytes] = (await once(socket, 'data')) as [Buffer]
  client.destroy()
  socket.destroy()
  server.close()
  return bytes
}

/** The same handshake message in records of `size` bytes. */
function fragmented(hello: Buffer, size: number): Buffer {
  const message = hello.subarray(5)
  const records: Buffer[] = []
  for (let at = 0; at < message.length; at += size) {
    const part = message.subarray(at, at + size)
    records.push(Buffer.from([22, 3, 1, part.length >>> 8, part.length & 0xff]), part)
  }
  return Buffer.concat(records)
}

function vector(size: 1 | 2, content: Buffer): Buffer {
  const head = Buffer.alloc(size)
  head.writeUIntBE(content.length, 0, size)
  return Buffer.concat([head, content])
}

function record(type: number, body: Buffer): Buffer {
  const head = Buffer.alloc(4)
  head[0] = type
  head.writeUIntBE(body.length, 1, 3)
  return Buffer.concat([Buffer.from([22, 3, 3]), vector(2, Buffer.concat([head, body]))])
}

const PLAIN = [
  Buffer.alloc(34),
  vector(1, Buffer.alloc(0)),
  vector(2, Buffer.from([0x13, 1])),
  Buffer.from([1, 0]),
]

/** A ClientHello with these extensions, as type and content. */
function hello(...extensions: [type: number, content: Buffer][]): Buffer {
  const list = extensions.map(([type, content]) =>
    Buffer.concat([Buffer.from([0, type]), vector(2, content)]),
  )
  return record(1, Buffer.concat([...PLAIN, vector(2, Buffer.concat(list))]))
}

function sni(name: string, type: number = 0): Buffer {
  return vector(2, Buffer.concat([Buffer.from([type]), vector(2, Buffer.from(name))]))
}

test('reads the name and the protocols of a real ClientHello', async () => {
  const bytes = await realHello('A.Example', ['h2', 'http/1.1'])
  expect(readClientHello(bytes)).toEqual({
    kind: 'hello',
    hello: { serverName: 'a.example', alpnProtocols: ['h2', 'http/1.1'] },
  })
})

test('a ClientHello without SNI or extensions has no name', async () => {
  const result = readClientHello(await realHello(''))
  expect(result).toMatchObject({ kind: 'hello', hello: { serverName: undefined, alpnProtocols: [] } })
  expect(readClientHello(record(1, Buffer.concat(PLAIN))).kind).toBe('hello')
})

test('a ClientHello may end anywhere, and be spread over records of any size', async () => {
  const bytes = await realHello('a.example')
  for (const size of [1, 2, 3, 5, 100, 1000, bytes.length]) {
    const split = fragmented(bytes, size)
    for (let count = 0; count < split.length; count += size < 3 ? 97 : 13) {
      expect(readClientHello(split.subarray(0, count)).kind).toBe('partial')
    }
    expect(readClientHello(Buffer.concat([split, Buffer.from('early data')]))).toMatchObject({
      kind: 'hello',
      hello: { serverName: 'a.example' },
    })
  }
})

test('a ClientHello in records and packets of one byte is not read again and again', async () => {
  const split = fragmented(await realHello('a.example'), 1)
  let looks = 0
  for (let count = 0; ; ) {
    const result = readClientHello(split.subarray(0, count))
    looks += 1
    if (result.kind !== 'partial') {
      expect(result).toMatchObject({ kind: 'hello', hello: { serverName: 'a.example' } })
      break
    }
    expect(result.bytesMin).toBeGreaterThan(count)
    expect(readClientHello(split.subarray(0, result.bytesMin - 1)).kind).toBe('partial')
    count = result.bytesMin
  }
  expect(looks).toBeLessThan(80)
})

test('a ClientHello at the cap is read, one byte more is refused as soon as it says so', () => {
  const padded = (bytes: number) => {
    const base = hello([0, sni('a.example')], [21, Buffer.alloc(0)]).length
    return hello([0, sni('a.example')], [21, Buffer.alloc(bytes - base)])
  }
  expect(padded(600).length).toBe(600)
  expect(readClientHello(padded(600), 601).kind).toBe('hello')
  expect(readClientHello(padded(600), 600).kind).toBe('hello')
  expect(readClientHello(padded(600), 599).kind).toBe('malformed')
  expect(readClientHello(padded(600).subarray(0, 12), 500).kind).toBe('malformed')
  expect(readClientHello(fragmented(padded(600), 1).subarray(0, 620), 620).kind).toBe('malformed')
})

test.each<[string, Buffer]>([
  ['an empty name', hello([0, sni('')])],
  ['a name with a NUL', hello([0, sni('a\0.example')])],
  ['a name with a space', hello([0, sni('a b')])],
  ['a name that is too long', hello([0, sni('abcdefg.'.repeat(32))])],
  ['a name of another type', hello([0, sni('a', 1)])],
  ['two names', hello([0, vector(2, Buffer.concat([sni('a').subarray(2), sni('b').subarray(2)]))])],
  ['two lists of names', hello([0, sni('a')], [0, sni('b')])],
  ['an empty list of protocols', hello([16, vector(2, Buffer.alloc(0))])],
  ['a protocol without a name', hello([16, vector(2, Buffer.from([0]))])],
  ['an extension that is cut off', hello([0, Buffer.from([0, 9, 0])])],
  [
    'an odd list of suites',
    record(1, Buffer.concat([Buffer.alloc(35), vector(2, Buffer.alloc(3)), Buffer.from([1, 0])])),
  ],
  [
    'a session id that is too long',
    record(1, Buffer.concat([Buffer.alloc(34), vector(1, Buffer.alloc(33))])),
  ],
  [
    'bytes behind the extensions',
    record(1, Buffer.concat([...PLAIN, vector(2, Buffer.alloc(0)), Buffer.alloc(1)])),
  ],
  ['another handshake message', record(2, Buffer.concat(PLAIN))],
  ['no content', record(1, Buffer.alloc(0))],
  ['an empty record', Buffer.from('1603010000', 'hex')],
  ['a record that is too long', Buffer.from('1603014001', 'hex')],
])('refuses %s', (_what, bytes) => {
  expect(readClientHello(bytes).kind).toBe('malformed')
})

test('what is not TLS is told from it at the first or second byte', () => {
  for (const text of ['GET / HTTP/1.1', '\x16\x02', '\x80\x2e\x01', '\x15\x03\x01']) {
    expect(readClientHello(Buffer.from(text, 'latin1')).kind).toBe('absent')
  }
})

test('no bytes make the reader throw, or change their mind when more come', async () => {
  const real = await realHello('a.example', ['h2'])
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(real.length - 1), fc.nat(255)), { maxLength: 6 }),
      fc.nat(real.length),
      (changes, cut) => {
        const bytes = Buffer.from(real)
        for (const [at, value] of changes) bytes[at] = value
        const whole = readClientHello(bytes)
        const part = readClientHello(bytes.subarray(0, cut))
        if (part.kind !== 'partial') expect(part).toEqual(whole)
      },
    ),
  )
})

/** A TLS server that answers with its name. */
async function site(name: string): Promise<{ peer: StreamPeer; close: () => void }> {
  const server = createTlsServer({ cert: CERT, key: KEY }, (socket) => {
    socket.on('error', () => undefined)
    socket.end(`${name} ${(socket as TLSSocket & { servername: string }).servername}`)
  })
  server.on('tlsClientError', () => undefined)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    peer: new StreamPeer(`127.0.0.1:${(server.address() as { port: number }).port}`),
    close: () => server.close(),
  }
}

async function ask(port: number, servername: string): Promise<string> {
  const socket = connectTls({ port, host: '127.0.0.1', servername, rejectUnauthorized: false })
  let text = ''
  socket.on('data', (data) => {
    text += String(data)
  })
  const outcome = await new Promise((resolve) => {
    socket
      .once('end', () => resolve('end'))
      .once('error', (error: NodeJS.ErrnoException) => resolve(error.code))
  })
  socket.destroy()
  return outcome === 'end' ? text : String(outcome)
}

async function router(routes: Record<string, SniRoute>, options?: SniRouterOptions) {
  const service = tcpProxyService(configuration, sniRouter(routes, options))
  return await Running.start(service.addTcp('127.0.0.1:0'))
}

test.each(['-'.repeat(60), `a${'-'.repeat(60_000)}!`, 'a..b', '*.', '*.*.a', '.a', 'a.', 'a b'])(
  'refuses the route %.20j at once',
  (name) => {
    const begun = performance.now()
    expect(() => sniRouter({ [name]: new StreamPeer('127.0.0.1:1') })).toThrow(/Expected a host name/)
    expect(performance.now() - begun).toBeLessThan(1_000)
  },
)

test('routes by name, then by wildcard, then to the fallback; TLS is end to end', async () => {
  const [a, b, rest] = [await site('a'), await site('b'), await site('rest')]
  await using proxy = await router(
    { 'A.example': a.peer, '*.example': async () => b.peer, 'x.y.example': () => a.peer },
    { fallback: rest.peer },
  )
  expect(await ask(proxy.port(), 'a.example')).toBe('a a.example')
  expect(await ask(proxy.port(), 'b.example')).toBe('b b.example')
  expect(await ask(proxy.port(), 'x.y.example')).toBe('a x.y.example')
  expect(await ask(proxy.port(), 'z.y.example')).toBe('rest z.y.example') // a star is one label
  expect(await ask(proxy.port(), 'localhost')).toBe('rest localhost')
  expect(await ask(proxy.port(), '')).toMatch(/^rest /)
  for (const one of [a, b, rest]) one.close()
})

test('without a fallback unknown names are reset', async () => {
  const a = await site('a')
  await using proxy = await router({ 'a.example': a.peer })
  expect(await ask(proxy.port(), 'b.example')).toBe('ECONNRESET')
  expect(await ask(proxy.port(), '')).toBe('ECONNRESET')
  expect(await ask(proxy.port(), 'a.example')).toBe('a a.example')
  a.close()
})

test('a ClientHello that trickles in small packets is routed, and reaches the upstream whole', async () => {
  const received: Buffer[] = []
  const upstream = createServer((socket) => socket.on('data', (data) => received.push(data as Buffer)))
  upstream.listen(0, '127.0.0.1')
  await once(upstream, 'listening')
  await using proxy = await router({
    'a.example': new StreamPeer(`127.0.0.1:${(upstream.address() as { port: number }).port}`),
  })
  const bytes = fragmented(await realHello('a.example'), 300)
  const socket = connect({ port: proxy.port(), host: '127.0.0.1', noDelay: true })
  for (let at = 0; at < bytes.length; at += 40) {
    socket.write(bytes.subarray(at, at + 40))
    await new Promise((resolve) => setImmediate(resolve))
  }
  socket.write('and more')
  await until(() => Buffer.concat(received).length >= bytes.length + 8)
  expect(Buffer.concat(received).equals(Buffer.concat([bytes, Buffer.from('and more')]))).toBe(true)
  socket.destroy()
  await until(() => proxy.service.stats().open === 0)
  upstream.close()
})

test.each([
  ['what is not TLS', 'GET / HTTP/1.1\r\n\r\n', 'TLS_HANDSHAKE_FAILED'],
  ['a malformed ClientHello', '\x16\x03\x01\0\0', 'TLS_HANDSHAKE_FAILED'],
  ['nothing', '', 'TLS_HANDSHAKE_TIMEOUT'],
  ['half of it', '\x16\x03\x01\0\x09', 'TLS_HANDSHAKE_TIMEOUT'],
])('%s is reset, and is the client’s fault', async (_what, text, code) => {
  const app = sniRouter({}, { fallback: new StreamPeer('127.0.0.1:1'), timeoutMs: 50 })
  const errors: (string | undefined)[] = []
  const service = tcpProxyService(configuration, {
    ...app,
    logging: (_session, error) => errors.push(error?.code, error?.source),
  })
  await using proxy = await Running.start(service.addTcp('127.0.0.1:0'))
  await using client = Client.to(proxy)
  client.socket.write(Buffer.from(text, 'latin1'))
  await client.closed
  await until(() => errors.length > 0)
  expect(errors).toEqual([code, 'downstream'])
})

test.each<[Record<string, unknown>, object, ErrorConstructor]>([
  [{ 'a b': new StreamPeer('a:1') }, {}, TypeError],
  [{ '*': new StreamPeer('a:1') }, {}, TypeError],
  [{ a: 'b:1' }, {}, TypeError],
  [{ a: new StreamPeer('a:1'), A: new StreamPeer('a:1') }, {}, TypeError],
  [{}, { fallback: 'a:1' }, TypeError],
  [{}, { default: 1 }, TypeError],
  [{}, { timeoutMs: 0 }, RangeError],
  [{}, { helloBytesMax: 511 }, RangeError],
])('refuses the routes %o with %o', (routes, options, error) => {
  expect(() => sniRouter(routes as never, options)).toThrow(error)
})
