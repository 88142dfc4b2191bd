import { createHash } from 'node:crypto'
import { once } from 'node:events'
import http2 from 'node:http2'
import { createServer } from 'node:net'
import { HttpPeer, type HttpPeerOptions } from '@cirque/core'
import { describe, expect, test } from 'vitest'
import {
  AnyClient,
  CERTIFICATE,
  type Origin,
  type OriginHandler,
  type OriginRequest,
  startOrigin,
} from './support/http2.ts'
import { startProxy } from './support/proxy.ts'
import { gate, until } from './support/waiting.ts'

const { NGHTTP2_HTTP_1_1_REQUIRED, NGHTTP2_NO_ERROR, NGHTTP2_REFUSED_STREAM } = http2.constants
const H2C = { server: { h2c: true } }

const toOrigin = (origin: Origin, options: HttpPeerOptions) => ({
  upstreamPeer: () => new HttpPeer(origin.address, options),
})

const collectBody = (request: OriginRequest): Promise<Buffer> =>
  new Promise((resolve) => {
    const chunks: Buffer[] = []
    const stream = request as NodeJS.EventEmitter
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    stream.on('end', () => resolve(Buffer.concat(chunks)))
  })

describe.each([
  [1, 1],
  [1, 2],
  [2, 1],
  [2, 2],
] as const)('HTTP/%d to HTTP/%d', (down, up) => {
  const start = async (handler: OriginHandler, options: HttpPeerOptions = {}) => {
    const stack = new AsyncDisposableStack()
    const origin = stack.use(await startOrigin(up, handler))
    const proxy = stack.use(await startProxy(toOrigin(origin, { httpVersion: up, ...options }), H2C))
    const client = stack.use(new AnyClient(down, proxy.port))
    return { origin, proxy, client, [Symbol.asyncDispose]: () => stack.disposeAsync() }
  }

  test('bodies of known and of unknown length pass whole', async () => {
    await using setup = await start(async (request, response) => {
      const body = await collectBody(request)
      const digest = createHash('sha256').update(body).digest('hex')
      response.writeHead(200, request.url === '/known' ? { 'content-length': `${digest.length}` } : {})
      response.end(digest)
    })
    const body = Buffer.alloc(700_001, 'abcdefg')
    const digest = createHash('sha256').update(body).digest('hex')
    for (const path of ['/known', '/unknown']) {
      const headers =
        path === '/known' ? { 'content-length': `${body.length}` } : { 'transfer-encoding': 'chunked' }
      const { status, body: answered } = await setup.client.ask({
        method: 'POST',
        path,
        body,
        headers: down === 1 || path === '/known' ? headers : {},
      })
      expect([status, answered.toString()]).toEqual([200, digest])
    }
    expect(setup.origin.accepted).toBe(1)
    expect(setup.proxy.errors()).toEqual([])
  })

  test('both directions flow at once', async () => {
    await using setup = await start((request, response) => {
      response.writeHead(200)
      request.on('data', (chunk: Buffer) => response.write(chunk))
      request.on('end', () => response.end('!'))
    })
    const body = Buffer.alloc(2_000_000, 'x')
    const answer = await setup.client.ask({ method: 'POST', body })
    expect(answer.body.length).toBe(body.length + 1)
    expect(answer.whole).toBe(true)
  })

  test('trailers of the request and of the response pass', async () => {
    await using setup = await start(async (request, response) => {
      await collectBody(request)
      response.writeHead(200, { trailer: 'x-sum' })
      response.write('body')
      response.addTrailers({ 'x-sum': String(request.trailers['x-check']) })
      response.end()
    })
    const answer = await setup.client.ask({ method: 'POST', body: 'data', trailers: { 'x-check': 'abc' } })
    expect(answer.trailers['x-sum']).toBe('abc')
    expect(answer.body.toString()).toBe('body')
  })

  test('103 comes before the response, 100 when the origin says so', async () => {
    await using setup = await start(async (request, response) => {
      response.writeEarlyHints({ link: '</style.css>; rel=preload' })
      await collectBody(request)
      response.writeHead(200)
      response.end('ok')
    })
    const answer = await setup.client.ask({})
    expect(answer).toMatchObject({ status: 200, informational: [103] })
  })

  test('HEAD keeps its length and has no body; 204 and 304 have none either', async () => {
    await using setup = await start((request, response) => {
      if (request.url === '/') response.writeHead(200, { 'content-length': '5' })
      else response.writeHead(Number(request.url?.slice(1)))
      response.end(request.url === '/' && request.method === 'GET' ? 'hello' : undefined)
    })
    const head = await setup.client.ask({ method: 'HEAD' })
    expect([head.status, head.headers['content-length'], head.body.length]).toEqual([200, '5', 0])
    for (const status of [204, 304]) {
      expect((await setup.client.ask({ path: `/${status}` })).status).toBe(status)
    }
    expect((await setup.client.ask({})).body.toString()).toBe('hello')
  })

  test('a response cut by the origin is not taken for a whole one', async () => {
    await using setup = await start((_request, response) => {
      response.writeHead(200)
      response.write('half')
      setTimeout(() => response.destroy(), 30)
    })
    const answer = await setup.client.ask({})
    expect(answer).toMatchObject({ status: 200, whole: false })
    await until(() => setup.proxy.errors().length === 1, 'no error is logged')
  })

  test('an answer before the end of the request is delivered', async () => {
    await using setup = await start((_request, response) => {
      response.writeHead(413, { 'content-length': '5' })
      response.end('large')
    })
    if (down === 1) return // node:http as a client sends on until it has sent all
    const stream = setup.client.session?.request({ ':method': 'POST' })
    if (stream === undefined) throw new Error('No stream')
    stream.on('error', () => undefined)
    stream.write('first')
    const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders & { ':status': number }]
    expect(headers[':status']).toBe(413)
    stream.resume()
    stream.end()
    await new Promise((resolve) => stream.once('close', resolve))
  })

  test('a client that leaves ends the exchange at the origin', async () => {
    const left = gate()
    await using setup = await start((_request, response) => {
      response.on('close', () => left.open())
      response.writeHead(200)
      response.write('begun')
    })
    if (down === 2) {
      const stream = setup.client.session?.request({})
      stream?.on('error', () => undefined)
      stream?.once('data', () => stream.close(http2.constants.NGHTTP2_CANCEL))
    } else {
      const { request } = await import('node:http')
      const outgoing = request({ port: setup.proxy.port }, (response) =>
        response.once('data', () => outgoing.destroy()),
      )
      outgoing.on('error', () => undefined)
      outgoing.end()
    }
    await left.promise
    await setup.proxy.idle()
  })

  test('fifty requests at once are answered, each with its own', async () => {
    await using setup = await start((request, response) => {
      response.writeHead(200)
      setTimeout(() => response.end(`${request.url} ${request.headers['x-own']}`), 5)
    })
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, i) => setup.client.ask({ path: `/${i}`, headers: { 'x-own': `${i}` } })),
    )
    expect(answers.map(({ body }) => body.toString())).toEqual(
      Array.from({ length: 50 }, (_, i) => `/${i} ${i}`),
    )
    if (up === 2) expect(setup.origin.accepted).toBe(1)
    expect(setup.proxy.errors()).toEqual([])
  })

  test('sixteen downloads of 1 MiB at once arrive whole', async () => {
    const body = Buffer.alloc(1_048_576, 'abcdefghijklm')
    // Piece by piece: node:http2 refuses streams once 10 MB wait in a session (maxSessionMemory).
    await using setup = await start((_request, response) => {
      response.writeHead(200, { 'content-length': `${body.length}` })
      let at = 0
      const pump = (): void => {
        while (at < body.length) {
          at += 65_536
          if (!response.write(body.subarray(at - 65_536, at))) return
        }
        response.end()
      }
      response.on('drain', pump)
      pump()
    })
    for (let round = 0; round < 2; round++) {
      const answers = await Promise.all(Array.from({ length: 16 }, () => setup.client.ask({ path: '/long' })))
      expect(answers.map((answer) => [answer.status, answer.whole, answer.body.equals(body)])).toEqual(
        Array(16).fill([200, true, true]),
      )
    }
    expect(setup.proxy.errors()).toEqual([])
  })

  test('a client that does not read stops its origin, and nobody else', async () => {
    let written = 0
    await using setup = await start(
      (request, response) => {
        response.writeHead(200)
        if (request.url === '/small') {
          response.end('small')
          return
        }
        const chunk = Buffer.alloc(50_000)
        const pump = (): void => {
          while (written < 50_000_000) {
            written += chunk.length
            if (!response.write(chunk)) return
          }
          response.end()
        }
        response.on('drain', pump)
        pump()
      },
      { http2WindowBytes: 65_535 },
    )
    const stalled =
      down === 2
        ? setup.client.session?.request({ ':path': '/large' })
        : (await import('node:http')).request({ port: setup.proxy.port, path: '/large' }).end()
    stalled?.on('error', () => undefined)
    await once(stalled as NodeJS.EventEmitter, 'response')
    let before = -1
    await until(() => {
      const same = written === before
      before = written
      return same
    }, 'the origin never stops')
    for (let i = 0; i < 3; i++)
      expect((await setup.client.ask({ path: '/small' })).body.toString()).toBe('small')
    expect(written).toBeLessThan(40_000_000)
    stalled?.destroy()
    await setup.proxy.idle()
  })
})

