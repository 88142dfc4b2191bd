import { once } from 'node:events'
import http2, { type ClientHttp2Stream } from 'node:http2'
import { HttpPeer } from '@cirque/core'
import { expect, test } from 'vitest'
import type { ProxyHttp } from '../src/index.ts'
import { AnyClient } from './support/http2.ts'
import { startProxy } from './support/proxy.ts'
import { deadAddress, startRawUpstream } from './support/upstream.ts'
import { until } from './support/waiting.ts'

const { NGHTTP2_CONNECT_ERROR } = http2.constants
/** A reverse proxy that would send every ordinary request to an address where nobody is. */
const app: ProxyHttp = { upstreamPeer: () => new HttpPeer('127.0.0.1:1') }
const tunnelsTo = (...allow: readonly string[]) => ({ connect: { allow }, server: { h2c: true } })

interface Tunnel {
  readonly stream: ClientHttp2Stream
  status(): Promise<number>
  text: string
}

function connect(client: AnyClient, authority: string, more: Record<string, string> = {}): Tunnel {
  const stream = client.session?.request({
    ':method': 'CONNECT',
    ':authority': authority,
    ...more,
  }) as ClientHttp2Stream
  stream.on('error', () => undefined)
  const answered = once(stream, 'response') as Promise<[Record<string, number>]>
  const tunnel = { stream, text: '', status: async () => (await answered)[0][':status'] as number }
  stream.on('data', (chunk: Buffer) => {
    tunnel.text += chunk.toString('latin1')
  })
  return tunnel
}

/** An upstream that says who it is, then echoes. */
const startEcho = () =>
  startRawUpstream((socket) => {
    socket.on('error', () => undefined)
    socket.write('hello\n')
    socket.pipe(socket)
  })

test('RFC 9113 §8.5: a tunnel carries bytes both ways, early ones too, and each end by itself', async () => {
  await using upstream = await startEcho()
  const logged: unknown[] = []
  await using proxy = await startProxy(
    { ...app, logging: (session, error) => void logged.push([session.request.method, error]) },
    tunnelsTo(upstream.address),
  )
  await using client = new AnyClient(2, proxy.port)
  const [one, other] = [connect(client, upstream.address), connect(client, upstream.address)]
  one.stream.write('early')
  expect(await one.status()).toBe(200)
  await until(() => one.text === 'hello\nearly', 'nothing comes back')
  const big = 'x'.repeat(3_000_000)
  one.stream.end(big)
  await once(one.stream, 'end')
  expect(one.text === `hello\nearly${big}`).toBe(true)
  expect(one.stream.rstCode).toBe(0)
  // The other one, on the same connection, goes on.
  other.stream.end('last')
  await once(other.stream, 'end')
  expect(other.text).toBe('hello\nlast')
  await proxy.idle()
  await until(() => upstream.connections.open === 0, 'the upstream is still connected')
  expect(logged).toEqual(Array(2).fill(['CONNECT', undefined]))
  expect(proxy.errors()).toEqual([])
})

test('what the list does not name is 403, what has content 400, and what cannot be reached 502', async () => {
  await using upstream = await startEcho()
  const dead = await deadAddress()
  await using proxy = await startProxy(app, tunnelsTo(dead, 'allowed.example:443'))
  await using client = new AnyClient(2, proxy.port)
  for (const [authority, status, more] of [
    [upstream.address, 403, {}],
    ['allowed.example', 403, {}],
    [dead, 400, { 'content-length': '5' }],
    [dead, 502, {}],
  ] as const) {
    const { stream, status: answered } = connect(client, authority, more)
    const closed = once(stream, 'close')
    expect(await answered(), authority).toBe(status)
    stream.end()
    await closed
  }
  expect(upstream.connections.accepted).toBe(0)
})

test('a 2xx of a filter opens no tunnel', async () => {
  await using upstream = await startEcho()
  await using proxy = await startProxy(
    {
      ...app,
      requestFilter(session) {
        session.respond(204)
        return true
      },
    },
    tunnelsTo(upstream.address),
  )
  await using client = new AnyClient(2, proxy.port)
  const { status, stream } = connect(client, upstream.address)
  expect(await status()).toBe(501)
  stream.end()
  expect(upstream.connections.accepted).toBe(0)
})

test('an upstream that breaks off is CONNECT_ERROR; a client that does leaves nothing behind', async () => {
  await using upstream = await startEcho()
  await using proxy = await startProxy(app, tunnelsTo(upstream.address))
  await using client = new AnyClient(2, proxy.port)
  const cut = connect(client, upstream.address)
  expect(await cut.status()).toBe(200)
  const closed = new Promise((resolve) => cut.stream.once('close', resolve))
  upstream.cut(true)
  await closed
  expect(cut.stream.rstCode).toBe(NGHTTP2_CONNECT_ERROR)
  const left = connect(client, upstream.address)
  expect(await left.status()).toBe(200)
  left.stream.close(http2.constants.NGHTTP2_CANCEL)
  await proxy.idle()
  await until(() => upstream.connections.open === 0, 'the upstream is still connected')
})

test('a tunnel whose upstream does not read stops its client, and holds no more than windows allow', async () => {
  let resume: (() => void) | undefined
  await using upstream = await startRawUpstream((socket) => {
    socket.on('error', () => undefined)
    socket.pause()
    resume = () => socket.pipe(socket)
  })
  await using proxy = await startProxy(app, tunnelsTo(upstream.address))
  await using client = new AnyClient(2, proxy.port)
  const { stream, status } = connect(client, upstream.address)
  expect(await status()).toBe(200)
  const body = Buffer.alloc(24 * 1_024 * 1_024, 'x')
  let sent = false
  stream.write(body, () => {
    sent = true
  })
  // Whoever is served meanwhile shows that the proxy has done what it can.
  await using other = new AnyClient(2, proxy.port)
  for (let i = 0; i < 50; i++) await connect(other, '127.0.0.1:2').status()
  expect(sent).toBe(false)
  resume?.()
  let bytes = 0
  stream.removeAllListeners('data')
  stream.on('data', (chunk: Buffer) => {
    bytes += chunk.length
  })
  stream.end()
  await once(stream, 'end')
  expect(bytes).toBe(body.length)
})
