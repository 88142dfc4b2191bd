import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { HttpPeer } from '@cirque/core'
import {
  type ErrorSource,
  errorCodes,
  type KnownErrorCode,
  ProxyError,
  peerError,
  statusForError,
} from '@cirque/error'
import { Agent, fetch, MockAgent, Pool } from 'undici'
import { describe, expect, test } from 'vitest'
import type { Session } from '../src/index.ts'
import { ask, exchange, get, RawClient } from './support/client.ts'
import { startProxy } from './support/proxy.ts'
import { deadAddress, startRawUpstream, startScript, startUpstream } from './support/upstream.ts'
import { until } from './support/waiting.ts'

const HELLO = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello'

describe('clients of other makes', () => {
  test('undici: bodies both ways, many at a time over few connections', async () => {
    await using upstream = await startUpstream((request, response) => request.pipe(response))
    await using proxy = await startProxy({ upstreamPeer: () => new HttpPeer(upstream.address) })
    const dispatcher = new Agent({ connections: 4, pipelining: 1 })
    const bodies = Array.from({ length: 60 }, (_, i) => `${i} `.repeat(i * 50))
    const replies = bodies.map(async (body, i) => {
      const reply = await fetch(`http://127.0.0.1:${proxy.port}/${i}`, { method: 'POST', body, dispatcher })
      return reply.text()
    })
    expect(await Promise.all(replies)).toEqual(bodies)
    await dispatcher.close()
    expect(upstream.connections.accepted).toBeLessThanOrEqual(4)
  })

  test('undici pipelines: answers come in order', async () => {
    await using upstream = await startUpstream((request, response) => {
      // The first takes the longest.
      setTimeout(() => response.end(request.url), 20 - Number(request.url?.slice(1)))
    })
    await using proxy = await startProxy({ upstreamPeer: () => new HttpPeer(upstream.address) })
    const pool = new Pool(`http://127.0.0.1:${proxy.port}`, { connections: 1, pipelining: 10 })
    const replies = Array.from({ length: 20 }, async (_, i) =>
      (await pool.request({ path: `/${i}`, method: 'GET' })).body.text(),
    )
    expect(await Promise.all(replies)).toEqual(Array.from({ length: 20 }, (_, i) => `/${i}`))
    await pool.close()
  })

  test('node:http: keep-alive, trailers, Expect', async () => {
    await using upstream = await startUpstream((request, response) => request.pipe(response))
    await using proxy = await startProxy({ upstreamPeer: () => new HttpPeer(upstream.address) })
    const agent = new HttpAgent({ keepAlive: true, maxSockets: 1 })
    for (let i = 0; i < 3; i++) {
      const outgoing = httpRequest({
        port: proxy.port,
        host: '127.0.0.1',
        method: 'PUT',
        agent,
        headers: { Expect: '100-continue' },
      })
      outgoing.on('continue', () => outgoing.end('the body'))
      outgoing.flushHeaders()
      const [reply] = (await once(outgoing, 'response')) as [IncomingMessage]
      expect(await text(reply)).toBe('the body')
    }
    agent.destroy()
  })

  test('pipelined raw requests are answered in order, each logged before the next begins', async () => {
    await using upstream = await startUpstream((request, response) => response.end(request.url))
    const story: string[] = []
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer(upstream.address),
      earlyRequestFilter: (session) => void story.push(`begin ${session.request.path}`),
      logging: (session) => void story.push(`end ${session.request.path}`),
    })
    await using client = new RawClient(proxy.port)
    client.write(get('/1') + get('/2') + get('/3'))
    for (const path of ['/1', '/2', '/3']) expect((await client.response()).body).toBe(path)
    await proxy.idle()
    expect(story).toEqual(['/1', '/2', '/3'].flatMap((path) => [`begin ${path}`, `end ${path}`]))
  })
})

describe('HTTP/1.0 clients', () => {
  test('get no chunks and no 1xx: the connection’s end ends the body', async () => {
    await using upstream = await startScript(
      'HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
    )
    await using proxy = await startProxy({ upstreamPeer: () => new HttpPeer(upstream.address) })
    const reply = await exchange(proxy.port, 'GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n')
    expect(reply).toMatch(/^HTTP\/1\.1 200 OK\r\n.*\r\n\r\nhello$/s)
    expect(reply).not.toMatch(/transfer-encoding|103/i)
  })

  test('keep their connection when they ask for it and the length is known', async () => {
    await using upstream = await startScript(HELLO)
    await using proxy = await startProxy({ upstreamPeer: () => new HttpPeer(upstream.address) })
    await using client = new RawClient(proxy.port)
    for (let i = 0; i < 2; i++) {
      const { body, headers } = await client
        .write('GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n')
        .response()
      expect([body, headers['connection']]).toEqual(['hello', 'keep-alive'])
    }
    expect(await exchange(proxy.port, 'GET / HTTP/1.0\r\n\r\n')).toMatch(/connection: close.*hello$/is)
  })
})

