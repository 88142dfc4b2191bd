import type { Socket } from 'node:net'
import { HttpPeer } from '@cirque/core'
import { peerError } from '@cirque/error'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type ProxyHttp, type RetryPermission, type Session, TokenRetryBudget } from '../src/index.ts'
import { ask, get, RawClient } from './support/client.ts'
import { startProxy } from './support/proxy.ts'
import { deadAddress, startRawUpstream, startScript, startUpstream } from './support/upstream.ts'
import { until } from './support/waiting.ts'

const HELLO = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello'

function put(method: string, body: string): string {
  return `${method} / HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`
}

/** An origin that answers a connection's first request and cuts it at the second's first byte, once. */
function startForgetful() {
  let cuts = 0
  const bodies: string[] = []
  return startRawUpstream((socket) => {
    let seen = ''
    let answered = 0
    socket.on('data', (data) => {
      if (answered > 0 && cuts === 0) {
        cuts++
        socket.destroy()
        return
      }
      seen += data.toString('latin1')
      const head = seen.indexOf('\r\n\r\n')
      if (head < 0) return
      const length = Number(/content-length: (\d+)/i.exec(seen)?.[1] ?? 0)
      if (seen.length < head + 4 + length) return
      bodies.push(seen.slice(head + 4))
      seen = ''
      answered++
      socket.write(HELLO)
    })
  }).then((upstream) => Object.assign(upstream, { bodies }))
}

/** Statuses and the record of the second of two requests on a connection, the first a GET. */
async function second(app: Partial<ProxyHttp>, address: string, bytes: string, options = {}) {
  let session: Session | undefined
  await using proxy = await startProxy(
    {
      upstreamPeer: () => new HttpPeer(address),
      logging(given) {
        session = given
      },
      ...app,
    },
    options,
  )
  await using client = new RawClient(proxy.port)
  expect((await client.write(get()).response()).body).toBe('hello')
  await proxy.idle()
  const { status } = await client.write(bytes).response()
  await proxy.idle()
  return { status, record: (session as Session).record, errors: proxy.errors() }
}

