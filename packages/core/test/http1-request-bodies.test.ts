import type { ProxyError } from '@cirque/error'
import { expect, test } from 'vitest'
import { HttpServerApp, type ServerSession, WRITE_DONE, type WriteResult } from '../src/index.ts'
import { startApp, startServer } from './support/http-server.ts'
import { connectRaw, exchange, turn } from './support/raw-client.ts'

const GET = 'GET /next HTTP/1.1\r\nHost: a\r\n\r\n'
const post = (fields: string, body: string = ''): string =>
  `POST / HTTP/1.1\r\nHost: a\r\n${fields}\r\n\r\n${body}`

test('an early response with a small body unread: the body is dropped and the connection goes on', async () => {
  await using server = await startServer(
    (session) => session.respond(200, { body: session.request.target }),
    {
      discardBytesMax: 10,
    },
  )
  const request = post('Content-Length: 10', '0123456789')
  for (let cut = 1; cut <= request.length; cut++) {
    await using client = await connectRaw(server.port)
    client.send(request.slice(0, cut))
    await turn()
    client.send(request.slice(cut) + GET)
    await client.see('/next')
    expect(client.received).not.toContain('Connection')
  }
})

test('discardBytesMax: one byte more closes, and so does a chunked body', async () => {
  await using server = await startServer((session) => session.respond(403, { body: 'no' }), {
    discardBytesMax: 10,
  })
  for (const request of [
    post('Content-Length: 11', '01234567890'),
    post('Transfer-Encoding: chunked', '1\r\na\r\n0\r\n\r\n'),
  ]) {
    await using client = await connectRaw(server.port)
    client.send(request + GET)
    const reply = await client.rest()
    expect(reply).toMatch(/^HTTP\/1\.1 403 [\s\S]*Connection: close\r\n\r\nno$/)
  }
  expect(server.app.stats().requests).toBe(2)
})

test('RFC 9112 §9.6: an upload under way does not cost the client the early response', async () => {
  await using server = await startServer((session) => session.respond(413, { body: 'too large' }), {
    lingerBytesMax: 100_000_000,
  })
  await using client = await connectRaw(server.port)
  client.send(post('Content-Length: 50000000'))
  const chunk = Buffer.alloc(65_536)
  for (let sent = 0; sent < 8 * 1_048_576; sent += chunk.length) {
    client.send(chunk)
    if (client.socket.writableNeedDrain) await new Promise((resolve) => client.socket.once('drain', resolve))
  }
  expect(await client.rest()).toMatch(/Connection: close\r\n\r\ntoo large$/)
  expect(client.wasReset).toBe(false)
  client.end()
  await server.drained()
})

test('lingerBytesMax: a client that sends on for ever is cut', async () => {
  await using server = await startServer((session) => session.respond(413), { lingerBytesMax: 65_536 })
  await using client = await connectRaw(server.port)
  client.send(post('Content-Length: 50000000'))
  await client.rest()
  const chunk = Buffer.alloc(65_536)
  while (!client.socket.closed) {
    client.send(chunk)
    await turn()
  }
  await server.drained()
})

test('lingerTimeoutMs: a client that never closes is cut', async () => {
  await using server = await startServer((session) => session.respond(413), { lingerTimeoutMs: 30 })
  await using client = await connectRaw(server.port)
  client.send(post('Content-Length: 50000000', 'a'))
  await client.rest()
  await server.drained()
})

test('RFC 9110 §10.1.1: 100 is sent when the body is read, and only then', async () => {
  await using server = await startServer(async (session) => {
    if (session.request.target === '/refused') return session.respond(417)
    session.respond(200, { body: await session.readRequestBody() })
  })
  await using client = await connectRaw(server.port)
  client.send(post('Content-Length: 3\r\nExpect: 100-continue'))
  expect(await client.see('\r\n\r\n')).toBe('HTTP/1.1 100 Continue\r\n\r\n')
  client.send('abc')
  await client.see('\r\n\r\nabc')
  // Not granted: the client may or may not send the body, so nothing after it can be understood.
  client
    .clear()
    .send('POST /refused HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n')
  expect(await client.rest()).toMatch(/^HTTP\/1\.1 417 [\s\S]*Connection: close\r\n/)
})

test('no 100 where no body follows', async () => {
  await using server = await startServer(async (session) => {
    await session.readRequestBody({ maxBytes: 3 })
    session.respond(200)
  })
  const reply = await exchange(
    server.port,
    post('Content-Length: 0\r\nExpect: 100-continue\r\nConnection: close'),
  )
  expect(reply).toMatch(/^HTTP\/1\.1 200 /)
})