describe('peers of other kinds', () => {
  test('a Unix socket', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'proxy-'))
    const path = join(folder, 'upstream.sock')
    const server = createServer((request, response) => response.end(`${request.headers.host}`)).listen(path)
    await once(server, 'listening')
    try {
      await using proxy = await startProxy({ upstreamPeer: () => new HttpPeer(`unix:${path}`) })
      await using client = new RawClient(proxy.port)
      for (let i = 0; i < 2; i++) expect((await client.write(get()).response()).body).toBe('a')
      expect(proxy.proxy.connector.stats().reused).toBe(1)
      expect((await ask(proxy.port, 'GET / HTTP/1.0\r\n\r\n')).body).toBe('localhost')
    } finally {
      server.closeAllConnections()
      server.close()
      await rm(folder, { recursive: true })
    }
  })

  test('an undici MockAgent', async () => {
    const agent = new MockAgent()
    agent.disableNetConnect()
    const origin = agent.get('http://mocked.example:80')
    origin.intercept({ path: '/a', method: 'POST' }).reply(201, 'mocked', { headers: { 'X-Mock': '1' } })
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer('mocked.example:80', { dispatcher: agent }),
      responseBodyFilter: (_session, chunk) =>
        chunk === null ? undefined : Buffer.from(String(chunk).toUpperCase()),
    })
    const { status, body, headers } = await ask(
      proxy.port,
      'POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nthe body',
    )
    expect([status, body, headers['x-mock']]).toEqual([201, 'MOCKED', '1'])
    // What nobody mocked is an error of that request alone.
    expect((await ask(proxy.port, get('/b'))).status).toBe(502)
    await agent.close()
  })

  test('a connect of the user’s own', async () => {
    await using upstream = await startScript(HELLO)
    const { connect } = await import('node:net')
    let calls = 0
    const peer = new HttpPeer('nowhere.example:1', {
      connect: async () => {
        calls++
        const socket = connect(upstream.port, '127.0.0.1')
        await once(socket, 'connect')
        return socket
      },
    })
    await using proxy = await startProxy({ upstreamPeer: () => peer })
    await using client = new RawClient(proxy.port)
    for (let i = 0; i < 3; i++) expect((await client.write(get()).response()).body).toBe('hello')
    expect(calls).toBe(1)
  })

  test('none: 503', async () => {
    await using proxy = await startProxy({ upstreamPeer: () => new HttpPeer(undefined) })
    expect((await ask(proxy.port, get())).status).toBe(503)
  })
})

