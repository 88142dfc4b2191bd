import { expect, test } from 'vitest'
import { Connector, HttpPeer, type HttpPeerOptions } from '../src/index.ts'
import { turn } from './support/raw-client.ts'
import { answering, fetchOver, send, startConnector, startUpstream } from './support/upstream.ts'

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
const PEM = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'
const dispatcher = (): NonNullable<HttpPeerOptions['dispatcher']> =>
  ({ dispatch: () => true }) as unknown as NonNullable<HttpPeerOptions['dispatcher']>

test('peers share connections only when nothing that decides who they talk to differs', () => {
  const connect = () => Promise.reject(new Error('unused'))
  const options: HttpPeerOptions[] = [
    {},
    { tls: true },
    { tls: true, sni: 'a' },
    { tls: true, sni: 'b' },
    { tls: true, sni: '' },
    { tls: true, alternativeName: 'a' },
    { tls: true, sni: 'a', alternativeName: 'b' },
    { tls: true, verifyCertificate: false },
    { tls: true, verifyHostname: false },
    { tls: true, verifyHostname: false, verifyCertificate: false },
    { tls: true, ca: PEM },
    { tls: true, ca: [PEM, PEM] },
    { tls: true, cert: PEM, key: PEM },
    { tls: true, cert: PEM, key: `${PEM}x` },
    { tls: true, curves: 'X25519' },
    { localAddress: '127.0.0.1' },
    { localAddress: '127.0.0.2' },
    { groupKey: 'g' },
    { groupKey: 'h' },
    { groupKey: 'from 127.0.0.1' },
    { tcpKeepAliveMs: 1_000 },
    { proxy: { address: '127.0.0.1:1' } },
    { proxy: { address: '127.0.0.1:1', headers: { A: 'b' } } },
    { connect },
    { connect: () => connect() },
    { dispatcher: dispatcher() },
    { dispatcher: dispatcher() },
  ]
  const keys = ['127.0.0.1:80', '127.0.0.1:81', 'a:80', 'unix:/a'].flatMap((address) =>
    options.map((each) => new HttpPeer(address, each).reuseKey),
  )
  expect(new Set(keys).size).toBe(keys.length)
  // Timeouts do not decide it.
  const fast = new HttpPeer('a:80', { readTimeoutMs: 1, connectTimeoutMs: 1, idleTimeoutMs: 1 })
  expect(fast.reuseKey).toBe(new HttpPeer('a:80').reuseKey)
  expect(new HttpPeer('a:80', { tls: true, ca: PEM }).reuseKey).toBe(
    new HttpPeer('a:80', { tls: true, ca: [Buffer.from(PEM)] }).reuseKey,
  )
})

test('a group has connections of its own', async () => {
  await using upstream = await startUpstream(answering(OK))
  await using connector = startConnector()
  await fetchOver(connector, upstream.peer({ groupKey: 'a' }))
  await fetchOver(connector, upstream.peer({ groupKey: 'b' }))
  await fetchOver(connector, upstream.peer({ groupKey: 'a' }))
  expect(upstream.sockets.length).toBe(2)
  expect(connector.stats()).toMatchObject({ idle: 2, opened: 2, reused: 1 })
})

test('the peer’s timeouts are those of the exchange, not of the one that opened the connection', async () => {
  await using upstream = await startUpstream(answering(OK, ''))
  await using connector = startConnector()
  await fetchOver(connector, upstream.peer({ readTimeoutMs: 60_000 }))
  const { error } = await fetchOver(connector, upstream.peer({ readTimeoutMs: 30 }))
  expect(error?.code).toBe('READ_TIMEOUT')
  expect(upstream.sockets.length).toBe(1)
})

test('keepalivePoolSize and keepalivePoolSizePerPeer hold at n; n + 1 closes the least recently used', async () => {
  for (const [options, kept] of [
    [{ keepalivePoolSize: 2 }, 2],
    [{ keepalivePoolSizePerPeer: 1 }, 1],
    [{ keepalivePoolSize: 0 }, 0],
  ] as const) {
    await using upstream = await startUpstream(answering(OK))
    await using connector = startConnector(options)
    const sessions = await Promise.all([1, 2, 3].map(() => connector.session(upstream.peer())))
    await Promise.all(sessions.map((session) => send(session).done))
    for (const session of sessions) connector.release(session)
    expect(connector.stats()).toMatchObject({ idle: kept, open: kept })
  }
})

