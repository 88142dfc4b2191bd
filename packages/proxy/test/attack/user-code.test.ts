import { Duplex } from 'node:stream'
import { HttpPeer, type Logger } from '@cirque/core'
import { ResponseHeader } from '@cirque/http'
import { expect, test } from 'vitest'
import type { ProxyHttp, Session } from '../../src/index.ts'
import { ask, get, RawClient } from '../support/client.ts'
import { startProxy } from '../support/proxy.ts'
import { deadAddress, startUpstream } from '../support/upstream.ts'
import { expectNoProcessFaults } from './support/process-faults.ts'

expectNoProcessFaults()

const boom = (): never => {
  throw new Error('boom')
}
const POST = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc'

function startOk() {
  return startUpstream((request, response) => {
    request.resume()
    request.on('end', () => response.setHeader('X-Origin', 'yes').end('ok'))
  })
}

test.each(['an upstream that answers', 'a dead one'])('a logger that throws: %s', async (name) => {
  await using upstream = await startOk()
  const dead = await deadAddress()
  const logger: Logger = { debug: boom, info: boom, warn: boom, error: boom }
  let logged = 0
  await using proxy = await startProxy(
    {
      upstreamPeer: () => new HttpPeer(name === 'a dead one' ? dead : upstream.address),
      logging() {
        logged++
        boom()
      },
    },
    { logger },
  )
  expect((await ask(proxy.port, get())).status).toBe(name === 'a dead one' ? 502 : 200)
  await proxy.idle()
  expect(logged).toBe(1)
})

const HOOKS = [
  'newCtx',
  'earlyRequestFilter',
  'requestFilter',
  'proxyUpstreamFilter',
  'upstreamPeer',
  'failToConnect',
  'connectedToUpstream',
  'upstreamRequestFilter',
  'requestBodyFilter',
  'upstreamResponseFilter',
  'responseFilter',
  'upstreamResponseBodyFilter',
  'responseBodyFilter',
  'failToProxy',
  'suppressErrorLog',
  'requestSummary',
  'logging',
] as const
/** Objects that throw when anybody looks at them. */
const UNREADABLE: object = Object.defineProperty({}, 'then', { get: boom })
const UNTOUCHABLE: object = new Proxy({}, { get: boom, has: boom, getPrototypeOf: boom })

test.each(HOOKS.flatMap((name) => [[name, 'returns'] as const, [name, 'throws'] as const]))(
  '%s that %s what cannot be looked at harms its own request only',
  async (name, way) => {
    await using upstream = await startOk()
    const dead = await deadAddress()
    let bad = true
    const failing = name.startsWith('failTo')
    const hook = () => {
      if (!bad) return undefined
      if (way === 'throws') throw UNTOUCHABLE
      return UNREADABLE
    }
    const peer = () => new HttpPeer(failing && bad ? dead : upstream.address)
    const app: ProxyHttp = {
      upstreamPeer: peer,
      ...({ [name]: name === 'upstreamPeer' ? () => hook() ?? peer() : hook } as Partial<ProxyHttp>),
    }
    await using proxy = await startProxy(app, { maxRetries: 1 })
    const reply = await ask(proxy.port, POST).catch(() => ({ status: 0 }))
    expect([0, 200, 500, 502]).toContain(reply.status)
    await proxy.idle()
    bad = false
    expect((await ask(proxy.port, POST)).body).toBe('ok')
  },
)

/** Streams of a `connect` function that break the rules of streams. */
const STREAMS: Record<string, () => Duplex> = {
  'throws in _write': () => new Duplex({ read() {}, write: boom }),
  'throws in _read': () => new Duplex({ read: boom, write: (_chunk, _encoding, done) => done() }),
  'calls back twice': () =>
    new Duplex({
      read() {},
      write(_chunk, _encoding, done) {
        done()
        done()
      },
    }),
  'throws in _destroy': () =>
    new Duplex({ read() {}, write: (_chunk, _encoding, done) => done(), destroy: boom }),
}
test.each(Object.keys(STREAMS))('a connect function whose stream %s fails its request only', async (name) => {
  await using proxy = await startProxy(
    {
      upstreamPeer: () =>
        new HttpPeer('127.0.0.1:9', { readTimeoutMs: 100, connect: async () => STREAMS[name]?.() as Duplex }),
    },
    { maxRetries: 1 },
  )
  const long = `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n${'x'.repeat(9_000)}`
  for (const bytes of [get(), POST, long]) expect([502, 504]).toContain((await ask(proxy.port, bytes)).status)
})