describe('generated answers', () => {
  test('say who made them, when, and that nobody may keep them', async () => {
    await using proxy = await startProxy({ upstreamPeer: () => new HttpPeer(undefined) })
    const { headers, body } = await ask(proxy.port, get())
    expect(headers['server']).toBe('Cirque')
    expect(Math.abs(Date.parse(headers['date'] as string) - Date.now())).toBeLessThan(5_000)
    expect(headers['cache-control']).toBe('private, no-store')
    expect([headers['content-length'], headers['connection'], body]).toEqual(['0', 'close', ''])
  })

  test('carry no name when none is wanted, and have no body for HEAD', async () => {
    await using proxy = await startProxy(
      {
        upstreamPeer: () => new HttpPeer(undefined),
        failToProxy: (session) => session.respondError(503, 'busy'),
      },
      { server: { serverName: '' } },
    )
    const reply = await exchange(proxy.port, 'HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    expect(reply).not.toContain('busy')
    expect(reply).toMatch(/^HTTP\/1\.1 503 .*\r\n\r\n$/s)
    expect(reply).not.toMatch(/server:/i)
  })

  const codes = Object.keys(errorCodes) as KnownErrorCode[]
  const sources: ErrorSource[] = ['downstream', 'upstream', 'internal']
  const table = codes
    .filter((code) => code !== 'HTTP_STATUS')
    .flatMap((code) => sources.map((source) => [code, source] as const))

  test('have the status that the table of errors gives, for every code and source', async () => {
    let error = peerError('NO_PEER', 'internal', 'None')
    await using proxy = await startProxy({
      upstreamPeer: () => {
        throw error
      },
    })
    for (const [code, source] of table) {
      error = peerError(code, source, 'The fault')
      const expected = statusForError(error)
      const reply = await exchange(proxy.port, get())
      expect([code, source, reply.slice(0, 12)]).toEqual([
        code,
        source,
        expected === 0 ? '' : `HTTP/1.1 ${expected}`,
      ])
    }
  })

  test.each([
    [418, 418],
    [101, 500],
    [150, 500],
  ])('have the status that an error carries: %i, if it is a final one', async (status, expected) => {
    for (const failToProxy of [undefined, () => undefined]) {
      await using proxy = await startProxy({
        requestFilter() {
          throw new ProxyError('HTTP_STATUS', 'internal', 'Teapot', { status })
        },
        upstreamPeer: () => new HttpPeer(undefined),
        ...(failToProxy === undefined ? {} : { failToProxy }),
      })
      expect((await ask(proxy.port, get())).status).toBe(expected)
    }
  })
})

describe('failToProxy', () => {
  test('writes a page of its own', async () => {
    let logged: ProxyError | undefined
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer(undefined),
      async failToProxy(session, error) {
        session.respond(503, { headers: { 'Content-Type': 'text/html' }, body: `<p>${error.code}` })
        return { status: 503 }
      },
      logging(_session, error) {
        logged = error
      },
    })
    const { status, body } = await ask(proxy.port, get())
    expect([status, body]).toEqual([503, '<p>NO_PEER'])
    await proxy.idle()
    expect(logged?.code).toBe('NO_PEER')
  })

  test('picks the status, 0 for none at all', async () => {
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer(undefined),
      failToProxy: (session) => ({ status: Number(session.request.path.slice(1)) }),
    })
    expect((await ask(proxy.port, get('/599'))).status).toBe(599)
    expect((await ask(proxy.port, get('/200'))).status).toBe(200)
    expect(await exchange(proxy.port, get('/0'))).toBe('')
    expect((await ask(proxy.port, get('/600'))).status).toBe(500)
    expect((await ask(proxy.port, get('/199'))).status).toBe(500)
  })

  test('keeps the connection with canReuseDownstream, but only before a peer was asked for', async () => {
    const dead = await deadAddress()
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer(dead),
      requestFilter(session) {
        if (session.request.path === '/early') throw new Error('the fault')
      },
      failToProxy: () => ({ status: 500, canReuseDownstream: true }),
    })
    await using client = new RawClient(proxy.port)
    expect((await client.write(get('/early')).response()).headers['connection']).toBeUndefined()
    expect((await client.write(get('/early')).response()).status).toBe(500)
    expect((await client.write(get('/late')).response()).headers['connection']).toBe('close')
  })
})

describe('state of a connection', () => {
  test('goes from request to request, and to no other connection', async () => {
    await using upstream = await startScript(HELLO)
    const seen: unknown[] = []
    await using proxy = await startProxy<{ count: number }>({
      newCtx: () => ({ count: 1 }),
      upstreamPeer: () => new HttpPeer(upstream.address),
      onConnectionReuse(_session, previous, ctx) {
        ctx.count += (previous as { count: number }).count
      },
      logging: (_session, _error, ctx) => void seen.push(ctx.count),
      persistConnectionContext: (_session, ctx) => ctx,
    })
    for (let round = 0; round < 2; round++) {
      await using client = new RawClient(proxy.port)
      for (let i = 0; i < 3; i++) await client.write(get()).response()
      await proxy.idle()
    }
    expect(seen).toEqual([1, 2, 3, 1, 2, 3])
  })

  test('ends where nothing is given', async () => {
    await using upstream = await startScript(HELLO)
    let given: unknown = 'first'
    const seen: unknown[] = []
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer(upstream.address),
      onConnectionReuse: (_session, previous) => void seen.push(previous),
      persistConnectionContext: () => given,
    })
    await using client = new RawClient(proxy.port)
    await client.write(get()).response()
    given = undefined
    for (let i = 0; i < 3; i++) await client.write(get()).response()
    expect(seen).toEqual(['first'])
  })
})

