import { EventEmitter, once } from 'node:events'
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, createServer, type Server, type TlsOptions } from 'node:tls'
import { expect, test } from 'vitest'
import {
  Connector,
  type ConnectorOptions,
  HttpPeer,
  type HttpPeerOptions,
  type TlsDigest,
} from '../src/index.ts'
import { SESSION_AGE_MAX_MS, TlsSessionCache } from '../src/tls/session-cache.ts'
import { makeCertificate } from './support/certificates.ts'

const origin = makeCertificate({ name: 'origin', dnsNames: ['origin.example', 'a-b.example', 'localhost'] })

/** A TLS server that keeps its connections open, and a connector to it. */
class Upstream implements AsyncDisposable {
  readonly server: Server
  readonly connector: Connector
  readonly #sockets: Set<Socket> = new Set()

  private constructor(tls: TlsOptions, options: ConnectorOptions) {
    this.connector = new Connector(options)
    this.server = createServer({ cert: origin.cert, key: origin.key, ...tls }, (socket) => {
      socket.on('error', () => undefined).resume()
      this.#sockets.add(socket)
    })
    this.server.on('tlsClientError', () => undefined)
  }

  static async start(tls: TlsOptions = {}, options: ConnectorOptions = {}): Promise<Upstream> {
    const upstream = new Upstream(tls, options)
    upstream.server.listen(0, '127.0.0.1')
    await once(upstream.server, 'listening')
    return upstream
  }

