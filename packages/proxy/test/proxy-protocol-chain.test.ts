import { connect } from 'node:net'
import { connect as connectTls } from 'node:tls'
import {
  type ConnectionDigest,
  HttpPeer,
  type HttpPeerOptions,
  type ProxyHeader,
  proxyHeaderFor,
  proxyTlvFacts,
  proxyTlvsFor,
} from '@cirque/core'
import { describe, expect, test } from 'vitest'
import { makeCertificate } from '../../core/test/support/certificates.ts'
import type { HttpProxyServiceOptions, ProxyHttp } from '../src/index.ts'
import { exchange, get, RawClient } from './support/client.ts'
import { CERTIFICATE } from './support/http2.ts'
import { startProxy } from './support/proxy.ts'
import { startUpstream } from './support/upstream.ts'
import { until } from './support/waiting.ts'

const TRUSTING = { proxyProtocol: { trusted: ['127.0.0.0/8'] } } as const
const FROM_CLIENT = 'PROXY TCP4 192.0.2.7 198.51.100.1 56324 80\r\n'

/** A proxy behind another one, in front of an origin that tells what it was told of the client. */
async function startInner(app: Partial<ProxyHttp> = {}, options: HttpProxyServiceOptions = {}, tls = false) {
  const stack = new AsyncDisposableStack()
  const origin = stack.use(
    await startUpstream((request, response) => response.end(String(request.headers['x-forwarded-for']))),
  )
  const digests: ConnectionDigest[] = []
  const proxy = stack.use(
    await startProxy(
      {
        upstreamPeer: () => new HttpPeer(origin.address),
        requestFilter: (session) => void digests.push(session.digest()),
        ...app,
      },
      { forwarding: { xForwarded: true }, ...options },
      tls ? CERTIFICATE : undefined,
      TRUSTING,
    ),
  )
  return { proxy, digests, [Symbol.asyncDispose]: () => stack.disposeAsync() }
}

test('the client of the header is who is forwarded, and who a hook sees', async () => {
  const seen: (string | undefined)[] = []
  await using inner = await startInner({ logging: (session) => void seen.push(session.remoteAddress) })
  expect(await exchange(inner.proxy.port, FROM_CLIENT + get('/', 'Connection: close'))).toMatch(
    /192\.0\.2\.7$/,
  )
  await inner.proxy.idle()
  expect(seen).toEqual(['192.0.2.7'])
})

test('connectionsPerIpMax counts clients and not the proxy in front', async () => {
  await using inner = await startInner({}, { listening: { connectionsPerIpMax: 1 } })
  const open = async (ip: string) => {
    const client = new RawClient(inner.proxy.port)
    client.write(`PROXY TCP4 ${ip} 198.51.100.1 56324 80\r\n${get()}`)
    await until(() => client.received.endsWith(ip) || client.closed || client.ended, 'neither answer nor end')
    return client
  }
  await using first = await open('192.0.2.1')
  await using second = await open('192.0.2.2')
  await using third = await open('192.0.2.1')
  expect([first.received !== '', second.received !== '', third.received]).toEqual([true, true, ''])
})

