import { Readable } from 'node:stream'
import { ResponseHeader } from '@cirque/http'
import { expect, test } from 'vitest'
import { HttpServerApp, type ServerSession, WRITE_DONE, WRITE_PAUSE } from '../src/index.ts'
import { startApp, startServer } from './support/http-server.ts'
import { connectRaw, exchange, turn } from './support/raw-client.ts'

const request = (more: string = '', method: string = 'GET', version: string = '1.1'): string =>
  `${method} / HTTP/${version}\r\nHost: a\r\n${more}\r\n`
const CLOSE = 'Connection: close\r\n'

/** Hands each session over as it is. */
function onSession(handle: (session: ServerSession) => void): HttpServerApp {
  return new HttpServerApp({
    onSession(session) {
      session.handler = {
        onRequestData: () => WRITE_DONE,
        onRequestEnd() {},
        onDownstreamDrain() {},
        onDownstreamAbort() {},
      }
      handle(session)
    },
  })
}

function write(session: ServerSession, text: string): void {
  session.writeBody(Buffer.from(text), 0, text.length)
}

test('bodies of unknown length are chunked for 1.1 and end with the connection for 1.0', async () => {
  await using server = await startApp(
    onSession((session) => {
      session.writeHead(ResponseHeader.build(200, [['Date', 'x']]), -1)
      write(session, 'hello')
      write(session, 'you')
      session.endResponse(null)
    }),
  )
  expect(await exchange(server.port, request(CLOSE))).toBe(
    'HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n' +
      '5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n',
  )
  expect(await exchange(server.port, request('Connection: keep-alive\r\n', 'GET', '1.0'))).toBe(
    'HTTP/1.1 200 OK\r\nDate: x\r\nConnection: close\r\n\r\nhelloyou',
  )
})

test('HEAD, 204 and 304 have no body, whatever the handler writes', async () => {
  await using server = await startServer((session) => {
    const status = Number(session.request.get('x-status') ?? 200)
    session.respond(status, { body: 'body', headers: status === 304 ? [['ETag', '"a"']] : [] })
  })
  for (const text of [request('', 'HEAD'), request('X-Status: 204\r\n'), request('X-Status: 304\r\n')]) {
    await using client = await connectRaw(server.port)
    client.send(text + request(CLOSE))
    const reply = await client.rest()
    expect(reply).toMatch(/\r\n\r\nHTTP\/1\.1 200 OK\r\n[\s\S]*body$/)
    expect(reply).not.toMatch(/Transfer-Encoding/)
  }
  const none = await exchange(server.port, request(`${CLOSE}X-Status: 204\r\n`))
  expect(none).not.toMatch(/Content-Length/)
})

test('fields of the connection are the session’s own', async () => {
  await using server = await startApp(
    onSession((session) => {
      const header = ResponseHeader.build(200, [
        ['Connection', 'keep-alive'],
        ['Keep-Alive', 'timeout=5'],
        ['Transfer-Encoding', 'gzip'],
        ['Content-Length', '99'],
        ['content-length', '98'],
        ['X', 'y'],
      ])
      session.writeHead(header, 2)
      write(session, 'ok')
      session.endResponse(null)
    }),
  )
  const reply = await exchange(server.port, request(CLOSE))
  expect(reply.replace(/Date: [^\r]+\r\n/, '')).toBe(
    'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: y\r\nConnection: close\r\n\r\nok',
  )
  expect(reply).toMatch(/Date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n/)
})

test('trailers go only to who takes them (RFC 9110 §6.5.1)', async () => {
  await using server = await startApp(
    onSession((session) => {
      session.writeHead(ResponseHeader.build(200), -1)
      write(session, 'a')
      session.endResponse(['X-Sum', '1'])
    }),
  )
  expect(await exchange(server.port, request(`${CLOSE}TE: trailers\r\n`))).toMatch(/0\r\nX-Sum: 1\r\n\r\n$/)
  expect(await exchange(server.port, request(`${CLOSE}TE: gzip;q=1, Trailers\r\n`))).toMatch(/X-Sum/)
  expect(await exchange(server.port, request(`${CLOSE}TE: xtrailers\r\n`))).toMatch(/0\r\n\r\n$/)
  expect(await exchange(server.port, request(CLOSE))).toMatch(/0\r\n\r\n$/)
})

