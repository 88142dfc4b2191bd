import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { type ConnectionOptions, createServer, type TLSSocket } from 'node:tls'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Connector, HttpPeer, type HttpPeerOptions, type OnHandshakeComplete } from '../src/index.ts'
import { readKexGroup } from '../src/tls/session-group.ts'
import { makeCertificate, type TestCertificate } from './support/certificates.ts'
import { TlsService } from './support/tls.ts'

const one = makeCertificate({ name: 'one', dnsNames: ['one.example'] })
const authority = makeCertificate({ name: 'authority', isAuthority: true })
const client = makeCertificate({ name: 'client', issuer: authority })
const pem = ({ cert, key }: TestCertificate): { cert: string; key: string } => ({ cert, key })

describe('the group of a client’s key exchange', () => {
  test.each<[options: ConnectionOptions, group: string]>([
    [{}, 'X25519MLKEM768'],
    [{ ecdhCurve: 'X25519' }, 'X25519'],
    [{ ecdhCurve: 'P-256' }, 'prime256v1'],
    [{ ecdhCurve: 'P-384:P-256', maxVersion: 'TLSv1.2' }, 'secp384r1'],
    [{ maxVersion: 'TLSv1.2' }, 'X25519'],
  ])('%j: %s', async (options, group) => {
    await using service = await TlsService.start(pem(one))
    const { seen, group: own } = await service.visit('one.example', options)
    expect(seen.group).toBe(group)
    expect(own).toBe(group)
  })

  test('is known beside a client certificate, which makes the session long', async () => {
    const clientCertificates = { mode: 'require', ca: authority.cert } as const
    await using service = await TlsService.start({ ...pem(one), clientCertificates })
    const { seen } = await service.visit('one.example', pem(client))
    expect(seen).toMatchObject({ group: 'X25519MLKEM768', peerCertificate: { subject: 'CN=client' } })
  })

  test('of a resumed connection is its own in TLS 1.3, and none in TLS 1.2', async () => {
    await using service = await TlsService.start(pem(one))
    for (const [maxVersion, again] of [
      ['TLSv1.3', 'X25519'],
      ['TLSv1.2', undefined],
    ] as const) {
      const { session } = await service.visit('one.example', { maxVersion })
      const options = { maxVersion, ecdhCurve: 'X25519', session: session as Buffer }
      const { seen } = await service.visit('one.example', options)
      expect([seen.resumed, seen.group]).toEqual([true, again])
    }
  })

  test('no bytes make its reader throw', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => void readKexGroup(Buffer.from(bytes))))
    expect(readKexGroup(Buffer.from('3008b30402021 1ec'.replace(' ', ''), 'hex'))).toBeUndefined() // cut off
    expect(readKexGroup(Buffer.from('3006b304020211ec', 'hex'))).toBe(0x11ec)
    expect(readKexGroup(Buffer.from('3006b304020211ec00', 'hex'))).toBeUndefined()
  })
})

describe('onHandshakeComplete of a listener', () => {
  test('is called once per connection, and its value is in every digest', async () => {
    const names: unknown[] = []
    await using service = await TlsService.start({
      ...pem(one),
      onHandshakeComplete: (socket) => {
        names.push((socket as { servername?: unknown }).servername)
        return {
          tenant: names.length,
          keys: socket.exportKeyingMaterial(8, 'EXPORTER-test', Buffer.alloc(0)).length,
        }
      },
    })
    expect((await service.visit('one.example')).seen.extension).toEqual({ tenant: 1, keys: 8 })
    expect((await service.visit('two.example')).seen.extension).toEqual({ tenant: 2, keys: 8 })
    expect(names).toEqual(['one.example', 'two.example'])
  })

  test('is not asked about a client that is refused', async () => {
    let calls = 0
    await using service = await TlsService.start({
      ...pem(one),
      clientCertificates: { mode: 'require', ca: authority.cert, verify: () => false },
      onHandshakeComplete: () => void calls++,
    })
    await expect(service.visit('one.example', pem(client))).rejects.toThrow()
    expect(calls).toBe(0)
  })

  test.each<[how: string, callback: OnHandshakeComplete]>([
    [
      'throws',
      () => {
        throw new Error('no')
      },
    ],
    ['rejects', () => Promise.reject(new Error('no'))],
  ])('that %s refuses its connection only', async (_how, callback) => {
    await using service = await TlsService.start({
      ...pem(one),
      onHandshakeComplete: (socket) =>
        (socket as { servername?: unknown }).servername === 'bad.example' ? callback(socket) : 'good',
    })
    await expect(service.visit('bad.example')).rejects.toThrow()
    expect((await service.visit('one.example')).seen.extension).toBe('good')
    expect(service.service.counters.handshakeFailedCount).toBe(1)
  })

  test('must be a function', async () => {
    const wrong = { ...pem(one), onHandshakeComplete: true as unknown as OnHandshakeComplete }
    await expect(TlsService.start(wrong)).rejects.toThrow(/onHandshakeComplete.*function, received true/)
  })
})

describe('onHandshakeComplete of a peer', () => {
  async function upstreamOf(
    run: (peer: (options: HttpPeerOptions) => HttpPeer, connector: Connector) => Promise<void>,
  ) {
    const sockets: TLSSocket[] = []
    const server = createServer(pem(one), (socket) => {
      sockets.push(socket)
      socket.on('error', () => undefined).resume()
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const connector = new Connector()
    const { port } = server.address() as AddressInfo
    const base = { tls: true, sni: 'one.example', ca: one.cert } as const
    await run((options) => new HttpPeer(`127.0.0.1:${port}`, { ...base, ...options }), connector)
    connector.close()
    for (const socket of sockets) socket.destroy()
    server.close()
    await once(server, 'close')
  }

  test('is called with each new connection, over a transport of one’s own too', () =>
    upstreamOf(async (peer, connector) => {
      const onHandshakeComplete = (socket: TLSSocket) => `${socket.getProtocol()} seen`
      const custom = async () => {
        const { default: net } = await import('node:net')
        const address = peer({}).address
        const socket = net.connect({ port: address?.kind === 'tcp' ? address.port : 0, host: '127.0.0.1' })
        await once(socket, 'connect')
        return socket
      }
      for (const options of [{ onHandshakeComplete }, { onHandshakeComplete, connect: custom }]) {
        const session = await connector.session(peer(options))
        expect(session.digest().tls?.extension).toBe('TLSv1.3 seen')
        session.destroy()
      }
      const plain = await connector.session(peer({}))
      expect(plain.digest().tls?.extension).toBeUndefined()
      plain.destroy()
    }))

  test('that throws fails the connection, and it is our fault', () =>
    upstreamOf(async (peer, connector) => {
      const onHandshakeComplete = () => {
        throw new Error('pinned to another key')
      }
      await expect(connector.session(peer({ onHandshakeComplete }))).rejects.toMatchObject({
        code: 'CONNECT_ERROR',
        source: 'internal',
        cause: { message: 'pinned to another key' },
      })
    }))

  test('decides whom a connection is shared with', () => {
    const first = () => 1
    const keyOf = (callback: OnHandshakeComplete) =>
      new HttpPeer('a:1', { tls: true, onHandshakeComplete: callback }).reuseKey
    expect(keyOf(first)).toBe(keyOf(first))
    expect(keyOf(first)).not.toBe(keyOf(() => 1))
    expect(() => new HttpPeer('a:1', { onHandshakeComplete: first })).toThrow(/needs "tls: true"/)
  })
})
