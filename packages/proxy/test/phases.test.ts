import { type HttpModules, HttpPeer, responseCompression } from '@cirque/core'
import { ProxyError } from '@cirque/error'
import { describe, expect, test } from 'vitest'
import { PHASES, type ProxyHttp, type Session } from '../src/index.ts'
import { ask, exchange, get, RawClient } from './support/client.ts'
import { startProxy } from './support/proxy.ts'
import { deadAddress, startScript, startUpstream } from './support/upstream.ts'
import { gate, until } from './support/waiting.ts'

const CHUNKED_WITH_TRAILER =
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n'
const HELLO = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello'
const POST = 'POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nContent-Length: 4\r\n\r\nbody'

type Hooks = Record<string, (...given: never[]) => unknown>

/** An app whose every hook writes its name down and does nothing else; `slow` makes each a promise. */
function recorder(address: string, slow: boolean): { app: ProxyHttp<string[]>; calls: string[] } {
  const calls: string[] = []
  const synchronous = new Set([
    'newCtx',
    'onConnectionReuse',
    'errorWhileProxy',
    'suppressErrorLog',
    'requestSummary',
    'persistConnectionContext',
    'adjustUpstreamModules',
  ])
  const hooks: Hooks = {}
  const peer = new HttpPeer(address)
  for (const { name, frequency } of PHASES) {
    if (frequency === 'service') continue
    hooks[name] = () => {
      calls.push(name)
      let answer: unknown
      if (name === 'upstreamPeer') answer = peer
      else if (name === 'newCtx') answer = []
      else if (name === 'requestSummary') answer = 'a request'
      else if (name === 'persistConnectionContext') answer = 'kept'
      return slow && !synchronous.has(name) ? new Promise((resolve) => setImmediate(resolve, answer)) : answer
    }
  }
  // Only where there are modules are they adjusted.
  hooks['initUpstreamModules'] = (modules: HttpModules) => modules.add(responseCompression())
  return { app: hooks as unknown as ProxyHttp<string[]>, calls }
}

describe.each([
  ['at once', false],
  ['later', true],
])('hooks that answer %s', (_name, slow) => {
  test('run in the order of PHASES, each as often as it says', async () => {
    await using upstream = await startScript(CHUNKED_WITH_TRAILER)
    const { app, calls } = recorder(upstream.address, slow)
    await using proxy = await startProxy(app)
    await using client = new RawClient(proxy.port)
    const first = await client.write(POST).response()
    expect(first.body).toBe('hello')
    expect(first.trailers).toBe('X-Sum: 1\r\n')
    await until(() => calls.includes('persistConnectionContext'), 'the first request has not ended')
    const failures = new Set(
      PHASES.filter(({ frequency }) => frequency === 'failure' || frequency === 'service').map(
        ({ name }) => name,
      ),
    )
    const expected = PHASES.map(({ name }) => name).filter((name) => !failures.has(name))
    const once = [...new Set(calls)]
    const body = ['requestBodyFilter', 'upstreamResponseFilter', 'responseFilter']
    // The two directions run at the same time: only the order within each is fixed.
    expect(once.filter((name) => !body.includes(name))).toEqual(
      expected.filter((name) => name !== 'onConnectionReuse' && !body.includes(name)),
    )
    expect(calls.filter((name) => name === 'requestBodyFilter')).toHaveLength(2)
    expect(calls.filter((name) => name === 'responseBodyFilter')).toHaveLength(2)
    for (const phase of PHASES) {
      if (phase.frequency === 'chunk' || failures.has(phase.name) || phase.name === 'onConnectionReuse')
        continue
      expect([phase.name, calls.filter((name) => name === phase.name).length]).toEqual([phase.name, 1])
    }

    calls.length = 0
    await client.write(get('/again')).response()
    await until(() => calls.includes('persistConnectionContext'), 'the second request has not ended')
    expect(calls.slice(0, 3)).toEqual(['newCtx', 'onConnectionReuse', 'earlyRequestFilter'])
  })

  test('see a failure in the order of PHASES', async () => {
    const { app, calls } = recorder(await deadAddress(), slow)
    await using proxy = await startProxy(app)
    const { status, body } = await ask(proxy.port, get())
    expect([status, body]).toEqual([502, ''])
    await proxy.idle()
    // Twice to the same dead peer, no more.
    const attempt = ['upstreamPeer', 'failToConnect']
    expect(calls).toEqual([
      'newCtx',
      'earlyRequestFilter',
      'requestFilter',
      'proxyUpstreamFilter',
      ...attempt,
      ...attempt,
      'failToProxy',
      'suppressErrorLog',
      'requestSummary',
      'logging',
      'persistConnectionContext',
    ])
  })

  test('judge an attempt that failed on a connection', async () => {
    await using upstream = await startScript('nonsense\r\n\r\n')
    const { app, calls } = recorder(upstream.address, slow)
    await using proxy = await startProxy(app)
    expect((await ask(proxy.port, get())).status).toBe(502)
    await proxy.idle()
    expect(calls.slice(calls.indexOf('upstreamRequestFilter') + 1)).toEqual([
      'errorWhileProxy',
      'failToProxy',
      'suppressErrorLog',
      'requestSummary',
      'logging',
      'persistConnectionContext',
    ])
  })
})