describe('a connect that is refused', () => {
  test('goes to the next peer', async () => {
    await using upstream = await startUpstream((_request, response) => response.end('hello'))
    const addresses = [await deadAddress(), upstream.address]
    let record: Session['record'] | undefined
    await using proxy = await startProxy({
      upstreamPeer: (session) => new HttpPeer(addresses[session.record.attempts.length - 1]),
      logging: (session) => {
        record = session.record
      },
    })
    expect((await ask(proxy.port, get())).body).toBe('hello')
    await proxy.idle()
    expect(record?.attempts.map(({ error, status, reused }) => [error?.code, status, reused])).toEqual([
      ['CONNECT_REFUSED', 0, false],
      [undefined, 200, false],
    ])
    expect(proxy.log.filter(({ message }) => message.startsWith('Attempt failed'))).toHaveLength(1)
    expect(proxy.log.filter(({ level }) => level === 'error')).toHaveLength(0)
  })

  test('reaches the same dead peer twice at most, also between other dead ones', async () => {
    const dead = [new HttpPeer(await deadAddress()), new HttpPeer(await deadAddress())]
    let calls = 0
    await using proxy = await startProxy({ upstreamPeer: () => dead[calls++ % 2] as HttpPeer })
    expect((await ask(proxy.port, get())).status).toBe(502)
    expect(calls).toBe(3)
  })

  test('a balancer that gives the dead peer again and again is asked for another', async () => {
    await using upstream = await startUpstream((_request, response) => response.end('hello'))
    const dead = await deadAddress()
    let asked = 0
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer(asked++ < 6 ? dead : upstream.address),
    })
    expect((await ask(proxy.port, get())).body).toBe('hello')
    expect(asked).toBe(7)
    expect(proxy.proxy.connector.stats().failed).toBe(1)
    expect(proxy.log.filter(({ message }) => message.startsWith('Attempt failed'))).toHaveLength(1)
  })

  test('one dead peer of three costs no request, however many there are at once', async () => {
    await using upstream = await startUpstream((_request, response) => response.end('hello'))
    const addresses = [await deadAddress(), upstream.address, upstream.address]
    let next = 0
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer(addresses[next++ % 3], { groupKey: String(next % 3) }),
    })
    const replies = await Promise.all(Array.from({ length: 200 }, () => ask(proxy.port, get())))
    expect(replies.filter(({ status }) => status !== 200)).toEqual([])
  })

  test('sends the body whole to the peer that is there, POST too: nothing had been sent', async () => {
    const bodies: string[] = []
    await using upstream = await startUpstream((request, response) => {
      request.setEncoding('latin1').on('data', (data) => bodies.push(data))
      request.on('end', () => response.end('hello'))
    })
    const addresses = [await deadAddress(), upstream.address]
    await using proxy = await startProxy({
      upstreamPeer: (session) => new HttpPeer(addresses[session.record.attempts.length - 1]),
    })
    expect((await ask(proxy.port, put('POST', 'the body'))).body).toBe('hello')
    expect(bodies.join('')).toBe('the body')
  })

  test.each([1, 2, 5])('with maxRetries %i is tried that often in all', async (maxRetries) => {
    const dead = await Promise.all(Array.from({ length: 6 }, () => deadAddress()))
    let calls = 0
    await using proxy = await startProxy(
      { upstreamPeer: () => new HttpPeer(dead[calls++]) },
      { maxRetries, retryBudget: false },
    )
    expect((await ask(proxy.port, get())).status).toBe(502)
    expect(calls).toBe(maxRetries)
  })

  test('is not retried when failToConnect says never', async () => {
    const dead = await deadAddress()
    let calls = 0
    await using proxy = await startProxy({
      upstreamPeer: () => {
        calls++
        return new HttpPeer(dead)
      },
      async failToConnect(_session, _peer, error) {
        error.retry = 'never'
      },
    })
    expect((await ask(proxy.port, get())).status).toBe(502)
    expect(calls).toBe(1)
  })

  test('becomes what failToConnect makes of it', async () => {
    const dead = await deadAddress()
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer(dead),
      failToConnect: () => peerError('HTTP_STATUS', 'internal', 'Come again', { status: 503 }),
    })
    expect((await ask(proxy.port, get())).status).toBe(503)
  })
})

describe('a reused connection that the upstream closes before it answers', () => {
  test('GET is sent again', async () => {
    await using upstream = await startForgetful()
    const { status, record } = await second({}, upstream.address, get())
    expect(status).toBe(200)
    expect(record.attempts.map(({ reused, error }) => [reused, error?.code])).toEqual([
      [true, 'CONNECTION_CLOSED'],
      [false, undefined],
    ])
  })

  test('PUT is sent again with its body from the buffer', async () => {
    await using upstream = await startForgetful()
    expect((await second({}, upstream.address, put('PUT', 'the body'))).status).toBe(200)
    expect(upstream.bodies).toEqual(['', 'the body'])
  })

  test('PUT goes through requestBodyFilter anew', async () => {
    await using upstream = await startForgetful()
    const seen: string[] = []
    const app: Partial<ProxyHttp> = {
      async requestBodyFilter(_session, chunk, end) {
        seen.push(`${chunk}${end ? ' end' : ''}`)
      },
    }
    expect((await second(app, upstream.address, put('PUT', 'body'))).status).toBe(200)
    expect(seen.filter((text) => text === 'null end').length).toBe(2)
    expect(seen.filter((text) => text === 'body').length).toBe(2)
  })

  test.each(['POST', 'PATCH', 'UNKNOWN'])('%s is not sent again: 502', async (method) => {
    await using upstream = await startForgetful()
    const { status, record } = await second({}, upstream.address, put(method, 'the body'))
    expect(status).toBe(502)
    expect(record.attempts).toHaveLength(1)
    expect(upstream.bodies).toEqual([''])
  })

  test('an empty POST is not sent again either', async () => {
    await using upstream = await startForgetful()
    expect((await second({}, upstream.address, put('POST', ''))).status).toBe(502)
  })

  test('a GET that a filter made a POST is not sent again', async () => {
    await using upstream = await startForgetful()
    const app: Partial<ProxyHttp> = {
      upstreamRequestFilter(_session, request) {
        request.setMethod('POST')
      },
    }
    expect((await second(app, upstream.address, get())).status).toBe(502)
  })

  test('is no matter of the retry budget', async () => {
    await using upstream = await startForgetful()
    const retryBudget: RetryPermission = { recordRequest: () => undefined, tryRetry: () => false }
    expect((await second({}, upstream.address, get(), { retryBudget })).status).toBe(200)
  })

  test('maxRetries 1 allows no further attempt', async () => {
    await using upstream = await startForgetful()
    expect((await second({}, upstream.address, get(), { maxRetries: 1 })).status).toBe(502)
  })

  test.each([
    [-1, 200],
    [0, 200],
    [1, 502],
  ])('a PUT of the buffer and %i bytes: %i', async (more, expected) => {
    const bytes = 1_000 + more
    // The second connection's cut comes after the whole body was read, so that all of it has passed.
    let cut = false
    await using upstream = await startRawUpstream((socket: Socket) => {
      let seen = 0
      let answered = false
      socket.on('data', (data) => {
        if (!answered) {
          answered = true
          if (data.toString('latin1').startsWith('GET')) {
            socket.write(HELLO)
            return
          }
        }
        seen += data.length
        if (seen < bytes) return
        if (cut) socket.write(HELLO)
        else socket.destroy()
        cut = true
      })
    })
    const request = put('PUT', 'x'.repeat(bytes))
    const { status } = await second({}, upstream.address, request, { retryBufferBytesMax: 1_000 })
    expect(status).toBe(expected)
  })
})