describe('from proxy to proxy', () => {
  const ways: [name: string, peer: HttpPeerOptions, tls: boolean][] = [
    ['HTTP/1.1', {}, false],
    ['HTTP/2 in the clear', { httpVersion: 2 }, false],
    ['HTTP/2 over TLS', { httpVersion: 2, tls: true, sni: 'localhost', ca: CERTIFICATE.cert }, true],
    ['what TLS chooses', { httpVersion: 'auto', tls: true, sni: 'localhost', ca: CERTIFICATE.cert }, true],
  ]
  test.each(ways)('over %s: each client has connections of its own', async (_name, peer, tls) => {
    await using inner = await startInner({}, { server: { h2c: true } }, tls)
    await using edge = await startProxy(
      {
        upstreamPeer(session) {
          const sendProxyProtocol = proxyHeaderFor(session.digest(), 2, { crc32c: true })
          return new HttpPeer(`127.0.0.1:${inner.proxy.port}`, { ...peer, sendProxyProtocol })
        },
      },
      {},
      undefined,
      TRUSTING,
    )
    for (const ip of ['192.0.2.1', '192.0.2.2']) {
      await using client = new RawClient(edge.port)
      client.write(`PROXY TCP4 ${ip} 198.51.100.1 56324 80\r\n`)
      for (let i = 0; i < 2; i++) expect((await client.write(get()).response()).body).toBe(ip)
    }
    await edge.idle()
    const named = inner.digests.map(({ remoteAddress, localAddress, proxy }) => [
      remoteAddress,
      localAddress,
      proxy?.remoteAddress,
    ])
    const expected = (ip: string) => [ip, '198.51.100.1', '127.0.0.1']
    expect(named).toEqual(['192.0.2.1', '192.0.2.1', '192.0.2.2', '192.0.2.2'].map(expected))
    await until(() => edge.proxy.connector.stats().open === 0, 'a connection is kept')
  })

  test('the TLVs tell the TLS of the client, its certificate and its server name', async () => {
    const authority = makeCertificate({ name: 'authority', isAuthority: true })
    const client = makeCertificate({ name: 'client, the 7th', issuer: authority })
    let header: ProxyHeader | undefined
    await using inner = await startInner({
      requestFilter: (session) => {
        header = session.digest().proxy?.header
      },
    })
    await using edge = await startProxy(
      {
        upstreamPeer(session) {
          const digest = session.digest()
          const sendProxyProtocol = proxyHeaderFor(digest, 2, { tlvs: proxyTlvsFor(digest), crc32c: true })
          return new HttpPeer(`127.0.0.1:${inner.proxy.port}`, { sendProxyProtocol })
        },
      },
      {},
      { ...CERTIFICATE, clientCertificates: { mode: 'optional', ca: authority.cert } },
    )
    const visit = async (identity: { cert?: string; key?: string }) => {
      const to = { port: edge.port, host: '127.0.0.1', servername: 'localhost', ca: CERTIFICATE.cert }
      const socket = connectTls({ ...to, ALPNProtocols: ['http/1.1'], ...identity })
      socket.write(get('/', 'Connection: close'))
      for await (const _chunk of socket);
      return proxyTlvFacts(header?.tlvs ?? [])
    }
    expect(await visit({ cert: client.cert, key: client.key })).toMatchObject({
      alpn: 'http/1.1',
      authority: 'localhost',
      tls: {
        tls: true,
        version: 'TLSv1.3',
        cipher: 'TLS_AES_256_GCM_SHA384',
        certificateOnConnection: true,
        certificateInSession: true,
        verified: true,
        commonName: 'client, the 7th',
      },
    })
    expect((await visit({})).tls).toMatchObject({ tls: true, verified: false, commonName: undefined })
    expect(proxyTlvsFor({ tls: undefined })).toEqual([])
  })
})

test('a checksum is written when the header says so, and only in version 2', async () => {
  const digest = { remoteAddress: '192.0.2.7', remotePort: 1, localAddress: '192.0.2.8', localPort: 2 }
  expect(() => proxyHeaderFor(digest, 1, { crc32c: true })).toThrow(/no checksum/)
  const plain = new HttpPeer('127.0.0.1:1', { sendProxyProtocol: proxyHeaderFor(digest, 2) })
  const summed = new HttpPeer('127.0.0.1:1', {
    sendProxyProtocol: proxyHeaderFor(digest, 2, { crc32c: true }),
  })
  expect(plain.reuseKey).not.toBe(summed.reuseKey)
  // A byte of the header that is changed on its way is noticed.
  await using inner = await startInner()
  const { writeProxyHeader } = await import('@cirque/core')
  const bytes = writeProxyHeader(proxyHeaderFor(digest, 2, { crc32c: true }))
  for (const [spoilt, answered] of [
    [false, true],
    [true, false],
  ]) {
    if (spoilt) bytes[16] = 193
    const socket = connect(inner.proxy.port, '127.0.0.1')
    socket.on('error', () => undefined)
    let received = ''
    socket.on('data', (data) => {
      received += String(data)
    })
    socket.write(bytes)
    socket.write(get('/', 'Connection: close'))
    await new Promise((resolve) => socket.once('close', resolve))
    expect(received.startsWith('HTTP/1.1 200')).toBe(answered)
  }
  expect(inner.proxy.service.counters.proxyHeaderFailedCount).toBe(1)
})