test('heads filters see each 1xx too', async () => {
  await using upstream = await startScript(`HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${HELLO}`)
  const seen: string[] = []
  await using proxy = await startProxy({
    upstreamPeer: () => new HttpPeer(upstream.address),
    async upstreamResponseFilter(_session, response) {
      seen.push(`upstream ${response.status}`)
    },
    async responseFilter(_session, response) {
      seen.push(`down ${response.status}`)
      response.insertHeader('X-Seen', 'yes')
    },
  })
  await using client = new RawClient(proxy.port)
  const early = await client.write(get()).response()
  expect([early.status, early.headers['link'], early.headers['x-seen']]).toEqual([103, '</a>', 'yes'])
  expect((await client.response()).body).toBe('hello')
  expect(seen).toEqual(['upstream 103', 'down 103', 'upstream 200', 'down 200'])
})

describe('requestFilter', () => {
  test('answers by itself: nothing goes upstream and the connection goes on', async () => {
    await using upstream = await startUpstream((_request, response) => response.end('reached'))
    const errors: unknown[] = []
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer(upstream.address),
      requestFilter(session) {
        if (session.request.path !== '/own') return false
        session.respond(403, { body: 'no' })
        return true
      },
      logging(_session, error) {
        errors.push(error)
      },
    })
    await using client = new RawClient(proxy.port)
    expect((await client.write(get('/own')).response()).body).toBe('no')
    expect((await client.write(get('/other')).response()).body).toBe('reached')
    expect(upstream.requests).toHaveLength(1)
    expect(errors).toEqual([undefined, undefined])
  })

  test('that wrote a response and says false ends the request all the same', async () => {
    await using upstream = await startUpstream((_request, response) => response.end('reached'))
    let logged = 0
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer(upstream.address),
      requestFilter(session) {
        session.respond(200, { body: 'own' })
        return false
      },
      logging: () => void logged++,
    })
    await using client = new RawClient(proxy.port)
    expect((await client.write(get()).response()).body).toBe('own')
    expect((await client.write(get()).response()).body).toBe('own')
    expect(upstream.requests).toHaveLength(0)
    expect(logged).toBe(2)
  })

  test('that says true and wrote nothing is a fault of the filter: 500', async () => {
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer('127.0.0.1:1'),
      requestFilter: () => true,
    })
    expect((await ask(proxy.port, get())).status).toBe(500)
    expect(proxy.errors().join()).toContain('requestFilter')
  })

  test('that writes half a body and says true cuts the connection', async () => {
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer('127.0.0.1:1'),
      async requestFilter(session) {
        session.downstream.writeHead((await import('@cirque/http')).ResponseHeader.build(200), 10)
        await session.writeResponseBody(Buffer.from('half'))
        return true
      },
    })
    expect(await exchange(proxy.port, get())).toMatch(/\r\n\r\nhalf$/)
  })
})

describe('proxyUpstreamFilter', () => {
  test('that says false ends with 502, and the connection goes on', async () => {
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer('127.0.0.1:1'),
      proxyUpstreamFilter: () => false,
    })
    await using client = new RawClient(proxy.port)
    expect((await client.write(get()).response()).status).toBe(502)
    expect((await client.write(get()).response()).status).toBe(502)
  })

  test('that says false keeps the response it wrote', async () => {
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer('127.0.0.1:1'),
      async proxyUpstreamFilter(session) {
        session.respond(429)
        return false
      },
    })
    await using client = new RawClient(proxy.port)
    expect((await client.write(get()).response()).status).toBe(429)
  })
})