test('what hooks change of a head stays with its own request, however alike the next one is', async () => {
  await using upstream = await startOk()
  let count = 0
  await using proxy = await startProxy({
    upstreamPeer: () => new HttpPeer(upstream.address),
    requestFilter(session) {
      if (++count % 2 === 1) session.request.insertHeader('X-Odd', String(count))
    },
    upstreamRequestFilter(_session, request) {
      if (count % 2 === 1) request.removeHeader('X-Same')
    },
    responseFilter(_session, response) {
      if (count % 2 === 1) response.removeHeader('X-Origin')
      else response.insertHeader('X-Even', String(count))
    },
  })
  await using client = new RawClient(proxy.port)
  for (let i = 1; i <= 6; i++) {
    client.write(get('/', 'X-Same: same'))
    const { headers } = await client.response()
    const odd = i % 2 === 1
    expect([headers['x-origin'], headers['x-even']]).toEqual(
      odd ? [undefined, undefined] : ['yes', String(i)],
    )
    const seen = upstream.requests.at(-1)?.headers
    expect([seen?.['x-odd'], seen?.['x-same']]).toEqual(odd ? [String(i), undefined] : [undefined, 'same'])
  }
})

test('a session that is used after its end does nothing to the next one of its connection', async () => {
  await using upstream = await startOk()
  const late: Session[] = []
  const misuse = (session: Session) => {
    const { downstream } = session
    for (const act of [
      () => session.respond(500, { body: 'late' }),
      () => session.respondError(500),
      () => session.writeResponseHeader(ResponseHeader.build(500)),
      () => session.endResponse(),
      () => session.disableKeepAlive(),
      () => downstream.writeInformational(ResponseHeader.build(103)),
      () => downstream.writeBody(Buffer.from('late'), 0, 4),
      () => downstream.flush(),
      () => downstream.resumeRequestBody(),
      () => downstream.pauseRequestBody(),
      () => downstream.destroy(),
    ]) {
      try {
        act()
      } catch {
        // To be told so is fine.
      }
    }
  }
  const misuseAll = () => {
    for (const session of late) misuse(session)
  }
  await using proxy = await startProxy({
    upstreamPeer: () => new HttpPeer(upstream.address),
    requestFilter: misuseAll,
    upstreamRequestFilter: misuseAll,
    responseFilter: misuseAll,
    logging: (session) => void late.push(session),
  })
  await using client = new RawClient(proxy.port)
  for (let i = 0; i < 4; i++) {
    client.write(i % 2 === 0 ? POST : get())
    const { status, body } = await client.response()
    expect([status, body]).toEqual([200, 'ok'])
    misuseAll()
  }
  expect(client.received).toBe('')
})

test.each<[string, (session: Session) => void]>([
  ['cuts', ({ downstream }) => downstream.destroy()],
  ['ends', ({ downstream }) => downstream.endResponse(null)],
])('a body filter that %s the response itself is told of, and no success', async (_name, act) => {
  await using upstream = await startOk()
  let misbehaves = true
  const errors: (string | undefined)[] = []
  await using proxy = await startProxy({
    upstreamPeer: () => new HttpPeer(upstream.address),
    responseBodyFilter(session) {
      if (misbehaves) act(session)
      return undefined
    },
    logging: (_session, error) => void errors.push(error?.code),
  })
  await ask(proxy.port, get()).catch(() => undefined)
  await proxy.idle()
  misbehaves = false
  expect((await ask(proxy.port, get())).body).toBe('ok')
  await proxy.idle()
  expect(errors).toEqual(['FILTER_FAILED', undefined])
})
