import { HttpPeer } from '@cirque/core'
import { brokenInvariants, peerError } from '@cirque/error'
import { ResponseHeader } from '@cirque/http'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { listening } from '../../../scripts/test-support/invariants.ts'
import {
  CHOOSING,
  ENDED,
  EXCHANGE_STATES,
  type ExchangeState,
  TUNNEL,
} from '../src/exchange/exchange-states.ts'
import type { ProxyHttp, Session } from '../src/index.ts'
import { exchange as exchangeBytes, get, RawClient } from './support/client.ts'
import { AnyClient, startOrigin } from './support/http2.ts'
import { startProxy } from './support/proxy.ts'
import { deadAddress, startRawUpstream, startUpstream } from './support/upstream.ts'
import { gate, until } from './support/waiting.ts'

interface Machine {
  become(next: number): boolean
}

/** Makes the exchange behind `session` take `state`, which only a fault of ours could. */
function force(session: Session, state: ExchangeState): void {
  const owner = session.downstream.handler as unknown as { become(next: ExchangeState): boolean }
  owner.become(state)
}

/** Breaks the rules of the response, so that its session fails within this call and the exchange ends. */
function breakResponse({ downstream }: Session): void {
  if (downstream.responseStatus === 0) downstream.writeHead(ResponseHeader.build(200), 1)
  downstream.writeBody(Buffer.from('too long'), 0, 8)
}

const HELLO = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello'

test('a broken invariant before the response ends the exchange with 500 and keeps neither connection', async () => {
  const asked: string[] = []
  await using upstream = await startUpstream((_request, response) => response.end('hello'))
  await using proxy = await startProxy({
    upstreamPeer: () => new HttpPeer(upstream.address),
    upstreamRequestFilter(session) {
      if (session.request.path === '/broken') force(session, TUNNEL)
    },
    errorWhileProxy: () => void asked.push('errorWhileProxy'),
    failToProxy: () => void asked.push('failToProxy'),
    logging: (session, error) => void asked.push(`logging ${session.request.path} ${error?.code ?? 'fine'}`),
  })
  await using other = new RawClient(proxy.port)
  other.write(get('/before'))
  expect((await other.response()).body).toBe('hello')

  using channel = listening()
  const before = brokenInvariants()
  const reply = await exchangeBytes(proxy.port, get('/broken'))
  expect(reply).toMatch(/^HTTP\/1\.1 500 [\s\S]*\r\nconnection: close\r\n/i)
  await until(() => upstream.connections.open === 0, 'the connection to the upstream is kept')
  expect(upstream.requests.map(({ url }) => url)).toEqual(['/before'])
  expect(proxy.proxy.stats()).toEqual({ requests: 2, active: 0, broken: 1 })
  expect(brokenInvariants()).toBe(before + 1)
  expect(channel.messages).toMatchObject([
    { machine: 'proxied exchange', from: 'connected', to: 'tunnel', error: { code: 'INVARIANT_BROKEN' } },
  ])
  expect(proxy.errors().join('\n')).toContain('cannot go from "connected" to "tunnel"')

  // Nobody else is harmed, and no hook but `logging` was asked.
  other.write(get('/after'))
  expect((await other.response()).body).toBe('hello')
  await proxy.idle()
  expect(asked).toEqual(['logging /before fine', 'logging /broken INVARIANT_BROKEN', 'logging /after fine'])
})

test('a broken invariant within the response cuts the client and destroys the upstream', async () => {
  await using upstream = await startRawUpstream((socket) => {
    socket.on('data', () => socket.write(HELLO.replace('Content-Length: 5', 'Content-Length: 500')))
    socket.on('end', () => socket.end())
  })
  await using proxy = await startProxy({
    upstreamPeer: () => new HttpPeer(upstream.address),
    responseBodyFilter: (session) => force(session, CHOOSING),
  })
  const reply = await exchangeBytes(proxy.port, get())
  expect(reply).not.toContain('hello')
  expect(reply).not.toContain('500 Internal')
  await until(() => upstream.connections.open === 0, 'the connection to the upstream is kept')
  expect(proxy.proxy.stats()).toMatchObject({ active: 0, broken: 1 })
})

test.each(['client', 'upstream'])(
  'a connection of the %s that breaks its states takes its exchange along',
  async (side) => {
    await using upstream = await startUpstream((_request, response) => response.end('hello'))
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer(upstream.address),
      connectedToUpstream(session, _peer, connection) {
        const { connection: own } = session.downstream as unknown as { readonly connection: Machine }
        const broken = side === 'client' ? own : (connection as unknown as Machine)
        // For both it is part of a head, which cannot come while an exchange is under way.
        broken.become(1)
      },
    })
    using channel = listening()
    expect(await exchangeBytes(proxy.port, get())).toMatch(/^HTTP\/1\.1 500 /)
    await until(() => upstream.connections.open === 0, 'the connection to the upstream is kept')
    await proxy.idle()
    expect(channel.messages).toMatchObject([
      { machine: `connection ${side === 'client' ? 'of a client' : 'to an upstream'}` },
    ])
    expect(proxy.proxy.stats()).toMatchObject({ active: 0, broken: 1 })
  },
)