test('CONNECT over HTTP/2 is refused with 405 unless tunnels are allowed', async () => {
  await using origin = await startOrigin(1, (_request, response) => response.end('never'))
  await using proxy = await startProxy(toOrigin(origin, {}), H2C)
  await using client = new AnyClient(2, proxy.port)
  const stream = client.session?.request({ ':method': 'CONNECT', ':authority': 'internal:22' })
  const [headers] = (await once(stream as NodeJS.EventEmitter, 'response')) as [Record<string, unknown>]
  expect(headers[':status']).toBe(405)
  stream?.end()
  stream?.resume()
  expect(origin.accepted).toBe(0)
})

test('an upgrade to a peer of HTTP/2 is refused with 501', async () => {
  await using origin = await startOrigin(2, (_request, response) => response.end('never'))
  await using proxy = await startProxy(toOrigin(origin, { httpVersion: 2 }))
  await using client = new AnyClient(1, proxy.port)
  const answer = await client.ask({ headers: { connection: 'upgrade', upgrade: 'websocket' } })
  expect(answer.status).toBe(501)
})

// --- HTTP/2 to the upstream ------------------------------------------------------------------------

test('Host becomes :authority, also when a filter sets it; connection fields stay behind', async () => {
  const seen: http2.IncomingHttpHeaders[] = []
  await using origin = await startOrigin(2, (request, response) => {
    seen.push(request.headers)
    response.end('ok')
  })
  await using proxy = await startProxy({
    ...toOrigin(origin, { httpVersion: 2 }),
    upstreamRequestFilter: (_session, request) => {
      request.insertHeader('Host', 'other.example:8080')
      request.insertHeader('Connection', 'close')
    },
  })
  await using client = new AnyClient(1, proxy.port)
  expect((await client.ask({ headers: { 'X-Upper': 'Case', cookie: 'a=b' } })).status).toBe(200)
  expect(seen[0]).toMatchObject({ ':authority': 'other.example:8080', 'x-upper': 'Case', te: 'trailers' })
  expect(seen[0]).not.toHaveProperty('host')
  expect(seen[0]).not.toHaveProperty('connection')
})