test.each(['connectedToUpstream', 'upstreamRequestFilter'] as const)(
  'a response that %s writes stands, and nothing is sent upstream',
  async (name) => {
    await using upstream = await startUpstream((_request, response) => response.end('reached'))
    const errors: unknown[] = []
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer(upstream.address),
      [name]: (session: Session) => session.respond(200, { body: 'own' }),
      logging: (_session, error) => void errors.push(error),
    })
    await using client = new RawClient(proxy.port)
    expect((await client.write(get()).response()).body).toBe('own')
    await proxy.idle()
    expect((await client.write(get()).response()).body).toBe('own')
    await proxy.idle()
    expect(upstream.requests).toHaveLength(0)
    expect(errors).toEqual([undefined, undefined])
  },
)

/** Each hook, and whether the response has begun when it runs: then the client sees a cut in place of a 500. */
const FALLIBLE: readonly (readonly [name: string, cut: boolean, sent: string, origin: string])[] = [
  ['earlyRequestFilter', false, get(), HELLO],
  ['requestFilter', false, get(), HELLO],
  ['proxyUpstreamFilter', false, get(), HELLO],
  ['upstreamPeer', false, get(), HELLO],
  ['connectedToUpstream', false, get(), HELLO],
  ['upstreamRequestFilter', false, get(), HELLO],
  ['requestBodyFilter', false, POST, HELLO],
  ['upstreamResponseFilter', false, get(), HELLO],
  ['responseFilter', false, get(), HELLO],
  ['upstreamResponseBodyFilter', true, get(), HELLO],
  ['responseBodyFilter', true, get(), HELLO],
  ['upstreamResponseTrailerFilter', true, POST, CHUNKED_WITH_TRAILER],
  ['responseTrailerFilter', true, POST, CHUNKED_WITH_TRAILER],
  ['errorWhileProxy', false, get(), 'nonsense\r\n\r\n'],
  ['failToProxy', false, get(), 'nonsense\r\n\r\n'],
]

function failing(how: string): () => unknown {
  switch (how) {
    case 'throws':
      return () => {
        throw new Error('the fault')
      }
    case 'rejects':
      return () => Promise.reject(new Error('the fault'))
    case 'rejects later':
      return () => new Promise((_resolve, reject) => setImmediate(reject, new Error('the fault')))
    case 'gives a thenable that fails':
      // Query builders and the like are such objects.
      return () =>
        Object.fromEntries([
          ['then', (_resolve: unknown, reject: (error: Error) => void) => reject(new Error('the fault'))],
        ])
    default:
      throw new Error(how)
  }
}

describe.each(['throws', 'rejects', 'rejects later', 'gives a thenable that fails'])(
  'a hook that %s',
  (how) => {
    test.each(FALLIBLE)(
      '%s: ends its own request, named, and harms nothing else',
      async (name, cut, sent, origin) => {
        await using upstream = await startScript(origin, HELLO)
        const logged: [error: ProxyError | undefined, active: number][] = []
        let broken = true
        const app: ProxyHttp = {
          upstreamPeer: () => new HttpPeer(upstream.address),
          logging: (_session, error) => void logged.push([error, proxy.proxy.stats().active]),
        }
        const whole = (app as unknown as Record<string, unknown>)[name] as (() => unknown) | undefined
        const fail = failing(how)
        ;(app as unknown as Record<string, unknown>)[name] = () => (broken ? fail() : whole?.())
        await using proxy = await startProxy(app)
        const reply = await exchange(proxy.port, sent)
        if (cut) expect(reply).not.toMatch(/\r\n\r\n(?:hello|.*0\r\n\r\n)$/s)
        else expect(reply).toMatch(/^HTTP\/1\.1 500 /)
        await proxy.idle()
        expect(logged).toHaveLength(1)
        const [error, active] = logged[0] as [ProxyError, number]
        expect(error.code).toBe('FILTER_FAILED')
        expect(error.message).toContain(name)
        expect(active).toBe(0)
        broken = false
        await using client = new RawClient(proxy.port)
        const next = await client.write(sent).response()
        expect(next.body).toBe('hello')
      },
    )
  },
)