/** What of an exchange over HTTP/2 can break, and how only a defect of ours could make it. */
const HTTP2_PARTS: Readonly<Record<string, (session: Session, upstream: unknown) => boolean>> = {
  'request of a client': ({ downstream }) => inside(downstream).becomeRequest(0),
  'response to a client': ({ downstream }) => inside(downstream).becomeResponse(0),
  'HTTP/2 stream': ({ downstream }) => inside(downstream).stream.become(4),
  'HTTP/2 stream to the upstream': (_session, upstream) => inside(upstream).stream.become(4),
  'HTTP/2 exchange with an upstream': (_session, upstream) => (upstream as Machine).become(0),
  'HTTP/2 connection to an upstream': (_session, upstream) => inside(upstream).connection.become(0),
}

interface Inside {
  readonly connection: Machine
  readonly stream: Machine
  becomeRequest(next: number): boolean
  becomeResponse(next: number): boolean
}

const inside = (session: unknown): Inside => session as Inside

test.each(Object.keys(HTTP2_PARTS))(
  'a broken %s is answered 500, and requests beside it go on unless they share it',
  async (part) => {
    const slow = gate()
    const arrived = gate()
    await using origin = await startOrigin(2, async (request, response) => {
      if (request.url === '/slow') {
        arrived.open()
        await slow.promise
      }
      response.end('hello')
    })
    let upstream: unknown
    await using proxy = await startProxy(
      {
        upstreamPeer: () => new HttpPeer(origin.address, { httpVersion: 2 }),
        connectedToUpstream(session, _peer, connection) {
          if (session.request.path === '/broken') upstream = connection
        },
        upstreamResponseFilter(session) {
          if (session.request.path !== '/broken') return
          expect(HTTP2_PARTS[part]?.(session, upstream)).toBe(false)
        },
      },
      { server: { h2c: true } },
    )
    using channel = listening()
    await using client = new AnyClient(2, proxy.port)
    const beside = client.ask({ path: '/slow' })
    await arrived.promise
    const { status, headers } = await client.ask({ path: '/broken' })
    expect([status, headers['cache-control']]).toEqual([500, 'private, no-store'])
    slow.open()
    expect((await beside).status).toBe(part === 'HTTP/2 connection to an upstream' ? 500 : 200)
    await using next = new AnyClient(2, proxy.port)
    expect((await next.ask({ path: '/after' })).body.toString()).toBe('hello')
    await proxy.idle()
    expect(channel.messages.map(({ machine }) => machine)).toEqual([part.replace(' to the upstream', '')])
    expect(proxy.proxy.stats()).toMatchObject({ active: 0, broken: part.startsWith('HTTP/2 conn') ? 2 : 1 })
    const told = [proxy.proxy.serverApp.stats().broken, proxy.proxy.connector.stats().broken]
    expect(told).toEqual(part.includes('upstream') ? [0, 1] : [1, 0])
  },
)

test('a connection that comes after the end is destroyed and counted', async () => {
  await using upstream = await startUpstream((_request, response) => response.end('hello'))
  await using proxy = await startProxy({
    upstreamPeer: () => new HttpPeer(upstream.address),
    connectedToUpstream(session, peer) {
      // The exchange ends; then a second connection is handed to it, as if its connector had told it twice.
      const owner = session.downstream.handler as unknown as { onConnected(upstream: unknown): void }
      breakResponse(session)
      proxy.proxy.connector.connect(peer, {
        onConnected: (upstream) => owner.onConnected(upstream),
        onConnectError: () => undefined,
      })
    },
  })
  using channel = listening()
  await exchangeBytes(proxy.port, get())
  await until(() => channel.messages.length > 0, 'nothing was told')
  expect(channel.messages).toMatchObject([{ from: 'ended', to: 'connected' }])
  await until(() => upstream.connections.open === 0, 'a connection to the upstream is kept')
})

test('a request given up while its peer is chosen gives the lease back', async () => {
  let released = 0
  const lease = { address: await deadAddress(), release: () => void released++ }
  const paths = { '/at-once': 0, '/later': 0 }
  await using proxy = await startProxy({
    upstreamPeer(session) {
      breakResponse(session)
      paths[session.request.path as keyof typeof paths]++
      const peer = new HttpPeer(lease)
      return session.request.path === '/later' ? Promise.resolve(peer) : peer
    },
  })
  for (const path of Object.keys(paths)) await exchangeBytes(proxy.port, get(path))
  await until(() => released === 2, `${released} of 2 leases are given back`)
  expect(paths).toEqual({ '/at-once': 1, '/later': 1 })
})