test('1xx responses go to 1.1 clients only, and 100 only once', async () => {
  await using server = await startApp(
    onSession((session) => {
      session.writeInformational(ResponseHeader.build(103, [['Link', '</a>']]))
      session.writeInformational(ResponseHeader.build(100))
      session.writeInformational(ResponseHeader.build(100))
      session.writeHead(ResponseHeader.build(200), 0)
      session.writeInformational(ResponseHeader.build(103))
      session.endResponse(null)
    }),
  )
  const reply = await exchange(server.port, request(CLOSE))
  expect(reply).toMatch(
    /^HTTP\/1\.1 103 Early Hints\r\nLink: <\/a>\r\n\r\nHTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200/,
  )
  expect(reply.match(/HTTP\/1\.1/g)?.length).toBe(3)
  expect(await exchange(server.port, request('', 'GET', '1.0'))).toMatch(/^HTTP\/1\.1 200/)
})

test('RFC 9110 §8.6, RFC 9112 §6.1: a head that no body follows frames none', async () => {
  const framed: [string, string][] = [
    ['Content-Length', '5'],
    ['Transfer-Encoding', 'chunked'],
    ['Connection', 'close'],
    ['Keep-Alive', 'timeout=5'],
    ['X', 'y'],
  ]
  await using server = await startApp(
    onSession((session) => {
      session.writeInformational(ResponseHeader.build(103, framed))
      session.writeHead(ResponseHeader.build(session.isUpgrade ? 101 : 204, framed), 0)
      session.endResponse(null)
      session.resumeRequestBody()
    }),
  )
  expect(await exchange(server.port, request(CLOSE))).toMatch(
    /^HTTP\/1\.1 103 Early Hints\r\nX: y\r\n\r\nHTTP\/1\.1 204 No Content\r\nX: y\r\nDate: .*\r\nConnection: close\r\n\r\n$/,
  )
  await using client = await connectRaw(server.port)
  client.send(request('Connection: upgrade\r\nUpgrade: x\r\n')).end()
  expect(await client.rest()).toBe(
    'HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\nHTTP/1.1 101 Switching Protocols\r\nX: y\r\nConnection: upgrade\r\n\r\n',
  )
})

test('a body shorter or longer than announced cuts the connection; nothing beyond its length is sent', async () => {
  await using server = await startApp(
    onSession((session) => {
      session.writeHead(ResponseHeader.build(200), 5)
      write(session, session.request.get('x-body') ?? '')
      if (!session.closed) session.endResponse(null)
    }),
  )
  const body = async (text: string) =>
    (await exchange(server.port, request(`X-Body: ${text}\r\n`) + request(`X-Body: 12345\r\n`))).split(
      '\r\n\r\n',
    )[1]
  expect(await body('1234')).toBe('1234')
  expect(await body('123456')).toBeOneOf(['', undefined])
  expect(await body('')).toBe('')
})

test('for a 1.0 client a broken body ends in a reset: an orderly end would make it whole', async () => {
  await using server = await startApp(
    onSession((session) => {
      session.writeHead(ResponseHeader.build(200), -1)
      write(session, 'half')
      session.flush()
      setImmediate(() => session.destroy())
    }),
  )
  await using client = await connectRaw(server.port)
  client.send(request('', 'GET', '1.0'))
  await client.rest()
  expect(client.wasReset).toBe(true)
  expect(client.ended).toBe(false)
})

test('a response that ends before its head was written closes the connection', async () => {
  await using server = await startApp(onSession((session) => session.endResponse(null)))
  expect(await exchange(server.port, request() + request())).toBe('')
  expect(server.app.stats().requests).toBe(1)
})

test('a handler that throws gets 500, or its response is cut when it has begun', async () => {
  const reported: unknown[] = []
  const failure = new Error('mine')
  await using server = await startServer(
    async (session) => {
      if (session.request.get('x-sync') !== undefined) throw failure
      await turn()
      if (session.request.get('x-late') !== undefined) {
        await session.writeResponseHeader(ResponseHeader.build(200), 10)
        await session.writeResponseBody(Buffer.from('half'))
      }
      throw failure
    },
    undefined,
    (error) => reported.push(error),
  )
  expect(await exchange(server.port, request())).toMatch(/^HTTP\/1\.1 500 [\s\S]*Connection: close/)
  expect(await exchange(server.port, request('X-Late: 1\r\n'))).toMatch(/half$/)
  expect(reported).toEqual([failure, failure])
})

