import { ResponseHeader } from '@cirque/http'
import { sharedWheel } from '@cirque/timeout'
import { expect, test } from 'vitest'
import { type HttpSession, serveHttp } from '../src/index.ts'
import { startServer } from './support/http-server.ts'
import { connectRaw, exchange, turn } from './support/raw-client.ts'

const echo = async (session: HttpSession): Promise<void> => {
  session.respond(200, { body: await session.readRequestBody() })
}
const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'

test('headTimeoutMs: 408, counted from the first byte of the head, not of the last packet', async () => {
  await using server = await startServer(echo, { headTimeoutMs: 60 })
  await using client = await connectRaw(server.port)
  client.send(`${GET}GET`)
  const drip = setInterval(() => client.send(' '), 10)
  const reply = await client.rest()
  clearInterval(drip)
  expect(reply.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 408'])
  expect(reply).toMatch(/Connection: close\r\n\r\n$/)
  expect(server.app.stats().refusedHeads).toEqual({ HEAD_TIMEOUT: 1 })
})

test('idleTimeoutMs: silence before the first request and between two closes without a word', async () => {
  await using server = await startServer(echo, { idleTimeoutMs: 40 })
  expect(await exchange(server.port, '')).toBe('')
  expect((await exchange(server.port, GET)).match(/HTTP/g)?.length).toBe(1)
})

test('bodyTimeoutMs: 408 when the client stops within its body', async () => {
  await using server = await startServer(echo, { bodyTimeoutMs: 40 })
  const reply = await exchange(server.port, 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc')
  expect(reply).toMatch(/^HTTP\/1\.1 408 [\s\S]*Connection: close\r\n/)
})

test('bodyTimeoutMs does not run while the handler does not read', async () => {
  await using server = await startServer(
    async (session) => {
      await new Promise((resolve) => setTimeout(resolve, 80))
      await echo(session)
    },
    { bodyTimeoutMs: 30, headTimeoutMs: 30, idleTimeoutMs: 30 },
  )
  const reply = await exchange(server.port, 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc')
  expect(reply).toMatch(/^HTTP\/1\.1 200 [\s\S]*abc$/)
})

test('an unread body that drips is dropped for bodyTimeoutMs in all, then its connection is cut', async () => {
  await using server = await startServer((session) => session.respond(200), { bodyTimeoutMs: 60 })
  await using client = await connectRaw(server.port)
  client.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\n')
  const drip = setInterval(() => client.send('x'), 10)
  await client.rest()
  clearInterval(drip)
  expect(client.received).not.toContain('Connection')
})

test('writeTimeoutMs: a client that takes nothing is cut', async () => {
  let abort: string | undefined
  await using server = await startServer(
    async (session) => {
      session.signal.addEventListener('abort', () => (abort = session.abortError?.code))
      await session.writeResponseHeader(ResponseHeader.build(200))
      const chunk = Buffer.alloc(65_536)
      for (;;) await session.writeResponseBody(chunk)
    },
    { writeTimeoutMs: 50 },
  )
  await using client = await connectRaw(server.port)
  client.socket.pause()
  client.send(GET)
  while (server.app.stats().requests === 0) await turn()
  await server.drained()
  expect(abort).toBe('WRITE_TIMEOUT')
})

test('a slow client is not cut while it takes something, even of one long write, even the last', async () => {
  for (const more of ['', 'Connection: close\r\n']) {
    const body = Buffer.alloc(24 * 1_048_576, 'x')
    await using server = await startServer((session) => session.respond(200, { body }), {
      writeTimeoutMs: 400,
      lingerTimeoutMs: 50,
      idleTimeoutMs: 50,
    })
    await using client = await connectRaw(server.port)
    client.socket.pause()
    // A little at a time: longer than every timeout in all. The kernel tells the sender of it about each 100 ms.
    const sip = setInterval(() => {
      client.socket.resume()
      client.socket.once('data', () => client.socket.pause())
    }, 5)
    const started = performance.now()
    client.send(GET.replace('Host: a\r\n', `Host: a\r\n${more}`))
    while (performance.now() - started < 900) await new Promise((resolve) => setTimeout(resolve, 20))
    expect(server.sockets.size).toBe(1)
    clearInterval(sip)
    client.socket.resume()
    await client.until((received) => received.length > body.length, 'the whole body')
    expect(client.wasReset).toBe(false)
  }
})

test('every wait of a refused or finished connection ends', async () => {
  await using server = await startServer(echo, { lingerTimeoutMs: 30 })
  await using client = await connectRaw(server.port)
  client.send('BAD\r\n\r\n')
  await client.rest()
  await server.drained()
})

test('no timer outlives its connection', async () => {
  const before = sharedWheel.armedCount
  {
    await using server = await startServer(echo)
    await using client = await connectRaw(server.port)
    client.send(GET)
    await client.see('\r\n\r\n')
    expect(sharedWheel.armedCount).toBeGreaterThan(before)
  }
  expect(sharedWheel.armedCount).toBe(before)
})

test('a wrong option is refused by name', () => {
  const make = (options: Record<string, unknown>) => () => serveHttp(() => undefined, options)
  for (const name of [
    'headTimeoutMs',
    'idleTimeoutMs',
    'bodyTimeoutMs',
    'writeTimeoutMs',
    'lingerTimeoutMs',
    'requestsPerConnectionMax',
    'requestBodyBytesMax',
    'discardBytesMax',
    'lingerBytesMax',
    'headBytesMax',
    'fieldsMax',
    'targetBytesMax',
  ]) {
    for (const value of [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(make({ [name]: value })).toThrow(RangeError)
      expect(make({ [name]: value })).toThrow(`"${name}"`)
    }
    expect(make({ [name]: '5' })).toThrow(TypeError)
    expect(make({ [name]: undefined })).not.toThrow()
  }
  expect(make({ profile: 'loose' })).toThrow('"profile"')
  expect(make({ abortOnClose: 1 })).toThrow('"abortOnClose"')
  expect(make({ idleTimeout: 1 })).toThrow('Unknown HTTP server option "idleTimeout"')
  expect(make({ toString: () => '' })).toThrow('Unknown HTTP server option "toString"')
})

// More often than timers fire, too: each read once put off the end of the request.
test.each([10, 1])(
  'requestTimeoutMs: a body that drips every %d ms has to end in time all the same',
  async (ms) => {
    await using server = await startServer(echo, { bodyTimeoutMs: 5_000, requestTimeoutMs: 80 })
    await using client = await connectRaw(server.port)
    client.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\n')
    const drip = setInterval(() => client.send('x'), ms)
    const reply = await client.rest()
    clearInterval(drip)
    expect(reply).toMatch(/^HTTP\/1\.1 408 /)
  },
)

test('sendBytesPerSecondMin: a client that takes too little at a time is cut', async () => {
  const body = Buffer.alloc(24 * 1_048_576, 'x')
  await using server = await startServer((session) => session.respond(200, { body }), {
    writeTimeoutMs: 300,
    sendBytesPerSecondMin: 100_000_000,
  })
  await using client = await connectRaw(server.port)
  client.socket.pause()
  const sip = setInterval(() => {
    client.socket.resume()
    client.socket.once('data', () => client.socket.pause())
  }, 5)
  client.send(GET)
  while (server.app.stats().requests === 0) await turn()
  await server.drained()
  clearInterval(sip)
  expect(client.received.length).toBeLessThan(body.length)
})