test('requestBodyBytesMax holds at n; n + 1 gets 413, and the rest is not interpreted', async () => {
  await using server = await startServer(
    async (session) => {
      session.respond(200, { body: await session.readRequestBody() })
    },
    { requestBodyBytesMax: 4 },
  )
  for (const [fields, body] of [
    ['Content-Length: 4', 'abcd'],
    ['Transfer-Encoding: chunked', '2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n'],
  ] as const) {
    expect(await exchange(server.port, post(`${fields}\r\nConnection: close`, body))).toMatch(/abcd$/)
  }
  for (const [fields, body] of [
    ['Content-Length: 5', 'abcde'],
    ['Content-Length: 50000000', 'abcde'],
    ['Transfer-Encoding: chunked', '5\r\nabcde\r\n0\r\n\r\n'],
    ['Transfer-Encoding: chunked', '2\r\nab\r\n2\r\ncd\r\n1\r\ne\r\n1\r\nf\r\n0\r\n\r\n'],
  ] as const) {
    const before = server.app.stats().requests
    const reply = await exchange(server.port, post(fields, body) + GET)
    expect(reply.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 413'])
    expect(server.app.stats().requests).toBe(before + 1)
  }
})

test('readRequestBody({ maxBytes }) holds at n and fails at n + 1', async () => {
  await using server = await startServer(async (session) => {
    session.respond(200, { body: await session.readRequestBody({ maxBytes: 3 }) })
  })
  const status = async (fields: string, body: string) =>
    (await exchange(server.port, post(`${fields}\r\nConnection: close`, body))).slice(9, 12)
  expect(await status('Content-Length: 3', 'abc')).toBe('200')
  expect(await status('Content-Length: 4', 'abcd')).toBe('413')
  expect(await status('Transfer-Encoding: chunked', '3\r\nabc\r\n0\r\n\r\n')).toBe('200')
  expect(await status('Transfer-Encoding: chunked', '4\r\nabcd\r\n0\r\n\r\n')).toBe('413')
})

/** Every call that a session made to its handler. */
class Calls {
  readonly log: string[] = []
  readonly session: ServerSession
  constructor(session: ServerSession) {
    this.session = session
    session.handler = this
  }
  onRequestData(buffer: Buffer, start: number, end: number): WriteResult {
    this.log.push(`data ${buffer.toString('latin1', start, end)}`)
    return WRITE_DONE
  }
  onRequestEnd(trailers: string[] | null): void {
    this.log.push(`end ${trailers ?? ''}`)
  }
  onDownstreamDrain(): void {
    this.log.push('drain')
  }
  onDownstreamAbort(error: ProxyError): void {
    this.log.push(`abort ${error.code} ${error.source}`)
  }
}

function recorder(): { app: HttpServerApp; calls: Calls[] } {
  const calls: Calls[] = []
  const app = new HttpServerApp(
    {
      onSession(session) {
        calls.push(new Calls(session))
        session.resumeRequestBody()
      },
    },
    { requestBodyBytesMax: 6 },
  )
  return { app, calls }
}

test('a handler hears of a broken request once, and never of its end', async () => {
  for (const [fields, body, abort] of [
    ['Content-Length: 7', 'abcdefg', 'BODY_TOO_LARGE'],
    ['Transfer-Encoding: chunked', '7\r\nabcdefg\r\n1\r\nh\r\n0\r\n\r\n', 'BODY_TOO_LARGE'],
    ['Transfer-Encoding: chunked', '1\r\na\r\nz\r\n', 'INVALID_CHUNK'],
    ['Transfer-Encoding: chunked', '1\r\nab\r\n0\r\n\r\n', 'INVALID_CHUNK'],
    ['Transfer-Encoding: chunked', '1;\nab\r\n0\r\n\r\n', 'INVALID_CHUNK'],
    ['Transfer-Encoding: chunked', '0\r\nContent-Length: 3\r\n\r\n', 'INVALID_CHUNK'],
  ] as const) {
    const { app, calls } = recorder()
    await using server = await startApp(app)
    await using client = await connectRaw(server.port)
    client.send(post(fields, body) + GET)
    while (calls[0]?.log.some((call) => call.startsWith('abort')) !== true) await turn()
    client.end()
    await turn()
    expect(calls[0].log.filter((call) => !call.startsWith('data'))).toEqual([`abort ${abort} downstream`])
    calls[0].session.destroy()
    await client.rest()
    expect(calls.length).toBe(1)
  }
})

test('a request body with trailers arrives whole at every split', async () => {
  const bytes = post('Transfer-Encoding: chunked', '3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n')
  for (let cut = 1; cut < bytes.length; cut++) {
    const { app, calls } = recorder()
    await using server = await startApp(app)
    await using client = await connectRaw(server.port)
    client.send(bytes.slice(0, cut))
    await turn()
    client.send(bytes.slice(cut))
    while (calls[0]?.log.at(-1)?.startsWith('end') !== true) await turn()
    const data = calls[0].log.slice(0, -1).map((call) => call.slice(5))
    expect(data.join('')).toBe('abcde')
    expect(calls[0].log.at(-1)).toBe('end X-Sum,1')
  }
})

test('a client that leaves within its body: the handler hears of it once, and nothing is left', async () => {
  for (const way of ['end', 'reset'] as const) {
    const { app, calls } = recorder()
    await using server = await startApp(app)
    await using client = await connectRaw(server.port)
    client.send(post('Content-Length: 5', 'abc'))
    const count = (): number => calls[0]?.log.length ?? 0
    while (count() < 1) await turn()
    client[way]()
    while (count() < 2) await turn()
    const code = way === 'end' ? 'PREMATURE_BODY_END' : 'CONNECTION_CLOSED'
    expect(calls[0]?.log).toEqual(['data abc', `abort ${code} downstream`])
    calls[0]?.session.destroy()
    await server.drained()
  }
})

test('a body that nobody reads holds its client back', async () => {
  let session: ServerSession | undefined
  await using server = await startApp(new HttpServerApp({ onSession: (opened) => (session = opened) }))
  await using client = await connectRaw(server.port)
  client.send(post('Content-Length: 100000000'))
  const chunk = Buffer.alloc(65_536)
  for (let stalled = 0; stalled < 30; stalled = client.socket.writableNeedDrain ? stalled + 1 : 0) {
    if (!client.socket.writableNeedDrain) client.send(chunk)
    await turn()
  }
  expect(server.socket.bytesRead).toBeLessThan(262_144)
  const calls = new Calls(session as ServerSession)
  session?.resumeRequestBody()
  while (calls.log.length < 5) await turn()
  session?.pauseRequestBody()
  const paused = calls.log.length
  for (let i = 0; i < 20; i++) await turn()
  expect(calls.log.length).toBe(paused)
  session?.destroy()
})

test('a body in pieces of one byte costs no more memory than its size', async () => {
  let pieces = -1
  await using server = await startServer(async (session) => {
    await session.body.fill(100_001, false)
    pieces = session.body.chunks.length
    const whole = session.body.take()
    session.respond(200, { body: `${whole.length} ${new Set(whole).size}` })
  })
  await using client = await connectRaw(server.port)
  client.send(
    post('Transfer-Encoding: chunked\r\nConnection: close', `${'1\r\nx\r\n'.repeat(100_000)}0\r\n\r\n`),
  )
  expect(await client.rest()).toMatch(/100000 1$/)
  expect(pieces).toBeLessThan(20)
})

test('abortOnClose: a client that half-closes while it waits has gone, unless told otherwise', async () => {
  for (const abortOnClose of [true, false]) {
    let aborted: string | undefined
    await using server = await startServer(
      async (session) => {
        await Promise.race([
          new Promise((resolve) => session.signal.addEventListener('abort', resolve)),
          abortOnClose ? new Promise(() => undefined) : Promise.resolve(),
        ])
        aborted = session.abortError?.code
        if (aborted === undefined) session.respond(200, { body: 'answer' })
      },
      { abortOnClose },
    )
    await using client = await connectRaw(server.port)
    client.send(GET).end()
    const reply = await client.rest()
    if (abortOnClose) {
      expect(reply).toBe('')
      expect(aborted).toBe('CONNECTION_CLOSED')
    } else expect(reply).toMatch(/answer$/)
    await server.drained()
  }
})

test('abortOnClose false: everything sent before the half-close is served, read late or pipelined', async () => {
  await using server = await startServer(
    async (session) => {
      for (let i = 0; i < 5; i++) await turn()
      const body = await session.readRequestBody()
      session.respond(200, { body: `<${body.toString()}>` })
    },
    { abortOnClose: false },
  )
  await using client = await connectRaw(server.port)
  client.send(post('Content-Length: 3', 'abc') + post('Content-Length: 3', 'def')).end()
  const reply = await client.rest()
  expect(reply.match(/<\w+>/g)).toEqual(['<abc>', '<def>'])
})
