import { setTimeout as sleep } from 'node:timers/promises'
import { type HttpModule, type HttpModules, HttpPeer } from '@cirque/core'
import type { ProxyError } from '@cirque/error'
import { RequestHeader, ResponseHeader } from '@cirque/http'
import { describe, expect, test } from 'vitest'
import { PHASES, type ProxyHttp, Session } from '../../src/index.ts'
import { ask, get, RawClient } from '../support/client.ts'
import { type LogEntry, type RunningProxy, startProxy } from '../support/proxy.ts'
import { deadAddress, startRawUpstream } from '../support/upstream.ts'
import { until } from '../support/waiting.ts'
import { expectNoProcessFaults } from './support/process-faults.ts'

expectNoProcessFaults()

const FILTER_TIMEOUT_MS = 60
const BODY = 'hello world'

interface Place {
  /** Where a request has to go so that the phase runs. */
  readonly path?: '/dead' | '/reset'
  /** It runs for the second request of a connection. */
  readonly second?: true
  /** Nobody waits for what it answers: a promise is an error. */
  readonly atOnce?: true
  /** What it must not return. */
  readonly nonsense?: unknown
  /** It runs when the client has its response: what fails here is only told. */
  readonly after?: true
}

/** Every phase of a request: a phase that is missing here fails the first test. */
const PLACES: Record<string, Place> = {
  newCtx: { atOnce: true },
  onConnectionReuse: { second: true, atOnce: true },
  earlyRequestFilter: {},
  requestFilter: { nonsense: 1 },
  proxyUpstreamFilter: { nonsense: 'no' },
  upstreamPeer: { nonsense: '127.0.0.1:80' },
  failToConnect: { path: '/dead', nonsense: new Error('x') },
  connectedToUpstream: {},
  upstreamRequestFilter: {},
  requestBodyFilter: { nonsense: 'text' },
  adjustUpstreamModules: { atOnce: true },
  upstreamResponseFilter: {},
  responseFilter: {},
  upstreamResponseBodyFilter: { nonsense: 'text' },
  responseBodyFilter: { nonsense: {} },
  upstreamResponseTrailerFilter: {},
  responseTrailerFilter: { nonsense: 'text' },
  errorWhileProxy: { path: '/reset', atOnce: true, nonsense: true },
  failToProxy: { path: '/dead', nonsense: 503 },
  suppressErrorLog: { path: '/dead', atOnce: true, after: true, nonsense: 'yes' },
  requestSummary: { path: '/dead', atOnce: true, after: true },
  logging: { after: true },
  persistConnectionContext: { atOnce: true, after: true },
}

/** For the phase that only runs where there are modules; it leaves all as it is. */
class IdleModule implements HttpModule {
  close(): void {}
}
const IDLE_MODULE = { module: IdleModule, init: () => new IdleModule() }

/** Answers with chunks and a trailer, or resets. */
function startOrigin() {
  return startRawUpstream((socket) => {
    let seen = ''
    socket.on('data', (data) => {
      seen += data.toString('latin1')
      if (!seen.endsWith('0\r\n\r\n')) return
      const bad = seen.startsWith('POST /reset')
      seen = ''
      if (bad) socket.resetAndDestroy()
      else {
        const head = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Kept: yes\r\n\r\n'
        socket.write(`${head}6\r\nhello \r\n5\r\nworld\r\n0\r\nX-T: t\r\n\r\n`)
      }
    })
    socket.on('end', () => socket.end())
  })
}

const post = (path: string) =>
  `POST ${path} HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`

/** What every hook gets that it may keep. */
type Arguments = readonly unknown[]

interface Scene extends AsyncDisposable {
  readonly proxy: RunningProxy<unknown>
  readonly logged: (ProxyError | undefined)[]
  /** One request that meets the hook, and what its client got; '' for a cut before the head. */
  bad(): Promise<string>
  /** Others are served as ever. */
  good(): Promise<void>
}

