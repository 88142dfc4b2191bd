import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import { afterAll, describe, expect, test } from 'vitest'
import { Connector, type ConnectorOptions, HttpPeer, type HttpPeerOptions } from '../src/index.ts'
import { makeCertificate, type TestCertificate } from './support/certificates.ts'
import { fetchOver } from './support/upstream.ts'

const root = makeCertificate({ name: 'root', isAuthority: true })
const middle = makeCertificate({ name: 'middle', isAuthority: true, issuer: root })
const client = makeCertificate({ name: 'client', issuer: middle })
const other = makeCertificate({ name: 'other client', issuer: middle })
const stranger = makeCertificate({ name: 'stranger' })
const origin = makeCertificate({ name: 'origin', dnsNames: ['origin.example'], issuer: middle })
const rsaName = makeCertificate({ name: 'alone', dnsNames: ['alone.example'] })

const chain = (...links: readonly TestCertificate[]): string => links.map(({ cert }) => cert).join('')

/** An origin of Node's own that wants a certificate signed by `root`, and tells whose it was. */
class Origin implements AsyncDisposable {
  readonly connector: Connector
  connections = 0
  readonly #server: Server

  private constructor(server: Server, options: ConnectorOptions) {
    this.#server = server
    this.connector = new Connector(options)
    server.on('secureConnection', () => this.connections++)
    server.on('tlsClientError', () => undefined)
  }

  static async start(options: ConnectorOptions = {}, mutual = true): Promise<Origin> {
    const tls = { cert: chain(origin, middle), key: origin.key, ca: root.cert }
    const server = createServer(
      { ...tls, requestCert: mutual, rejectUnauthorized: false },
      (request, response) => {
        const socket = request.socket as TLSSocket
        // As servers do that ask politely: the handshake passes, the request does not.
        response.statusCode = mutual && !socket.authorized ? 400 : 200
        response.end(String(socket.getPeerX509Certificate()?.subject ?? 'nobody'))
      },
    )
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new Origin(server, options)
  }

  peer(options: HttpPeerOptions = {}): HttpPeer {
    const { port } = this.#server.address() as AddressInfo
    return new HttpPeer(`127.0.0.1:${port}`, { tls: true, sni: 'origin.example', ca: root.cert, ...options })
  }

  async fetch(options: HttpPeerOptions = {}): Promise<[status: number, body: string]> {
    const { head, body } = await fetchOver(this.connector, this.peer(options))
    return [head?.status ?? 0, body]
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.connector.close()
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }
}

describe('a client certificate for an upstream', () => {
  test('is shown with its chain; without one, without its chain, or from a stranger it is not good', async () => {
    await using upstream = await Origin.start()
    const { key } = client
    expect(await upstream.fetch({ cert: chain(client, middle), key })).toEqual([200, 'CN=client'])
    expect(await upstream.fetch()).toEqual([400, 'nobody'])
    expect(await upstream.fetch({ cert: client.cert, key })).toEqual([400, 'CN=client'])
    expect(await upstream.fetch({ cert: stranger.cert, key: stranger.key })).toEqual([400, 'CN=stranger'])
  })

  test('decides which connections and sessions are shared', async () => {
    await using upstream = await Origin.start()
    const as = (who: TestCertificate) => upstream.fetch({ cert: chain(who, middle), key: who.key })
    for (const who of [client, other, client, other, client]) {
      expect(await as(who)).toEqual([200, `CN=${who.name}`])
    }
    expect(upstream.connections).toBe(2)
    expect(upstream.connector.stats()).toMatchObject({ opened: 2, reused: 3 })
  })

  test('whose key is another’s is our own fault', async () => {
    await using upstream = await Origin.start()
    const peer = upstream.peer({ cert: client.cert, key: other.key })
    await expect(upstream.connector.session(peer)).rejects.toMatchObject({
      code: 'CONNECT_ERROR',
      source: 'internal',
    })
  })
})