describe('the log', () => {
  const SECRET = 'Authorization: Bearer topsecret\r\nCookie: sid=topsecret\r\nX-Token: topsecret'

  test('names a failed request, its attempts and its error, and holds no secret of it', async () => {
    await using upstream = await startScript(
      'HTTP/1.1 200 OK\r\nX-Bad\x01: topsecret\r\nSet-Cookie: topsecret\r\n\r\n',
    )
    await using proxy = await startProxy(
      {
        upstreamPeer: () => new HttpPeer(upstream.address),
        errorWhileProxy(_session, _peer, error) {
          error.retry = 'allowed'
        },
      },
      { retryBudget: false },
    )
    await ask(proxy.port, get('/a?token=topsecret', ...SECRET.split('\r\n')))
    await proxy.idle()
    const failed = proxy.log.filter(({ message }) => message === 'Request failed')
    expect(failed).toHaveLength(1)
    const { request, attempts } = failed[0]?.fields ?? {}
    expect(request).toBe('GET /a, Host: a')
    expect(attempts).toBe(16)
    const { inspect } = await import('node:util')
    expect(inspect(proxy.log, { depth: 9 })).not.toContain('topsecret')
  })

  test('keeps a client’s leaving apart from failures', async () => {
    await using upstream = await startRawUpstream((socket) => socket.resume())
    await using proxy = await startProxy({ upstreamPeer: () => new HttpPeer(upstream.address) })
    await using client = new RawClient(proxy.port)
    client.write(get())
    await until(() => upstream.connections.open === 1, 'nothing arrived')
    client.socket.resetAndDestroy()
    await proxy.idle()
    expect(proxy.log.filter(({ level }) => level === 'error')).toEqual([])
    expect(proxy.log.filter(({ message }) => message.startsWith('Client ended'))).toHaveLength(1)
  })

  test('leaves out what suppressErrorLog says, and uses requestSummary', async () => {
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer(undefined),
      suppressErrorLog: (session, error) => session.request.path === '/quiet' && error.code === 'NO_PEER',
      requestSummary: (session) => `my ${session.request.path}`,
    })
    await ask(proxy.port, get('/quiet'))
    await ask(proxy.port, get('/loud'))
    await proxy.idle()
    expect(proxy.log.map(({ fields }) => fields['request']).filter((text) => text !== undefined)).toEqual([
      'my /loud',
    ])
  })
})

test('the record tells the story of a request: attempts, times, reuse', async () => {
  await using upstream = await startScript(HELLO)
  const sessions: Session[] = []
  await using proxy = await startProxy({
    upstreamPeer: () => new HttpPeer(upstream.address),
    logging: (session) => void sessions.push(session),
  })
  await using client = new RawClient(proxy.port)
  for (let i = 0; i < 2; i++) await client.write(get()).response()
  await proxy.idle()
  for (const [i, { record, attempt, downstream }] of sessions.entries()) {
    expect(record.attempts).toEqual([attempt])
    const times = [
      record.startedAt,
      attempt?.startedAt,
      attempt?.connectedAt,
      attempt?.respondedAt,
      record.endedAt,
    ]
    expect(times).toEqual(times.toSorted((a = 0, b = 0) => a - b))
    expect(record.startedAt).toBeGreaterThan(0)
    expect([attempt?.reused, attempt?.status, attempt?.error, String(attempt?.peer)]).toEqual([
      i === 1,
      200,
      undefined,
      upstream.address,
    ])
    expect(downstream.responseBodyBytes).toBe(5)
  }
  expect(proxy.proxy.stats()).toEqual({ requests: 2, active: 0, broken: 0 })
})

test('an upstream that is silent for too long is 504, and its connection is not used again', async () => {
  await using upstream = await startRawUpstream((socket) => socket.resume())
  await using proxy = await startProxy({
    upstreamPeer: () => new HttpPeer(upstream.address, { readTimeoutMs: 50 }),
  })
  expect((await ask(proxy.port, get())).status).toBe(504)
  expect(proxy.proxy.connector.stats().open).toBe(0)
})

test('bytes after a response are no response: the connection is not used again', async () => {
  let answers = 0
  await using upstream = await startRawUpstream((socket) =>
    socket.on('data', () => {
      answers++
      socket.write(`${HELLO}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison`)
    }),
  )
  await using proxy = await startProxy({ upstreamPeer: () => new HttpPeer(upstream.address) })
  await using client = new RawClient(proxy.port)
  for (let i = 0; i < 3; i++) expect((await client.write(get()).response()).body).toBe('hello')
  expect([answers, upstream.connections.accepted]).toEqual([3, 3])
})

test('while the server drains, responses say close and hooks can tell', async () => {
  await using upstream = await startScript(HELLO)
  let draining: boolean | undefined
  await using proxy = await startProxy({
    upstreamPeer: () => new HttpPeer(upstream.address),
    async requestFilter(session) {
      proxy.proxy.serverApp.startDraining()
      draining = session.isProcessShuttingDown
    },
  })
  const { headers, body } = await ask(proxy.port, get())
  expect([headers['connection'], body, draining]).toEqual(['close', 'hello', true])
})
