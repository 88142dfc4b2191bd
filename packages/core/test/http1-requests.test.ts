import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import type { HttpSession } from '../src/index.ts'
import { startServer } from './support/http-server.ts'
import { connectRaw, exchange, turn } from './support/raw-client.ts'

const hello = (session: HttpSession): void => session.respond(200, { body: session.request.target })
const get = (target: string, more: string = ''): string => `GET ${target} HTTP/1.1\r\nHost: a\r\n${more}\r\n`

test('a head means the same wherever a packet ends', async () => {
  await using server = await startServer(hello)
  const head = get('/one', 'X-Long: abc\r\n')
  await using client = await connectRaw(server.port)
  for (let cut = 1; cut < head.length; cut++) {
    client.clear().send(head.slice(0, cut))
    await turn()
    client.send(head.slice(cut))
    await client.see('\r\n\r\n/one')
  }
  expect(server.app.stats().requests).toBe(head.length - 1)
})

test('two requests mean the same wherever a packet ends', async () => {
  await using server = await startServer(async (session) => {
    const body = await session.readRequestBody()
    session.respond(200, { body: `[${session.request.target} ${body.toString()}]` })
  })
  const bytes =
    'POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello' +
    'POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n\r\n'
  await using client = await connectRaw(server.port)
  for (let cut = 1; cut < bytes.length; cut++) {
    client.clear().send(bytes.slice(0, cut))
    await turn()
    client.send(bytes.slice(cut))
    await client.see('[/b abcde]')
    expect(client.received).toContain('[/a hello]')
  }
})

test('the last response is not lost to requests that are under way when we close', async () => {
  const body = Buffer.alloc(2_000_000, 'x')
  await using server = await startServer((session) => session.respond(200, { body }), {
    requestsPerConnectionMax: 1,
  })
  await using client = await connectRaw(server.port)
  client.send(get('/'))
  // The next ones arrive after the response was handed to the kernel, before the client has read it.
  client.socket.pause()
  while (server.app.stats().requests === 0) await turn()
  const batch = get('/next').repeat(200)
  for (let i = 0; i < 20; i++) {
    client.send(batch)
    await turn()
  }
  client.socket.resume()
  const reply = await client.rest()
  expect(reply.length).toBeGreaterThan(body.length)
  expect(client.wasReset).toBe(false)
  expect(server.app.stats().requests).toBe(1)
})

test('RFC 9112 §9.3: 1.1 keeps the connection unless told otherwise, 1.0 only when asked', async () => {
  await using server = await startServer(hello)
  expect(await exchange(server.port, get('/', 'Connection: close\r\n'))).toMatch(/Connection: close\r\n/)
  expect(await exchange(server.port, get('/', 'Connection: foo, CLOSE\r\n'))).toMatch(/Connection: close\r\n/)
  expect(await exchange(server.port, 'GET / HTTP/1.0\r\n\r\n')).toMatch(/Connection: close\r\n/)
  await using client = await connectRaw(server.port)
  client.send('GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n')
  expect(await client.see('/a')).toMatch(/Connection: keep-alive\r\n/)
  client.clear().send(get('/b'))
  expect(await client.see('/b')).not.toContain('Connection')
})

test('pipelined requests are answered in order, the slow first one too', async () => {
  let release = (): void => undefined
  await using server = await startServer(async (session) => {
    if (session.request.target === '/slow') await new Promise<void>((resolve) => (release = resolve))
    session.respond(200, { body: `<${session.request.target}>` })
  })
  await using client = await connectRaw(server.port)
  client.send(get('/slow') + get('/b') + get('/c'))
  while (server.app.stats().requests === 0) await turn()
  await turn()
  expect(server.app.stats().requests).toBe(1)
  expect(client.received).toBe('')
  release()
  await client.see('</c>')
  expect(client.received.match(/<\/\w+>/g)).toEqual(['</slow>', '</b>', '</c>'])
})

test('thousands of requests in one packet recurse into nothing, answered at once or later', async () => {
  for (const later of [false, true]) {
    await using server = await startServer((session) => {
      if (!later) session.respond(204)
      else queueMicrotask(() => session.respond(204))
    })
    await using client = await connectRaw(server.port)
    client.send(get('/').repeat(5_000))
    await client.see('HTTP/1.1 204', 5_000)
    expect(server.app.stats().requests).toBe(5_000)
  }
})

test('a client that sends requests and takes no responses is not served without end', async () => {
  const body = Buffer.alloc(4_096, 'x')
  await using server = await startServer((session) => session.respond(200, { body }))
  await using client = await connectRaw(server.port)
  client.socket.pause()
  const batch = get('/').repeat(500)
  let queuedMax = 0
  // The client sends until nobody takes any more.
  for (let stalled = 0; stalled < 50; ) {
    const before = server.app.stats().requests
    if (!client.socket.writableNeedDrain) client.send(batch)
    await turn()
    for (const socket of server.sockets) queuedMax = Math.max(queuedMax, socket.writableLength)
    stalled = before === server.app.stats().requests ? stalled + 1 : 0
  }
  expect(queuedMax).toBeLessThan(1_048_576)
  // And goes on once it reads.
  const served = server.app.stats().requests
  client.socket.resume()
  while (server.app.stats().requests === served) await turn()
})

test('requestsPerConnectionMax: the last response says so and the connection closes', async () => {
  await using server = await startServer(hello, { requestsPerConnectionMax: 3 })
  await using client = await connectRaw(server.port)
  client.send(get('/1'))
  expect(await client.see('/1')).not.toContain('Connection')
  client.clear().send(get('/2'))
  expect(await client.see('/2')).not.toContain('Connection')
  client.clear().send(get('/3') + get('/4'))
  expect(await client.rest()).toContain('Connection: close\r\n\r\n/3')
  expect(server.app.stats().requests).toBe(3)
})