test('a fresh connection that closes unanswered is not retried: the request may have been acted upon', async () => {
  await using upstream = await startRawUpstream((socket) => socket.once('data', () => socket.destroy()))
  await using proxy = await startProxy({ upstreamPeer: () => new HttpPeer(upstream.address) })
  expect((await ask(proxy.port, get())).status).toBe(502)
  expect(upstream.connections.accepted).toBe(1)
})

describe('errorWhileProxy', () => {
  test('may ask for a retry of an idempotent request', async () => {
    await using upstream = await startRawUpstream((socket, index) =>
      socket.once('data', () => (index === 0 ? socket.destroy() : socket.write(HELLO))),
    )
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer(upstream.address),
      errorWhileProxy(_session, _peer, error, reused) {
        expect(reused).toBe(false)
        error.retry = 'allowed'
      },
    })
    expect((await ask(proxy.port, get())).body).toBe('hello')
  })

  test('gets no retry of a POST, whatever it says', async () => {
    await using upstream = await startRawUpstream((socket) => socket.once('data', () => socket.destroy()))
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer(upstream.address),
      errorWhileProxy(_session, _peer, error) {
        error.retry = 'allowed'
      },
    })
    expect((await ask(proxy.port, put('POST', 'body'))).status).toBe(502)
    expect(upstream.connections.accepted).toBe(1)
  })

  test('gets no retry once a byte of the final response has gone out', async () => {
    await using upstream = await startRawUpstream((socket) =>
      socket.once('data', () => {
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart', () =>
          setTimeout(() => socket.end(), 20),
        )
      }),
    )
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer(upstream.address),
      errorWhileProxy(_session, _peer, error) {
        error.retry = 'allowed'
      },
    })
    await expect(ask(proxy.port, get())).rejects.toThrow('cut')
    expect(upstream.connections.accepted).toBe(1)
  })

  test('may have a retry after a 1xx, which is no final response', async () => {
    await using upstream = await startRawUpstream((socket, index) =>
      socket.once('data', () => {
        if (index === 0) socket.end('HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n')
        else socket.write(HELLO)
      }),
    )
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer(upstream.address),
      errorWhileProxy(_session, _peer, error) {
        error.retry = 'allowed'
      },
    })
    await using client = new RawClient(proxy.port)
    expect((await client.write(get()).response()).status).toBe(103)
    expect((await client.response()).body).toBe('hello')
  })
})