/** A proxy whose hook `name` does what `act` says, when `bad` asks for it. */
async function startScene(name: string, act: (given: Arguments) => unknown): Promise<Scene> {
  const place = PLACES[name] as Place
  const origin = await startOrigin()
  const dead = await deadAddress()
  const logged: (ProxyError | undefined)[] = []
  let armed = false
  /** Requests whose context could not be made: no hook is called for them. */
  let ctxless = 0
  const acting = (usual: (...given: never[]) => unknown) =>
    function hook(this: unknown, ...given: never[]): unknown {
      const session = given.find((one: unknown) => one instanceof Session) as Session | undefined
      const meant = armed && session?.request.path !== '/good'
      if (meant && name === 'newCtx') ctxless++
      return meant ? act(given) : usual(...given)
    }
  const peer = (session: Session) => new HttpPeer(session.request.path === '/dead' ? dead : origin.address)
  const usual: Partial<Record<string, (...given: never[]) => unknown>> = {
    upstreamPeer: peer as (...given: never[]) => unknown,
    initUpstreamModules: ((modules: HttpModules) => void modules.add(IDLE_MODULE)) as (
      ...given: never[]
    ) => unknown,
    persistConnectionContext: () => 'context',
  }
  const hooks = {
    ...usual,
    [name]: acting(usual[name] ?? (() => undefined)),
  } as unknown as ProxyHttp
  const note = (error: ProxyError | undefined) => void logged.push(error)
  const { logging } = hooks
  const app: ProxyHttp = {
    ...hooks,
    logging(session, error, ctx) {
      note(error)
      return logging?.(session, error, ctx)
    },
  }
  const proxy = (await startProxy(app, {
    filterTimeoutMs: FILTER_TIMEOUT_MS,
    maxRetries: 1,
  })) as RunningProxy<unknown>
  return {
    proxy,
    logged,
    async bad() {
      await using client = new RawClient(proxy.port)
      if (place.second === true) {
        client.write(post('/good'))
        await client.response()
      }
      const before = logged.length
      armed = true
      client.write(post(place.path ?? '/'))
      await until(() => proxy.proxy.stats().active === 0 && proxy.proxy.stats().requests > before, 'no end')
      armed = false
      await until(
        () => client.closed || client.ended || client.received.includes('\r\n\r\n'),
        'neither answer nor end',
      )
      return client.received
    },
    async good() {
      await using client = new RawClient(proxy.port)
      for (let i = 0; i < 2; i++) {
        const { status, body, trailers, headers } = await client.write(post('/good')).response()
        expect([status, body, trailers]).toEqual([200, BODY, 'X-T: t\r\n'])
        expect([headers['x-kept'], headers['x-late']]).toEqual(['yes', undefined])
      }
    },
    async [Symbol.asyncDispose]() {
      await proxy.idle()
      const { open, idle } = proxy.proxy.connector.stats()
      expect(open).toBe(idle)
      expect(logged.length, 'each request is logged once').toBe(proxy.proxy.stats().requests - ctxless)
      await proxy[Symbol.asyncDispose]()
      await origin[Symbol.asyncDispose]()
    },
  }
}

/** All that a log entry tells. */
function textOf({ message, fields }: LogEntry): string {
  const error = fields['error'] as { message?: string; cause?: unknown; code?: string } | undefined
  const cause = error?.cause instanceof Error ? error.cause.message : ''
  return [message, fields['phase'], error?.code, error?.message, cause].join(' ')
}

const told = (scene: Scene) => scene.proxy.log.map(textOf).join('\n')

/** The client got an error, or a cut that it can see; nothing of a success. */
function expectFailed(name: string, received: string): void {
  const place = PLACES[name] as Place
  if (place.after === true) return
  const late = [
    'upstreamResponseBodyFilter',
    'responseBodyFilter',
    'upstreamResponseTrailerFilter',
    'responseTrailerFilter',
  ]
  if (late.includes(name)) expect(received).not.toMatch(/\r\n0\r\n(?:X-T: t\r\n)?\r\n$/)
  else expect(received).toMatch(/^HTTP\/1\.1 500 /)
}

test('no phase is left out', () => {
  const known = PHASES.filter(({ frequency }) => frequency !== 'service').map(({ name }) => name)
  expect(Object.keys(PLACES).toSorted()).toEqual(known.toSorted())
})