const TLS_PEER = { tls: true, sni: 'localhost', ca: CERTIFICATE.cert } as const

test.each([
  ['auto', true, 'HTTP/2'],
  ['auto', false, 'HTTP/1.1'],
  [2, true, 'HTTP/2'],
  [1, true, 'HTTP/1.1'],
] as const)(
  'over TLS, httpVersion %s and a peer with HTTP/2 %s speak %s',
  async (httpVersion, offered, expected) => {
    await using origin = await startOrigin(
      offered ? 'tls' : 'tls1',
      (request, response) => response.end(request.httpVersion === '2.0' ? 'HTTP/2' : 'HTTP/1.1'),
      { allowHTTP1: true },
    )
    await using proxy = await startProxy(toOrigin(origin, { ...TLS_PEER, httpVersion }), H2C)
    await using client = new AnyClient(2, proxy.port)
    const answers = await Promise.all(Array.from({ length: 5 }, () => client.ask()))
    expect(answers.map(({ body }) => body.toString())).toEqual(Array(5).fill(expected))
    for (let i = 0; i < 3; i++) expect((await client.ask()).body.toString()).toBe(expected)
    expect(origin.accepted).toBeLessThanOrEqual(expected === 'HTTP/2' ? 1 : 5)
    expect(proxy.errors()).toEqual([])
  },
)

test('a peer without HTTP/2 is a bad gateway for httpVersion 2', async () => {
  await using origin = await startOrigin('tls1', (_request, response) => response.end('1'))
  await using proxy = await startProxy(toOrigin(origin, { ...TLS_PEER, httpVersion: 2 }))
  await using client = new AnyClient(1, proxy.port)
  expect((await client.ask()).status).toBe(502)
})