test('idleTimeoutMs 0 never pools; a short one closes by itself', async () => {
  await using upstream = await startUpstream(answering(OK))
  await using connector = startConnector()
  await fetchOver(connector, upstream.peer({ idleTimeoutMs: 0 }))
  expect(connector.stats().open).toBe(0)
  await fetchOver(connector, upstream.peer({ idleTimeoutMs: 20 }))
  expect(connector.stats().idle).toBe(1)
  while (connector.stats().open > 0) await new Promise((resolve) => setTimeout(resolve, 20))
})

test('requestsPerConnectionMax and connectionAgeMaxMs end a connection’s use', async () => {
  await using upstream = await startUpstream(answering(OK))
  await using connector = startConnector({ requestsPerConnectionMax: 2 })
  for (let i = 0; i < 4; i++) await fetchOver(connector, upstream.peer())
  expect(upstream.sockets.length).toBe(2)
  await using aged = startConnector({ connectionAgeMaxMs: 1 })
  const session = await aged.session(upstream.peer())
  await send(session).done
  await new Promise((resolve) => setTimeout(resolve, 30))
  aged.release(session)
  expect(aged.stats().idle).toBe(0)
})

test('a released session is out of reach: a second release, or a destroyed one, does no harm', async () => {
  await using upstream = await startUpstream(answering(OK))
  await using connector = startConnector()
  const session = await connector.session(upstream.peer())
  await send(session).done
  connector.release(session)
  connector.release(session)
  expect(connector.stats().open).toBe(0)
  const other = await connector.session(upstream.peer())
  other.destroy()
  other.destroy()
  connector.release(other)
  expect(connector.stats()).toMatchObject({ idle: 0, open: 0 })
})

test('a session that is released within an exchange closes its connection', async () => {
  await using upstream = await startUpstream(answering('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab'))
  await using connector = startConnector()
  const session = await connector.session(upstream.peer())
  const recorder = send(session)
  while (recorder.bodyBytes === 0) await turn()
  connector.release(session)
  expect(connector.stats().open).toBe(0)
  await turn()
  expect(recorder.error).toBeUndefined()
})

test('a closed connector keeps nothing', async () => {
  await using upstream = await startUpstream(answering(OK))
  await using connector = startConnector()
  const session = await connector.session(upstream.peer())
  connector.close()
  await send(session).done
  connector.release(session)
  expect(connector.stats()).toMatchObject({ idle: 0, open: 0 })
})

test('a wait for a session ends when its signal says so', async () => {
  await using upstream = await startUpstream(answering(OK))
  await using connector = startConnector()
  const controller = new AbortController()
  const connect = () => new Promise<never>(() => undefined)
  const waiting = connector.session(new HttpPeer('a:80', { connect }), { signal: controller.signal })
  controller.abort(new Error('enough'))
  await expect(waiting).rejects.toThrow('enough')
  await expect(connector.session(upstream.peer(), { signal: controller.signal })).rejects.toThrow('enough')
  const later = new AbortController()
  const session = await connector.session(upstream.peer(), { signal: later.signal })
  later.abort()
  expect((await send(session).done).body).toBe('ok')
  connector.release(session)
})

test('wrong options are refused by name', () => {
  for (const name of ['headBytesMax', 'fieldsMax', 'informationalMax']) {
    for (const value of [0, -1, 1.5, Number.NaN]) {
      expect(() => new Connector({ [name]: value })).toThrow(RangeError)
      expect(() => new Connector({ [name]: value })).toThrow(name)
    }
  }
  expect(() => new Connector({ poolSize: 1 } as object)).toThrow('Unknown connector option "poolSize"')
  expect(() => new Connector({ keepalivePoolSize: -1 })).toThrow(RangeError)
  expect(() => new Connector({ connectionAgeMaxMs: -1 })).toThrow(RangeError)
  expect(() => new Connector({ profile: 'loose' as 'strict' })).toThrow(TypeError)
  expect(() => new Connector({ bindToIpv4: ['::1'] })).toThrow('"bindToIpv4"')
  expect(() => new Connector({ bindToIpv6: ['127.0.0.1'] })).toThrow('"bindToIpv6"')
  expect(() => new Connector({ caFile: '/does/not/exist' })).toThrow('/does/not/exist')
})