describe('retryStatuses', () => {
  const BUSY = 'HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\nX-Own: yes\r\n\r\nbusy'

  test('tries an idempotent request elsewhere', async () => {
    await using upstream = await startScript(BUSY, HELLO)
    await using proxy = await startProxy(
      { upstreamPeer: () => new HttpPeer(upstream.address) },
      { retryStatuses: [503] },
    )
    expect((await ask(proxy.port, get())).body).toBe('hello')
  })

  test.each([
    ['a POST', put('POST', ''), {}],
    ['another status', get(), { retryStatuses: [500] }],
    ['the last attempt', get(), { maxRetries: 1 }],
    ['an empty budget', get(), { retryBudget: { recordRequest: () => undefined, tryRetry: () => false } }],
  ])('passes on the response itself: %s', async (_name, request, options) => {
    await using upstream = await startScript(BUSY)
    await using proxy = await startProxy(
      { upstreamPeer: () => new HttpPeer(upstream.address) },
      { retryStatuses: [503], ...options },
    )
    const { status, body, headers } = await ask(proxy.port, request)
    expect([status, body, headers['x-own']]).toEqual([503, 'busy', 'yes'])
    expect(upstream.connections.accepted).toBe(1)
  })

  test('the last of several is passed on', async () => {
    await using upstream = await startScript(BUSY)
    await using proxy = await startProxy(
      { upstreamPeer: () => new HttpPeer(upstream.address) },
      { retryStatuses: [503], maxRetries: 3 },
    )
    expect((await ask(proxy.port, get())).body).toBe('busy')
    expect(upstream.connections.accepted).toBe(3)
  })
})

test('each attempt starts from the original request', async () => {
  const heads: string[] = []
  await using upstream = await startRawUpstream((socket) =>
    socket.once('data', (data) => {
      heads.push(data.toString('latin1').replaceAll(/\r\nX-Request-Id.*/g, ''))
      if (heads.length < 3) socket.destroy()
      else socket.write(HELLO)
    }),
  )
  await using proxy = await startProxy(
    {
      upstreamPeer: () => new HttpPeer(upstream.address),
      upstreamRequestFilter(_session, request) {
        request.appendHeader('X-Added', 'once')
        request.removeHeader('X-Mine')
        request.setTarget(`${request.target}/more`)
      },
      errorWhileProxy(_session, _peer, error) {
        error.retry = 'allowed'
      },
    },
    { forwarding: { via: 'cirque', xForwarded: true } },
  )
  expect((await ask(proxy.port, get('/a', 'X-Mine: 1', 'Via: 1.1 first'))).body).toBe('hello')
  expect(heads).toHaveLength(3)
  expect(new Set(heads).size).toBe(1)
  expect(heads[0]).toContain('GET /a/more HTTP/1.1')
  expect(heads[0]?.match(/X-Added/g)).toHaveLength(1)
})

test('a request keeps its id from attempt to attempt', async () => {
  const ids: (string | undefined)[] = []
  let logged: string | undefined
  await using upstream = await startRawUpstream((socket) =>
    socket.once('data', (data) => {
      ids.push(/X-Request-Id: (\S+)/i.exec(data.toString('latin1'))?.[1])
      if (ids.length < 2) socket.destroy()
      else socket.write(HELLO)
    }),
  )
  await using proxy = await startProxy(
    {
      upstreamPeer: () => new HttpPeer(upstream.address),
      errorWhileProxy(_session, _peer, error) {
        error.retry = 'allowed'
      },
      logging(session) {
        logged = session.requestId
      },
    },
    { forwarding: { requestId: 'X-Request-Id' } },
  )
  expect((await ask(proxy.port, get())).body).toBe('hello')
  await proxy.idle()
  expect(ids[0]).toMatch(/^[0-9a-f-]{36}$/)
  expect(ids).toEqual([logged, logged])
})