test.each(['onConnectionReuse', 'suppressErrorLog', 'requestSummary', 'logging', 'persistConnectionContext'])(
  '%s that throws or rejects is logged, and nothing else changes',
  async (name) => {
    for (const how of ['throws', 'rejects', 'rejects later', 'gives a thenable that fails']) {
      await using upstream = await startScript(HELLO, HELLO, 'nonsense\r\n\r\n')
      let logged = 0
      const hooks: Hooks = {
        upstreamPeer: () => new HttpPeer(upstream.address),
        persistConnectionContext: () => 'kept',
        logging: () => void logged++,
      }
      hooks[name] = failing(how)
      await using proxy = await startProxy(hooks as unknown as ProxyHttp)
      await using client = new RawClient(proxy.port)
      expect((await client.write(get()).response()).body).toBe('hello')
      if (name === 'onConnectionReuse') {
        expect((await client.write(get()).response()).status).toBe(500)
      } else {
        expect((await client.write(get()).response()).body).toBe('hello')
        expect((await client.write(get()).response()).status).toBe(502)
      }
      await proxy.idle()
      await until(
        () =>
          proxy.log.some(({ level, fields }) => level === 'error' && JSON.stringify(fields).includes(name)) ||
          proxy.log.some(({ fields }) => String(fields['error']).includes(name)),
        `${name} that ${how} is not in the log: ${JSON.stringify(proxy.log)}`,
      )
      if (name === 'suppressErrorLog' || name === 'requestSummary') {
        // The request's own failure is not lost over it.
        expect(proxy.log.some(({ fields }) => String(fields['error']).includes('malformed'))).toBe(true)
      }
    }
  },
)

test('newCtx that throws ends the request with 500, and no hook sees a context that is none', async () => {
  const calls: string[] = []
  await using proxy = await startProxy<string>({
    newCtx() {
      throw new Error('the fault')
    },
    upstreamPeer: () => new HttpPeer('127.0.0.1:1'),
    earlyRequestFilter: () => void calls.push('early'),
    failToProxy: () => void calls.push('failToProxy'),
    requestSummary: () => String(calls.push('summary')),
    suppressErrorLog: () => calls.push('suppress') < 0,
    logging: () => void calls.push('logging'),
  })
  expect((await ask(proxy.port, get())).status).toBe(500)
  await proxy.idle()
  expect(calls).toEqual([])
  expect(proxy.errors().join()).toContain('newCtx')
})

test('newCtx that gives a promise is refused: phases do not wait for a context', async () => {
  await using proxy = await startProxy<unknown>({
    newCtx: () => Promise.reject(new Error('late')),
    upstreamPeer: () => new HttpPeer('127.0.0.1:1'),
  })
  expect((await ask(proxy.port, get())).status).toBe(500)
})

test.each([
  ['upstreamPeer', undefined],
  ['upstreamPeer', 'http://127.0.0.1:1'],
  ['failToConnect', new Error('plain')],
  ['failToConnect', true],
  ['errorWhileProxy', Promise.resolve(undefined)],
  ['errorWhileProxy', 'text'],
  ['failToProxy', { status: Number.NaN }],
  ['failToProxy', { status: 200.5 }],
  ['failToProxy', { status: '404' }],
  ['failToProxy', 'text'],
  ['requestBodyFilter', 'text'],
  ['requestBodyFilter', new Uint8Array(2)],
  ['upstreamResponseBodyFilter', 'text'],
  ['responseBodyFilter', 7],
  ['responseTrailerFilter', 'text'],
])('%s that gives %s ends the request, and the process lives', async (name, given) => {
  for (const later of [false, true]) {
    if (later && given instanceof Promise) continue
    const trailers = name === 'responseTrailerFilter'
    await using upstream = await startScript(
      name === 'errorWhileProxy' ? 'nonsense\r\n\r\n' : trailers ? CHUNKED_WITH_TRAILER : HELLO,
    )
    const dead = await deadAddress()
    const unreachable = name === 'failToConnect' || name === 'failToProxy'
    let logged = 0
    const hooks: Hooks = {
      upstreamPeer: () => new HttpPeer(unreachable ? dead : upstream.address),
      logging: () => void logged++,
    }
    hooks[name] = () => (later && name !== 'errorWhileProxy' ? Promise.resolve(given) : given)
    await using proxy = await startProxy(hooks as unknown as ProxyHttp)
    const reply = await exchange(proxy.port, POST)
    const cut = name.toLowerCase().includes('response')
    if (cut) expect(reply).not.toMatch(/\r\n\r\n(?:hello|.*0\r\n\r\n)$/s)
    else expect(reply).toMatch(/^HTTP\/1\.1 50[02] /)
    await proxy.idle()
    expect(logged).toBe(1)
  }
})