test('a cleartext HTTP/1 server is a bad gateway for httpVersion 2', async () => {
  await using origin = await startOrigin(1, (_request, response) => response.end('1'))
  await using proxy = await startProxy(toOrigin(origin, { httpVersion: 2 }))
  await using client = new AnyClient(1, proxy.port)
  expect((await client.ask()).status).toBe(502)
})

test('RFC 9113 §8.7: a refused stream is sent again, also a POST; its body from the start', async () => {
  let count = 0
  const bodies: string[] = []
  await using origin = await startOrigin(2, async (request, response) => {
    if (++count === 1) {
      ;(request as http2.Http2ServerRequest).stream.close(NGHTTP2_REFUSED_STREAM)
      return
    }
    bodies.push((await collectBody(request)).toString())
    response.end('served')
  })
  await using proxy = await startProxy(toOrigin(origin, { httpVersion: 2 }))
  await using client = new AnyClient(1, proxy.port)
  const answer = await client.ask({ method: 'POST', body: 'once' })
  expect([answer.status, answer.body.toString(), bodies]).toEqual([200, 'served', ['once']])
})

test('ENHANCE_YOUR_CALM: sent again on another connection if the request is idempotent', async () => {
  // Whole bodies: node:http2 refuses streams of a session in which 10 MB wait.
  const body = Buffer.alloc(1_048_576, 'abcdefghijklm')
  await using origin = await startOrigin(2, (_request, response) => response.end(body))
  await using proxy = await startProxy(toOrigin(origin, { httpVersion: 2 }), H2C)
  await using client = new AnyClient(2, proxy.port)
  const answers = await Promise.all(Array.from({ length: 16 }, () => client.ask({ path: '/long' })))
  expect(answers.map(({ status, body: answered }) => [status, answered.equals(body)])).toEqual(
    Array(16).fill([200, true]),
  )
  expect(origin.accepted).toBeGreaterThan(1)
})

test('HTTP_1_1_REQUIRED sends the request again over HTTP/1.1 and remembers the peer', async () => {
  const versions: string[] = []
  await using origin = await startOrigin(
    'tls',
    (request, response) => {
      versions.push(request.httpVersion)
      if (request.httpVersion === '2.0')
        (request as http2.Http2ServerRequest).stream.close(NGHTTP2_HTTP_1_1_REQUIRED)
      else response.end('over 1.1')
    },
    { allowHTTP1: true },
  )
  await using proxy = await startProxy(toOrigin(origin, { ...TLS_PEER, httpVersion: 'auto' }))
  await using client = new AnyClient(1, proxy.port)
  expect((await client.ask({ method: 'POST', body: 'x' })).body.toString()).toBe('over 1.1')
  expect((await client.ask()).body.toString()).toBe('over 1.1')
  expect(versions).toEqual(['2.0', '1.1', '1.1'])
})

test('GOAWAY: open requests finish, the next one opens another connection', async () => {
  const release = gate()
  await using origin = await startOrigin(2, async (request, response) => {
    if (request.url === '/slow') await release.promise
    response.end(request.url ?? '')
  })
  await using proxy = await startProxy(toOrigin(origin, { httpVersion: 2 }), H2C)
  await using client = new AnyClient(2, proxy.port)
  const slow = client.ask({ path: '/slow' })
  await until(() => origin.sessions.size === 1, 'no connection')
  await client.ask({ path: '/first' })
  const [session] = origin.sessions
  session?.close()
  expect((await client.ask({ path: '/second' })).body.toString()).toBe('/second')
  release.open()
  expect((await slow).body.toString()).toBe('/slow')
  expect(origin.accepted).toBe(2)
  expect(proxy.log.filter(({ level }) => level === 'error')).toEqual([])
})

test('GOAWAY below a request that is under way: the request is sent again', async () => {
  let count = 0
  await using origin = await startOrigin(2, (request, response) => {
    const { stream } = request as http2.Http2ServerRequest
    if (++count === 2) stream.session?.goaway(NGHTTP2_NO_ERROR, (stream.id ?? 0) - 2)
    else response.end('served')
  })
  await using proxy = await startProxy(toOrigin(origin, { httpVersion: 2 }))
  await using client = new AnyClient(1, proxy.port)
  expect((await client.ask()).body.toString()).toBe('served')
  expect((await client.ask({ method: 'POST', body: 'x' })).body.toString()).toBe('served')
  expect(origin.accepted).toBe(2)
})