test('every state but the last can end, and the last one leads nowhere', () => {
  EXCHANGE_STATES.names.forEach((_name, state) => {
    expect(EXCHANGE_STATES.allows(state as ExchangeState, ENDED)).toBe(state !== ENDED)
    expect(EXCHANGE_STATES.allows(ENDED, state as ExchangeState)).toBe(false)
  })
})

// --- the model: whatever hooks, clients and upstreams do, no illegal move is asked for ---------------------------

const ACTS = ['absent', 'pass', 'later', 'throw', 'reject', 'answer', 'leave', 'leave later', 'fail'] as const
type Act = (typeof ACTS)[number]

const HOOKS = [
  'earlyRequestFilter',
  'requestFilter',
  'proxyUpstreamFilter',
  'connectedToUpstream',
  'upstreamRequestFilter',
  'upstreamResponseFilter',
  'responseFilter',
  'responseBodyFilter',
  'failToConnect',
  'failToProxy',
] as const

async function turn(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve))
}

/** A hook that does `act`, the first time or each time that it is called. */
function hookOf(act: Act, sessionAt: number): ((...given: never[]) => unknown) | undefined {
  const retried = peerError('CONNECTION_CLOSED', 'upstream', 'As if', { retry: 'allowed' })
  const run = (session: Session): unknown => {
    switch (act) {
      case 'later':
        return turn()
      case 'throw':
        throw new Error('thrown')
      case 'reject':
        return turn().then(() => Promise.reject(retried))
      case 'answer':
        if (!session.responseWritten) session.respond(200, { body: 'own' })
        return undefined
      case 'leave':
        breakResponse(session)
        return undefined
      case 'leave later':
        return turn().then(() => breakResponse(session))
      case 'fail':
        throw retried
      default:
        return undefined
    }
  }
  return act === 'absent' ? undefined : (...given) => run(given[sessionAt] as unknown as Session)
}

const UPSTREAMS = [
  HELLO,
  HELLO,
  `HTTP/1.1 103 Early Hints\r\n\r\n${HELLO}`,
  'HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n',
  'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nraw',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n',
  'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort',
  'HTTP/1.1 200 OK\r\n\r\nuntil the end',
  'nonsense\r\n\r\n',
  '',
] as const

const CLIENTS = [
  get('/a'),
  get('/a', 'Connection: upgrade', 'Upgrade: x'),
  `${get('/a')}${get('/b')}`,
  'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody',
  'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo',
  'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n',
  'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n',
] as const

const scenario = fc.record({
  acts: fc.tuple(
    ...HOOKS.map(() =>
      fc.oneof({ arbitrary: fc.constant<Act>('absent'), weight: 12 }, fc.constantFrom(...ACTS)),
    ),
  ),
  answers: fc.array(fc.constantFrom(...UPSTREAMS), { minLength: 1, maxLength: 3 }),
  cuts: fc.boolean(),
  dead: fc.boolean(),
  client: fc.constantFrom(...CLIENTS),
  leaves: fc.constantFrom('at once', 'after an answer', 'half'),
})

test('no script of hooks, clients and upstreams makes an exchange break its states, or keeps it from ending', async () => {
  using channel = listening()
  const dead = await deadAddress()
  await fc.assert(
    fc.asyncProperty(scenario, async ({ acts, answers, cuts, dead: tryDead, client: bytes, leaves }) => {
      let served = 0
      await using upstream = await startRawUpstream((socket) => {
        socket.on('end', () => socket.end())
        socket.on('data', () => {
          const answer = answers[Math.min(served++, answers.length - 1)] as string
          if (answer !== '') socket.write(answer)
          if (cuts || answer === '' || answer.endsWith('the end')) socket.end()
        })
      })
      const app: ProxyHttp = {
        upstreamPeer: (session) =>
          // A client that has ended its side and then goes is not heard of: the upstream's silence ends it.
          new HttpPeer(tryDead && session.record.attempts.length < 2 ? dead : upstream.address, {
            readTimeoutMs: 100,
          }),
      }
      HOOKS.forEach((name, index) => {
        const hook = hookOf(acts[index] as Act, 0)
        if (hook !== undefined) Object.assign(app, { [name]: hook })
      })
      await using proxy = await startProxy(app, { retryStatuses: [503], maxRetries: 3 })
      await using client = new RawClient(proxy.port)
      client.write(bytes)
      if (leaves === 'half') client.socket.end()
      if (leaves !== 'at once')
        await until(() => client.received !== '' || client.closed || client.ended, 'no answer')
      else await turn()
      client.socket.destroy()
      await proxy.idle()
      expect(proxy.proxy.stats().broken).toBe(0)
    }),
    { numRuns: 120 },
  )
  expect(channel.messages).toEqual([])
}, 30_000)