  /** Connects anew, waits for what the server sends after the handshake, and tells the digest. */
  async dial(options: HttpPeerOptions): Promise<TlsDigest> {
    const { port } = this.server.address() as AddressInfo
    const peer = new HttpPeer(`127.0.0.1:${port}`, { tls: true, ca: origin.cert, ...options })
    const before = this.connector.tlsSessions.get(peer.reuseKey)
    const session = await this.connector.session(peer)
    const digest = session.digest().tls
    // TLS 1.3 sends sessions after the handshake, where it sends any.
    for (let turn = 0; turn < 10 && this.connector.tlsSessions.get(peer.reuseKey) === before; turn += 1) {
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    session.destroy()
    if (digest === undefined) throw new Error('No TLS')
    return digest
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.connector.close()
    for (const socket of this.#sockets) socket.destroy()
    this.server.close()
    await once(this.server, 'close')
  }
}

test.each(['TLSv1.2', 'TLSv1.3'] as const)(
  '%s: the second connection to a peer resumes',
  async (maxVersion) => {
    await using upstream = await Upstream.start({ maxVersion })
    const first = await upstream.dial({ sni: 'origin.example' })
    expect(first).toMatchObject({
      version: maxVersion,
      group: maxVersion === 'TLSv1.3' ? 'X25519MLKEM768' : 'X25519',
      alpn: undefined,
      resumed: false,
      peerCertificate: { subject: 'CN=origin', verified: true },
    })
    expect(await upstream.dial({ sni: 'origin.example' })).toMatchObject({
      resumed: true,
      version: maxVersion,
    })
  },
)

test('a session is never offered where another name, authority or way of verifying is meant', async () => {
  await using upstream = await Upstream.start()
  await upstream.dial({ sni: 'origin.example' })
  const others: HttpPeerOptions[] = [
    { sni: 'localhost' },
    { sni: 'origin.example', verifyCertificate: false },
    { sni: 'origin.example', verifyHostname: false },
    { sni: 'origin.example', alternativeName: 'localhost' },
    { sni: 'origin.example', ca: [origin.cert, origin.cert] },
    { sni: 'origin.example', cert: origin.cert, key: origin.key },
    { sni: 'origin.example', groupKey: 'other' },
  ]
  for (const options of others) expect((await upstream.dial(options)).resumed).toBe(false)
  expect(upstream.connector.tlsSessions.size).toBe(others.length + 1)
})

test.each(['TLSv1.2', 'TLSv1.3'] as const)(
  '%s: a connection that is refused leaves no session',
  async (maxVersion) => {
    await using upstream = await Upstream.start({ maxVersion })
    for (const options of [{ sni: 'wrong.example' }, { sni: 'origin.example', ca: makeCertificate().cert }]) {
      for (let attempt = 0; attempt < 2; attempt += 1) {
        await expect(upstream.dial(options)).rejects.toMatchObject({ source: 'upstream' })
      }
    }
    expect(upstream.connector.tlsSessions.size).toBe(0)
  },
)

test('an upstream that forgot the session gets a full handshake', async () => {
  await using upstream = await Upstream.start()
  await upstream.dial({ sni: 'origin.example' })
  upstream.server.setTicketKeys(Buffer.alloc(48, 1))
  expect((await upstream.dial({ sni: 'origin.example' })).resumed).toBe(false)
  expect((await upstream.dial({ sni: 'origin.example' })).resumed).toBe(true)
})

test('tlsSessionsMax bounds what is kept, and 0 resumes nothing', async () => {
  await using two = await Upstream.start({}, { tlsSessionsMax: 2 })
  for (const groupKey of ['a', 'b', 'c']) await two.dial({ sni: 'origin.example', groupKey })
  expect(two.connector.tlsSessions.size).toBe(2)
  expect((await two.dial({ sni: 'origin.example', groupKey: 'a' })).resumed).toBe(false)
  await using none = await Upstream.start({}, { tlsSessionsMax: 0 })
  for (let visit = 0; visit < 2; visit += 1) {
    expect((await none.dial({ sni: 'origin.example' })).resumed).toBe(false)
  }
  expect(() => new Connector({ tlsSessionsMax: -1 })).toThrow(RangeError)
})

test('a session is offered for an hour', async () => {
  await using upstream = await Upstream.start()
  let time = 0
  const sessions = new TlsSessionCache(1, () => time)
  const { port } = upstream.server.address() as AddressInfo
  const client = connect({ host: '127.0.0.1', port, servername: 'localhost', ca: origin.cert })
  sessions.remember('key', client)
  await once(client, 'session')
  client.destroy()
  time = SESSION_AGE_MAX_MS
  expect(sessions.get('key')).toBeInstanceOf(Buffer)
  time += 1
  expect(sessions.get('key')).toBeUndefined()
  expect(sessions.size).toBe(0)
})

test('an underscore in the leftmost label of the name may be a hyphen in the certificate', async () => {
  await using upstream = await Upstream.start()
  expect((await upstream.dial({ sni: 'a_b.example' })).peerCertificate?.verified).toBe(true)
  await expect(upstream.dial({ sni: 'a_c.example' })).rejects.toMatchObject({ source: 'upstream' })
})

test('authorities in a file are read again, for new connections; a damaged file keeps the old ones', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'cirque-upstream-'))
  const caFile = join(folder, 'ca.pem')
  const stranger = makeCertificate({ name: 'stranger', isAuthority: true })
  const put = (content: string) => {
    writeFileSync(`${caFile}.new`, content)
    renameSync(`${caFile}.new`, caFile)
  }
  put(origin.cert)
  await using upstream = await Upstream.start({}, { caFile })
  const log = new EventEmitter()
  const tell = (message: string, fields?: object) => void log.emit('told', message, fields)
  upstream.connector.logger = { debug() {}, info: tell, warn() {}, error: tell }
  try {
    const port = (upstream.server.address() as AddressInfo).port
    const peer = new HttpPeer(`127.0.0.1:${port}`, { tls: true, sni: 'localhost' })
    const open = await upstream.connector.session(peer)
    let told = once(log, 'told')
    put(stranger.cert)
    expect(await told).toEqual(['Authorities of upstreams reloaded', { caFile }])
    expect(upstream.connector.tlsSessions.size).toBe(0)
    expect(upstream.connector.stats().open).toBe(1)
    const refused = expect.objectContaining({ code: 'INVALID_CERT' })
    await expect(upstream.connector.session(peer)).rejects.toEqual(refused)
    told = once(log, 'told')
    put(`${origin.cert.slice(0, -30)}`)
    expect((await told)[0]).toBe('Authorities of upstreams not reloaded, the old ones stay')
    await expect(upstream.connector.session(peer)).rejects.toEqual(refused)
    told = once(log, 'told')
    put(stranger.cert + origin.cert)
    expect((await told)[0]).toBe('Authorities of upstreams reloaded')
    ;(await upstream.connector.session(peer)).destroy()
    open.destroy()
    put('nothing')
    expect(() => new Connector({ caFile })).toThrow(
      /Invalid connector option "caFile" .*no certificate in it/,
    )
    expect(() => new Connector({ caReloadMs: 1 })).toThrow(/"caReloadMs" has no effect without "caFile"/)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('a peer that is not verified is logged once', async () => {
  await using upstream = await Upstream.start()
  const logged: unknown[] = []
  const warn = (message: string, fields?: unknown) => void logged.push([message, fields])
  upstream.connector.logger = { debug() {}, info() {}, warn, error() {} }
  const port = (upstream.server.address() as AddressInfo).port
  for (let visit = 0; visit < 2; visit += 1) {
    await upstream.dial({ verifyCertificate: false })
    await upstream.dial({ verifyHostname: false, sni: 'wrong.example' })
    await upstream.dial({ sni: 'origin.example' })
  }
  expect(logged).toEqual([
    ['The certificate of a peer is not verified', { peer: `127.0.0.1:${port} (TLS)` }],
    [
      'The name in the certificate of a peer is not verified',
      { peer: `127.0.0.1:${port} (TLS, SNI wrong.example)` },
    ],
  ])
})

test('a peer that answers a handshake in cleartext is named as one', async () => {
  const server = createTcpServer((socket) => {
    socket.on('error', () => undefined)
    socket.once('data', () => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const connector = new Connector()
  const session = connector.session(new HttpPeer(`127.0.0.1:${port}`, { tls: true }))
  await expect(session).rejects.toMatchObject({
    code: 'TLS_HANDSHAKE_FAILED',
    message: expect.stringContaining('does not seem to speak TLS'),
    source: 'upstream',
    retry: 'allowed',
  })
  connector.close()
  server.close()
  await once(server, 'close')
})