test('a stalled client stops the producer, through small writes and large ones', async () => {
  for (const size of [1_000, 60_000]) {
    let written = 0
    let aborted = false
    await using server = await startServer(async (session) => {
      await session.writeResponseHeader(ResponseHeader.build(200))
      const chunk = Buffer.alloc(size, 'x')
      try {
        for (;;) {
          await session.writeResponseBody(chunk)
          written += size
        }
      } catch {
        aborted = true
      }
    })
    await using client = await connectRaw(server.port)
    client.socket.pause()
    client.send(request())
    for (let before = -1; written !== before || written === 0; ) {
      before = written
      for (let i = 0; i < 20; i++) await turn()
    }
    expect(server.socket.writableLength).toBeLessThan(262_144)
    const stalled = written
    client.socket.resume()
    while (written === stalled) await turn()
    client.reset()
    await server.drained()
    while (!aborted) await turn()
  }
})

test('WRITE_PAUSE is told once the queue is full, also when the flush before it filled it', async () => {
  const results: number[] = []
  await using server = await startApp(
    onSession((session) => {
      session.writeHead(ResponseHeader.build(200), -1)
      const chunk = Buffer.alloc(1_000)
      for (let i = 0; i < 10_000; i++) {
        results.push(session.writeBody(chunk, 0, chunk.length))
        session.flush()
        if ((results.at(-1) ?? 0) >= WRITE_PAUSE) break
      }
      session.destroy()
    }),
  )
  await using client = await connectRaw(server.port)
  client.socket.pause()
  client.send(request())
  while ((results.at(-1) ?? 0) < WRITE_PAUSE) await turn()
  expect(results.length).toBeLessThan(10_000)
  client.socket.resume()
  await client.rest()
})

test('respondStream and respondFile pass everything, and destroy their source when the client leaves', async () => {
  const source = new Readable({ read: () => undefined })
  source.push('first')
  await using server = await startServer(async (session) => {
    if (session.request.get('x-file') !== undefined) return session.respondFile(import.meta.filename)
    if (session.request.get('x-none') !== undefined) return session.respondFile('/does/not/exist')
    if (session.request.get('x-whole') !== undefined)
      return session.respondStream(Readable.from(['a', 'b', 'c']))
    await session.respondStream(source)
  })
  expect(await exchange(server.port, request(`${CLOSE}X-Whole: 1\r\n`))).toMatch(
    /1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n$/,
  )
  expect(await exchange(server.port, request(`${CLOSE}X-File: 1\r\n`))).toContain(
    'passes everything'.slice(0, 6),
  )
  expect(await exchange(server.port, request(`${CLOSE}X-None: 1\r\n`))).toMatch(/^HTTP\/1\.1 500 /)
  await using client = await connectRaw(server.port)
  client.send(request())
  await client.see('first')
  client.reset()
  await server.drained()
  source.push('second')
  await new Promise((resolve) => source.once('close', resolve))
})

test('a client that resets at any point of a response leaves nothing behind', async () => {
  for (const after of ['head', 'body', 'flood']) {
    let abort = ''
    await using server = await startServer(async (session) => {
      session.signal.addEventListener('abort', () => (abort = session.abortError?.code ?? ''))
      await session.writeResponseHeader(ResponseHeader.build(200))
      if (after === 'head') session.downstream.flush()
      else {
        const chunk = Buffer.alloc(50_000)
        do await session.writeResponseBody(chunk)
        while (after === 'flood')
      }
      await new Promise((_, reject) =>
        session.signal.addEventListener('abort', () => reject(session.abortError)),
      )
    })
    await using client = await connectRaw(server.port)
    client.send(request())
    await client.see('\r\n\r\n')
    client.reset()
    await server.drained()
    expect(abort).toBe('CONNECTION_CLOSED')
  }
})