test('without back-off for the first retry, with it from the second on', async () => {
  const times: number[] = []
  await using upstream = await startRawUpstream((socket) =>
    socket.once('data', () => {
      times.push(performance.now())
      if (times.length < 4) socket.destroy()
      else socket.write(HELLO)
    }),
  )
  await using proxy = await startProxy(
    {
      upstreamPeer: () => new HttpPeer(upstream.address),
      errorWhileProxy(_session, _peer, error) {
        error.retry = 'allowed'
      },
    },
    { retryBackoffMs: 60, retryBackoffMaxMs: 80 },
  )
  expect((await ask(proxy.port, get())).body).toBe('hello')
  const [a = 0, b = 0, c = 0, d = 0] = times
  // Half of it is jitter.
  expect(c - b).toBeGreaterThanOrEqual(30)
  expect(d - c).toBeGreaterThanOrEqual(40)
  expect(b - a).toBeLessThan(c - b + 30)
})

test('a client that leaves within the back-off ends the request', async () => {
  await using upstream = await startRawUpstream((socket) => socket.once('data', () => socket.destroy()))
  const errors: unknown[] = []
  await using proxy = await startProxy(
    {
      upstreamPeer: () => new HttpPeer(upstream.address),
      errorWhileProxy(_session, _peer, error) {
        error.retry = 'allowed'
      },
      logging: (_session, error) => void errors.push(error?.source),
    },
    { retryBackoffMs: 30_000, retryBackoffMaxMs: 60_000 },
  )
  await using client = new RawClient(proxy.port)
  client.write(get())
  await until(() => upstream.connections.accepted === 2, 'no second attempt')
  client.socket.resetAndDestroy()
  await proxy.idle()
  expect(errors).toEqual(['downstream'])
})

describe('the retry budget', () => {
  test('when it is empty the failure stands', async () => {
    await using upstream = await startUpstream((_request, response) => response.writeHead(503).end())
    let calls = 0
    const retryBudget = new TokenRetryBudget({ ratio: 0, perSecondMin: 0, now: () => 0 })
    const upstreamPeer = () => {
      calls++
      return new HttpPeer(upstream.address)
    }
    await using proxy = await startProxy({ upstreamPeer }, { retryBudget, retryStatuses: [503] })
    expect((await ask(proxy.port, get())).status).toBe(503)
    expect(calls).toBe(1)
  })

  test('is not asked when nothing was sent: trying elsewhere adds no load to anyone', async () => {
    await using upstream = await startUpstream((_request, response) => response.end('hello'))
    const peers = [new HttpPeer(await deadAddress()), new HttpPeer(upstream.address)]
    const retryBudget = new TokenRetryBudget({ ratio: 0, perSecondMin: 0, now: () => 0 })
    await using proxy = await startProxy(
      { upstreamPeer: (session) => peers[session.record.attempts.length - 1] as HttpPeer },
      { retryBudget },
    )
    expect((await ask(proxy.port, get())).body).toBe('hello')
  })

  test('saves a share of the requests, and no more than its cap', () => {
    const budget = new TokenRetryBudget({ ratio: 0.5, perSecondMin: 0, savedMax: 2, now: () => 0 })
    expect(budget.tryRetry()).toBe(false)
    for (let i = 0; i < 2; i++) budget.recordRequest()
    expect(budget.balance).toBe(1)
    for (let i = 0; i < 100; i++) budget.recordRequest()
    expect(budget.balance).toBe(2)
    expect([budget.tryRetry(), budget.tryRetry(), budget.tryRetry()]).toEqual([true, true, false])
  })

  test('fills with time', () => {
    let now = 0
    const budget = new TokenRetryBudget({ ratio: 0, perSecondMin: 2, now: () => now })
    expect([budget.tryRetry(), budget.tryRetry(), budget.tryRetry()]).toEqual([true, true, false])
    now = 499
    expect(budget.tryRetry()).toBe(false)
    now = 500
    expect(budget.tryRetry()).toBe(true)
  })

  test.each([
    { ratio: -1 },
    { perSecondMin: Number.NaN },
    { savedMax: 0 },
    { savedMax: Number.POSITIVE_INFINITY },
  ])('refuses %o', (options) => {
    expect(() => new TokenRetryBudget(options)).toThrow(RangeError)
  })

  test('never gives out more than was paid in', () => {
    const steps = fc.array(fc.oneof(fc.constant('request'), fc.constant('withdraw'), fc.nat(2_000)), {
      maxLength: 200,
    })
    fc.assert(
      fc.property(steps, (schedule) => {
        let now = 0
        const budget = new TokenRetryBudget({ ratio: 0.2, perSecondMin: 1, savedMax: 5, now: () => now })
        let paid = 1
        let taken = 0
        for (const step of schedule) {
          if (typeof step === 'number') {
            now += step
            paid += step / 1_000
          } else if (step === 'request') {
            budget.recordRequest()
            paid += 0.2
          } else if (budget.tryRetry()) taken++
        }
        expect(taken).toBeLessThanOrEqual(paid + 1e-6)
        expect(budget.balance).toBeLessThanOrEqual(5)
      }),
      { seed: 1, numRuns: 200 },
    )
  })
})