test('http2StreamsMax, and less if the peer says so, bounds requests on a connection', async () => {
  const release = gate()
  for (const [ours, theirs, connections] of [
    [2, 100, 3],
    [100, 3, 2],
  ] as const) {
    let count = 0
    await using origin = await startOrigin(
      2,
      async (_request, response) => {
        if (++count > 1) await release.promise
        response.end('ok')
      },
      { settings: { maxConcurrentStreams: theirs } },
    )
    await using proxy = await startProxy(toOrigin(origin, { httpVersion: 2, http2StreamsMax: ours }), H2C)
    await using client = new AnyClient(2, proxy.port)
    await client.ask() // so that the peer's settings are known
    const all = Array.from({ length: 6 }, () => client.ask())
    await until(() => count === 7, 'not all requests arrive')
    expect(origin.accepted).toBe(connections)
    release.open()
    for (const answer of await Promise.all(all)) expect(answer.status).toBe(200)
    expect(proxy.errors()).toEqual([])
  }
})

test('a cancelled wait does not hold up the others that wait for the same connection', async () => {
  await using origin = await startOrigin(2, (_request, response) => response.end('ok'))
  await using proxy = await startProxy(toOrigin(origin, { httpVersion: 2 }))
  const { connector } = proxy.proxy
  const peer = new HttpPeer(origin.address, { httpVersion: 2 })
  const heard: string[] = []
  const wait = (name: string) =>
    connector.connect(peer, {
      onConnected: (session) => {
        heard.push(name)
        session.destroy()
      },
      onConnectError: () => heard.push(`${name} failed`),
    })
  const first = wait('first')
  wait('second')
  first.cancel()
  await until(() => heard.length > 0, 'nobody was served')
  expect(heard).toEqual(['second'])
  const alone = wait('alone')
  alone.cancel()
  const held = connector.acquire(peer)
  expect(held?.reused).toBe(true)
  held?.destroy()
})

test('readTimeoutMs ends a request; its connection takes no other', async () => {
  await using origin = await startOrigin(2, (request, response) => {
    if (request.url !== '/never') response.end('ok')
  })
  await using proxy = await startProxy(toOrigin(origin, { httpVersion: 2, readTimeoutMs: 40 }))
  await using client = new AnyClient(1, proxy.port)
  expect((await client.ask({ path: '/never' })).status).toBe(504)
  expect((await client.ask()).status).toBe(200)
  expect(origin.accepted).toBe(2)
})

test('idle connections are closed after idleTimeoutMs', async () => {
  await using origin = await startOrigin(2, (_request, response) => response.end('ok'))
  await using proxy = await startProxy(toOrigin(origin, { httpVersion: 2, idleTimeoutMs: 30 }))
  await using client = new AnyClient(1, proxy.port)
  expect((await client.ask()).status).toBe(200)
  expect(proxy.proxy.connector.stats()).toMatchObject({ open: 1, idle: 1 })
  await until(() => proxy.proxy.connector.stats().open === 0, 'the connection stays open')
})

test('a peer that answers no pings is given up', async () => {
  const sockets: import('node:net').Socket[] = []
  const server = createServer((socket) => {
    sockets.push(socket)
    socket.on('error', () => undefined)
    socket.on('data', () => undefined)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as import('node:net').AddressInfo
  {
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer(`127.0.0.1:${port}`, { httpVersion: 2, http2PingIntervalMs: 20 }),
    })
    await using client = new AnyClient(1, proxy.port)
    expect((await client.ask()).status).toBe(502)
    expect(proxy.errors()[0]).toContain('ping')
  }
  for (const socket of sockets) socket.destroy()
  server.close()
  await once(server, 'close')
}, 15_000)

test('peer options of HTTP/2 are checked', () => {
  expect(() => new HttpPeer('a:1', { httpVersion: 3 as 2 })).toThrow(
    '"httpVersion" must be 1, 2 or "auto", not 3',
  )
  expect(() => new HttpPeer('a:1', { http2StreamsMax: 0 })).toThrow(RangeError)
  expect(() => new HttpPeer('a:1', { http2WindowBytes: 16_383 })).toThrow(RangeError)
  const plain = new HttpPeer('a:1', { httpVersion: 2 })
  expect(plain.reuseKey).not.toBe(new HttpPeer('a:1').reuseKey)
})