describe.each(Object.keys(PLACES))('%s', (name) => {
  const place = PLACES[name] as Place

  const fails: [string, () => unknown][] = [
    [
      'that throws',
      () => {
        throw new Error('boom')
      },
    ],
    ['that rejects', () => Promise.reject(new Error('boom'))],
  ]
  if (place.nonsense !== undefined) {
    fails.push(['that returns nonsense', () => place.nonsense])
    if (place.atOnce !== true) fails.push(['that promises nonsense', () => Promise.resolve(place.nonsense)])
  }
  test.each(fails)('%s: an error names it, the request ends, no other is harmed', async (_what, act) => {
    await using scene = await startScene(name, act)
    expectFailed(name, await scene.bad())
    await scene.good()
    await until(() => told(scene).includes(name), `the log says nothing of ${name}: ${told(scene)}`)
  })

  test('that never answers: the deadline ends it', async () => {
    await using scene = await startScene(name, () => new Promise(() => undefined))
    // Nobody knows whose context `newCtx` is asked for.
    const [received] = await Promise.all([scene.bad(), name === 'newCtx' ? null : scene.good()])
    expectFailed(name, received)
    await scene.good()
    if (name === 'logging') return // nobody waits for it
    expect(told(scene)).toContain(name)
    const wanted = place.atOnce === true ? 'must answer at once' : `FILTER_TIMEOUT The hook ${name} did not`
    expect(told(scene)).toContain(wanted)
  })

  if (name !== 'newCtx') {
    test('that answers by itself, twice: one response, whole or visibly cut', async () => {
      await using scene = await startScene(name, (given) => {
        const session = given.find((one) => one instanceof Session) as Session
        session.respond(200, { body: 'mine' })
        session.respond(201, { body: 'mine again' })
      })
      const received = await scene.bad()
      expect(received.match(/HTTP\/1\.1 /g)?.length ?? 0).toBeLessThanOrEqual(1)
      expect(received).not.toContain('again')
      // Not both responses in one.
      if (received.includes('mine')) expect(received).not.toContain('hello')
      await scene.good()
    })

    test('that answers late: nobody hears it', async () => {
      let late = 0
      await using scene = await startScene(name, async (given) => {
        await until(() => scene.proxy.proxy.stats().active === 0, 'the request goes on')
        const session = given.find((one) => one instanceof Session) as Session
        late++
        session.respond(200, { body: 'late' })
        return true
      })
      const received = await scene.bad()
      expectFailed(name, received)
      await until(() => late > 0, 'the hook waits')
      expect(received).not.toContain('late')
      await scene.good()
    })

    test('that changes what it was given when all is over: nobody else’s is changed', async () => {
      const kept: unknown[] = []
      await using scene = await startScene(name, (given) => {
        kept.push(...given)
        if (name === 'upstreamPeer') return new HttpPeer(undefined)
        return undefined
      })
      await scene.bad()
      const spoil = () => {
        for (const one of kept) {
          if (Buffer.isBuffer(one)) one.fill('Z')
          else if (Array.isArray(one)) one.splice(0, one.length, 'X-Late', 'yes')
          else if (one instanceof RequestHeader || one instanceof ResponseHeader) spoilHead(one)
          else if (one instanceof Session) spoilHead(one.request)
        }
      }
      spoil()
      const served = scene.good()
      spoil()
      await served
      await scene.good()
    })
  }
})

test('the deadline is no limit for a hook that reads a slow body, or answers with a slow stream', async () => {
  await using proxy = await startProxy(
    {
      async requestFilter(session) {
        if (session.request.method === 'GET') {
          session.writeResponseHeader(ResponseHeader.build(200))
          await sleep(1_200)
          session.endResponse()
        } else session.respond(200, { body: await session.readRequestBody() })
        return true
      },
      upstreamPeer: () => new HttpPeer(undefined),
    },
    { filterTimeoutMs: 800 },
  )
  await using client = new RawClient(proxy.port)
  client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n')
  const dripping = setInterval(() => client.write('x'), 130)
  expect(await client.response()).toMatchObject({ status: 200, body: 'xxxxxxxxx' })
  clearInterval(dripping)
  expect((await client.write(get()).response()).status).toBe(200)
})

test('filterTimeoutMs: 0 waits for as long as it takes', async () => {
  await using proxy = await startProxy(
    {
      requestFilter: async (session) => {
        await sleep(100)
        session.respond(200)
        return true
      },
      upstreamPeer: () => new HttpPeer(undefined),
    },
    { filterTimeoutMs: 0 },
  )
  expect((await ask(proxy.port, get())).status).toBe(200)
})

test('a response from outside of any phase ends the exchange, however much of the request is still to come', async () => {
  await using upstream = await startRawUpstream((socket) => {
    socket.resume().on('end', () => socket.end())
  })
  const errors: (ProxyError | undefined)[] = []
  await using proxy = await startProxy({
    requestFilter(session) {
      setTimeout(() => session.respond(504, { body: 'too late' }), 20)
    },
    upstreamPeer: () => new HttpPeer(upstream.address),
    logging: (_session, error) => void errors.push(error),
  })
  await using client = new RawClient(proxy.port)
  client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc')
  expect((await client.response()).body).toBe('too late')
  await proxy.idle()
  await until(() => upstream.connections.open === 0, 'the upstream is left alone')
  expect(errors.map((error) => error?.message)).toEqual(['A hook wrote a response while another is proxied'])
})

function spoilHead(head: RequestHeader | ResponseHeader): void {
  for (const name of ['Host', 'X-Kept', 'Transfer-Encoding', 'TE']) head.removeHeader(name)
  head.insertHeader('X-Late', 'yes')
}