test('each way of verifying has connections of its own, on the wire as well', async () => {
  await using upstream = await Origin.start({}, false)
  const ways: HttpPeerOptions[] = [
    {},
    { verifyCertificate: false },
    { verifyHostname: false },
    { alternativeName: 'origin.example' },
    { ca: [root.cert, rsaName.cert] },
    { curves: 'X25519' },
    { sni: 'other.example', alternativeName: 'origin.example' },
    { groupKey: 'own' },
  ]
  for (let round = 0; round < 2; round++) for (const way of ways) await upstream.fetch(way)
  expect(upstream.connections).toBe(ways.length)
  expect(upstream.connector.stats()).toMatchObject({ opened: ways.length, reused: ways.length })
})

test('curves are the ones that are offered, and one that is unknown is our own fault', async () => {
  await using upstream = await Origin.start({}, false)
  for (const [curves, group] of [
    ['X25519', 'X25519'],
    ['P-384', 'secp384r1'],
    ['X25519MLKEM768', 'X25519MLKEM768'],
  ] as const) {
    const session = await upstream.connector.session(upstream.peer({ curves }))
    const { tls } = session.digest()
    session.destroy()
    expect(tls?.group).toBe(group)
  }
  await expect(upstream.connector.session(upstream.peer({ curves: 'P-1' }))).rejects.toMatchObject({
    code: 'CONNECT_ERROR',
    source: 'internal',
  })
})

test.each([
  ['in the leftmost label', 'my_app.inner.example', true],
  ['in another label', 'my-app.in_ner.example', false],
])('an underscore %s of an alternative name', async (_where, alternativeName, accepted) => {
  const named = makeCertificate({
    name: 'named',
    dnsNames: ['my-app.inner.example', 'my-app.in-ner.example'],
  })
  const server = createServer({ cert: named.cert, key: named.key }, (_request, response) =>
    response.end('ok'),
  )
  server.on('tlsClientError', () => undefined)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const connector = new Connector()
  const { port } = server.address() as AddressInfo
  for (const options of [{ sni: alternativeName }, { sni: 'x.example', alternativeName }]) {
    const peer = new HttpPeer(`127.0.0.1:${port}`, { tls: true, ca: named.cert, ...options })
    const answer = fetchOver(connector, peer).then(({ body }) => body)
    if (accepted) expect(await answer).toBe('ok')
    else await expect(answer).rejects.toMatchObject({ code: 'INVALID_CERT', source: 'upstream' })
  }
  connector.close()
  server.closeAllConnections()
  server.close()
  await once(server, 'close')
})

describe('debugSslKeylog', () => {
  const folder = mkdtempSync(join(tmpdir(), 'keylog-'))
  const file = join(folder, 'secrets')
  const before = process.env['SSLKEYLOGFILE']
  afterAll(() => {
    if (before === undefined) delete process.env['SSLKEYLOGFILE']
    else process.env['SSLKEYLOGFILE'] = before
    rmSync(folder, { recursive: true })
  })

  test('writes the secrets of upstream connections to the file of SSLKEYLOGFILE, for its owner only', async () => {
    process.env['SSLKEYLOGFILE'] = file
    await using upstream = await Origin.start({ debugSslKeylog: true }, false)
    await using silent = await Origin.start({}, false)
    await silent.fetch()
    await upstream.fetch()
    const written = () => {
      try {
        return readFileSync(file, 'latin1')
      } catch {
        return ''
      }
    }
    const whole = /^SERVER_TRAFFIC_SECRET_0 [0-9a-f]{64} [0-9a-f]+$/m
    while (!whole.test(written())) await new Promise((resolve) => setTimeout(resolve, 5))
    // One connection, each of whose secrets names the same client random.
    const randoms = written()
      .trimEnd()
      .split('\n')
      .map((line) => line.split(' ')[1])
    expect(new Set(randoms).size).toBe(1)
    expect(statSync(file).mode & 0o777).toBe(0o600)
  })
})