test('whatever fails when: no request that is not idempotent arrives twice, and no answer is wrong', async () => {
  // What an origin does with a request: the moment it fails at.
  const fault = fc.constantFrom(
    'answer',
    'cut at once',
    'cut after the head',
    'cut after the body',
    'half an answer',
  )
  const method = fc.constantFrom('GET', 'PUT', 'POST')
  const plan = fc.array(fc.tuple(method, fc.array(fault, { maxLength: 3 })), { minLength: 1, maxLength: 6 })
  await fc.assert(
    fc.asyncProperty(plan, fc.boolean(), async (requests, eager) => {
      const arrivals = new Map<string, number>()
      let faults: string[] = []
      await using upstream = await startRawUpstream((socket) => {
        let seen = ''
        socket.on('data', (data) => {
          seen += data.toString('latin1')
          const head = seen.indexOf('\r\n\r\n')
          if (head < 0) return
          const what = faults[0] ?? 'answer'
          const id = / \/(\d+) /.exec(seen)?.[1] as string
          if (what === 'cut at once' || what === 'cut after the head') {
            faults.shift()
            arrivals.set(id, (arrivals.get(id) ?? 0) + 1)
            socket.destroy()
            return
          }
          const length = Number(/content-length: (\d+)/i.exec(seen)?.[1] ?? 0)
          if (seen.length < head + 4 + length) return
          faults.shift()
          arrivals.set(id, (arrivals.get(id) ?? 0) + 1)
          const body = seen.slice(head + 4)
          seen = ''
          if (what === 'cut after the body') socket.destroy()
          else if (what === 'half an answer') socket.end(`HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n${id}`)
          else
            socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${id.length + body.length}\r\n\r\n${id}${body}`)
        })
      })
      await using proxy = await startProxy({
        upstreamPeer: () => new HttpPeer(upstream.address),
        errorWhileProxy(_session, _peer, error) {
          if (eager) error.retry = 'allowed'
        },
      })
      let id = 0
      for (const [name, schedule] of requests) {
        id++
        faults = [...schedule]
        const body = name === 'GET' ? '' : `body ${id}`
        const bytes = `${name} /${id} HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`
        const response = await ask(proxy.port, bytes).catch(() => undefined)
        if (response?.status === 200) expect(response.body).toBe(`${id}${body}`)
        else if (response !== undefined) expect(response.status).toBe(502)
        if (name === 'POST') expect(arrivals.get(`${id}`) ?? 0).toBeLessThanOrEqual(1)
      }
    }),
    { seed: 20, numRuns: 25 },
  )
})

test.each([
  [{ maxRetries: 0 }, RangeError],
  [{ maxRetries: 101 }, RangeError],
  [{ retryBufferBytesMax: -1 }, RangeError],
  [{ retryStatuses: [99] }, RangeError],
  [{ retryBackoffMs: 1.5 }, RangeError],
  [{ retryBackoffMaxMs: -1 }, RangeError],
  [{ filterTimeoutMs: -1 }, RangeError],
  [{ filterTimeoutMs: 2 ** 31 }, RangeError],
  [{ retryBudgets: false }, TypeError],
  [{ retryStatuses: 503 }, TypeError],
  [{ retryBudget: 5 }, TypeError],
])('the options %o are refused', async (options, error) => {
  await expect(
    startProxy({ upstreamPeer: () => new HttpPeer('127.0.0.1:1') }, options as object),
  ).rejects.toThrow(error)
})