interface CorpusEntry {
  readonly name: string
  readonly raw: string
  readonly strict: 'accept' | { readonly status: number; readonly code: string }
}
const corpus = JSON.parse(
  readFileSync(new URL('../../http/data/requests.json', import.meta.url), 'utf8'),
) as CorpusEntry[]

test('each refused head of the corpus gets its status, and nothing after it is interpreted', async () => {
  await using server = await startServer((session) => session.respond(200, { body: session.request.target }))
  const refused = corpus.filter((entry) => entry.strict !== 'accept')
  expect(refused.length).toBeGreaterThan(100)
  for (const { name, raw, strict } of refused) {
    if (strict === 'accept') continue
    const before = server.app.stats()
    const reply = await exchange(server.port, `${get('/before')}${raw}${get('/smuggled')}`)
    const lines = reply.match(/HTTP\/1\.1 \d{3}/g)
    expect({ name, lines }).toEqual({ name, lines: ['HTTP/1.1 200', `HTTP/1.1 ${strict.status}`] })
    expect(reply, name).toMatch(/Connection: close\r\n\r\n$/)
    const after = server.app.stats()
    expect(after.requests, name).toBe(before.requests + 1)
    expect(after.refusedHeads[strict.code], name).toBe((before.refusedHeads[strict.code] ?? 0) + 1)
  }
})

test('head limits hold at n, and n + 1 is refused', async () => {
  const fields = (count: number) => Array.from({ length: count }, (_, i) => `X-${i}: 1\r\n`).join('')
  await using server = await startServer((session) => session.respond(204), {
    fieldsMax: 4,
    targetBytesMax: 10,
    headBytesMax: 200,
  })
  const close = 'Connection: close\r\n'
  const status = async (text: string) => (await exchange(server.port, text)).slice(9, 12)
  expect(await status(get('/', close + fields(2)))).toBe('204')
  expect(await status(get('/', close + fields(3)))).toBe('431')
  expect(await status(get(`/${'a'.repeat(9)}`, close))).toBe('204')
  expect(await status(get(`/${'a'.repeat(10)}`, close))).toBe('414')
  const padded = (size: number) =>
    get('/', `${close}X: ${'y'.repeat(size - get('/', `${close}X: \r\n`).length)}\r\n`)
  expect(await status(padded(200))).toBe('204')
  expect(await status(padded(201))).toBe('431')
})

test('a client that closes or resets within its head leaves nothing behind', async () => {
  await using server = await startServer(hello)
  const head = get('/')
  for (let cut = 0; cut < head.length; cut += 5) {
    for (const way of ['end', 'reset'] as const) {
      await using client = await connectRaw(server.port)
      if (cut > 0) client.send(head.slice(0, cut))
      await turn()
      client[way]()
      await client.rest()
      await server.drained()
      expect(client.received).toBe('')
    }
  }
  expect(server.app.stats()).toMatchObject({ connections: 0, requests: 0, refusedHeads: {} })
})

test('draining closes what is idle at once; what runs ends with Connection: close', async () => {
  let release = (): void => undefined
  await using server = await startServer(async (session) => {
    if (session.request.target === '/slow') await new Promise<void>((resolve) => (release = resolve))
    session.respond(200, { body: 'done' })
  })
  await using idle = await connectRaw(server.port)
  await using busy = await connectRaw(server.port)
  idle.send(get('/a'))
  await idle.see('done')
  busy.send(get('/slow'))
  while (server.app.stats().requests < 2) await turn()
  server.app.startDraining()
  await idle.rest()
  expect(busy.ended).toBe(false)
  release()
  expect(await busy.rest()).toMatch(/Connection: close\r\n[\s\S]*done$/)
})

describe.each([{ h2c: false }, { h2c: true }])('firstRequestTimeoutMs, with %o', (options) => {
  const serve = (session: HttpSession): void => session.respond(200, { body: session.request.target })

  test('what a connection asks that came just before or after draining began is answered', async () => {
    await using server = await startServer(serve, { ...options, firstRequestTimeoutMs: 60_000 })
    await using before = await connectRaw(server.port)
    while (server.sockets.size < 1) await turn()
    server.app.startDraining()
    await using after = await connectRaw(server.port)
    while (server.sockets.size < 2) await turn()
    expect(server.app.stats().connections).toBe(2)
    for (const client of [before, after]) {
      client.send(get('/a'))
      expect(await client.rest()).toMatch(/^HTTP\/1\.1 200 [\s\S]*Connection: close\r\n[\s\S]*\/a$/)
    }
  })

  test.each([0, 40])('one that stays silent is closed after %d ms', async (firstRequestTimeoutMs) => {
    await using server = await startServer(serve, { ...options, firstRequestTimeoutMs })
    await using client = await connectRaw(server.port)
    while (server.sockets.size < 1) await turn()
    const begun = performance.now()
    server.app.startDraining()
    expect(await client.rest()).toBe('')
    expect(performance.now() - begun).toBeLessThan(10_000)
  })
})

test('a pipelined request that waits while draining begins is the last one', async () => {
  await using server = await startServer(async (session) => {
    await turn()
    session.respond(200, { body: session.request.target })
    if (session.request.target === '/a') server.app.startDraining()
  })
  await using client = await connectRaw(server.port)
  client.send(get('/a') + get('/b') + get('/c'))
  const reply = await client.rest()
  expect(reply).toContain('/a')
  expect(reply).toMatch(/Connection: close\r\n[\s\S]*\/b$/)
  expect(server.app.stats().requests).toBe(2)
})