describe('a client that leaves', () => {
  const WAITING: readonly (readonly [name: string, sent: string, origin: string])[] = [
    ['earlyRequestFilter', get(), HELLO],
    ['requestFilter', get(), HELLO],
    ['proxyUpstreamFilter', get(), HELLO],
    ['upstreamPeer', get(), HELLO],
    ['connectedToUpstream', get(), HELLO],
    ['upstreamRequestFilter', get(), HELLO],
    ['requestBodyFilter', POST, HELLO],
    ['upstreamResponseFilter', get(), HELLO],
    ['responseFilter', get(), HELLO],
    ['upstreamResponseBodyFilter', get(), HELLO],
    ['responseBodyFilter', get(), HELLO],
    ['upstreamResponseTrailerFilter', POST, CHUNKED_WITH_TRAILER],
    ['responseTrailerFilter', POST, CHUNKED_WITH_TRAILER],
  ]
  describe.each(['resolves', 'rejects'])('while a hook waits that then %s', (outcome) => {
    test.each(WAITING)('%s: logging once, the upstream closed', async (name, sent, origin) => {
      await using upstream = await startScript(origin)
      const entered = gate()
      const leave = gate<unknown>()
      const logged: (ProxyError | undefined)[] = []
      const hooks: Hooks = {
        upstreamPeer: () => new HttpPeer(upstream.address),
        logging: (_session: Session, error: ProxyError | undefined) => void logged.push(error),
      }
      const whole = hooks[name]
      hooks[name] = () => {
        entered.open()
        return leave.promise
      }
      await using proxy = await startProxy(hooks as unknown as ProxyHttp)
      await using client = new RawClient(proxy.port)
      client.write(sent)
      await entered.promise
      client.socket.resetAndDestroy()
      await proxy.idle()
      expect(logged).toHaveLength(1)
      expect(logged[0]?.source).toBe('downstream')
      await until(() => upstream.connections.open === 0, 'the connection to the upstream stays open')
      if (outcome === 'rejects') leave.fail(new Error('too late'))
      else leave.open(whole?.())
      await new Promise((resolve) => setImmediate(resolve))
      expect(logged).toHaveLength(1)
      expect(proxy.proxy.connector.stats().open).toBe(0)
    })
  })
})

describe('an upstream that dies while a hook of its attempt waits', () => {
  test.each(['connectedToUpstream', 'upstreamRequestFilter'] as const)(
    '%s: the late answer does not send the next attempt a second time',
    async (name) => {
      await using upstream = await startUpstream((_request, response) => response.end('hello'))
      const first = gate()
      const second = gate()
      const entered = [gate(), gate()]
      let calls = 0
      const sessions: Session[] = []
      await using proxy = await startProxy({
        upstreamPeer: () => new HttpPeer(upstream.address),
        [name]: (session: Session) => {
          sessions.push(session)
          entered[calls]?.open()
          return calls++ === 0 ? first.promise : second.promise
        },
      })
      await using client = new RawClient(proxy.port)
      client.write(get())
      await entered[0]?.promise
      upstream.cut()
      await entered[1]?.promise
      first.open()
      await new Promise((resolve) => setTimeout(resolve, 20))
      // Nothing may be sent yet: the second attempt's own hook has not answered.
      expect(upstream.requests).toHaveLength(0)
      second.open()
      expect((await client.response()).body).toBe('hello')
      expect((await client.write(get()).response()).body).toBe('hello')
      expect(upstream.requests).toHaveLength(2)
      expect(sessions[0]?.record.attempts).toHaveLength(2)
    },
  )
})

test('a ProxyError that a hook throws picks the answer', async () => {
  await using proxy = await startProxy({
    upstreamPeer: () => new HttpPeer('127.0.0.1:1'),
    requestFilter() {
      throw new ProxyError('HTTP_STATUS', 'internal', 'Not here', { status: 404 })
    },
  })
  expect((await ask(proxy.port, get())).status).toBe(404)
})

test('a filter cannot turn a 1xx into a final response or back', async () => {
  await using upstream = await startScript(`HTTP/1.1 103 Early Hints\r\n\r\n${HELLO}`, HELLO)
  await using proxy = await startProxy({
    upstreamPeer: () => new HttpPeer(upstream.address),
    responseFilter(session, response) {
      response.setStatus(session.request.path === '/up' ? 200 : 103)
    },
  })
  expect(await exchange(proxy.port, get('/up'))).toMatch(/^HTTP\/1\.1 500 /)
  expect(await exchange(proxy.port, get('/down'))).toMatch(/^HTTP\/1\.1 500 /)
})
