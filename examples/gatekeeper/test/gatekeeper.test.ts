import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { RequestListener } from 'node:http'
import {
  createSecureServer,
  createServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
} from 'node:http2'
import { type AddressInfo, createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, describe, expect, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { ExampleProcess } from '../../../scripts/test-support/example-process.ts'
import { request } from '../../../scripts/test-support/http-request.ts'
import { TestUpstream, unusedAddress } from '../../../scripts/test-support/test-upstream.ts'

const folder = mkdtempSync(join(tmpdir(), 'gatekeeper-'))
afterAll(() => rmSync(folder, { recursive: true }))

const certificates = join(import.meta.dirname, '../../../packages/core/test/data')
const certFile = join(certificates, 'localhost.pem')
const tls = { cert: readFileSync(certFile), key: readFileSync(join(certificates, 'localhost-key.pem')) }

/** Answers with the target it was asked for. */
const sayTarget: RequestListener = (incoming, response) => response.end(`asked for ${incoming.url}`)

function gatekeeper(peer: string, ...argv: string[]): ExampleProcess {
  return new ExampleProcess('gatekeeper', ['--ba', '127.0.0.1:0', '--pa', peer, ...argv])
}

test('serves from the threads that its configuration names, and ends them all', async () => {
  await using upstream = await TestUpstream.start(sayTarget)
  const conf = join(folder, 'threads.yaml')
  writeFileSync(conf, 'threads: 2\n')
  await using proxy = gatekeeper(upstream.address, '-c', conf, '--cp', '/api')
  const address = await proxy.address()
  for (let count = 0; count < 4; count += 1) {
    expect(await request(address, '/api')).toMatchObject({ status: 200, body: 'asked for /api' })
    expect(await request(address, '/other')).toMatchObject({ status: 404 })
  }
  expect((await proxy.stop()).status).toBe(0)
})

describe('--cp', () => {
  test('lets requests under the path through, and answers all others with 404', async () => {
    await using upstream = await TestUpstream.start(sayTarget)
    await using proxy = gatekeeper(upstream.address, '--cp', '/api')
    const address = await proxy.address()

    for (const target of ['/api', '/api/', '/api/x?y=/z', '/api?x', '/api//x']) {
      const { status, body } = await request(address, target)
      expect({ status, body }).toEqual({ status: 200, body: `asked for ${target}` })
    }
    const admitted = upstream.requestCount
    for (const target of ['/', '/apix', '/ap', '/API', '/x/api', '//api', '/?/api', '/apix/api']) {
      const { status, body } = await request(address, target)
      expect({ target, status, body }).toEqual({ target, status: 404, body: '' })
    }
    expect(upstream.requestCount).toBe(admitted)
  })

  test('compares the path as it was sent, and passes it on as it was compared', async () => {
    await using upstream = await TestUpstream.start(sayTarget)
    await using proxy = gatekeeper(upstream.address, '--cp', '/api')
    const address = await proxy.address()

    // Some origins would read these as /api: the gatekeeper does not decode, so they are other paths.
    for (const target of ['/%61pi', '/%61pi/x', '/api%2Fx', '/x/../api', '/./api', '/api;x']) {
      expect({ target, status: (await request(address, target)).status }).toEqual({ target, status: 404 })
    }
    // A backslash, which some origins take for a slash, has no place in a target (RFC 9112 §3.2).
    expect((await request(address, '/api\\x')).status).toBe(400)
    expect(upstream.requestCount).toBe(0)
    // And these begin with /api/: what the dots mean is up to the origin, which gets them untouched.
    for (const target of ['/api/../x', '/api/%2e%2e/x', '/api/./y']) {
      expect((await request(address, target)).body).toBe(`asked for ${target}`)
    }
    // An absolute target is judged by its path (RFC 9112 §3.2.2), and sent on in origin form.
    const headers = { Host: 'a.example' }
    expect((await request(address, 'http://a.example/api/x', { headers })).body).toBe('asked for /api/x')
    expect((await request(address, 'http://a.example/x?/api', { headers })).status).toBe(404)
  })

  test('takes a slash at its end for none, and lets everything through by default', async () => {
    await using upstream = await TestUpstream.start(sayTarget)
    await using strict = gatekeeper(upstream.address, '--cp', '/api/')
    await using open = gatekeeper(upstream.address)
    expect((await request(await strict.address(), '/api')).status).toBe(200)
    expect((await request(await strict.address(), '/apix')).status).toBe(404)
    expect((await request(await open.address(), '/anything')).body).toBe('asked for /anything')
  })

  test('a refused request leaves its connection fit for the next, body or not', async () => {
    await using upstream = await TestUpstream.start(sayTarget)
    await using proxy = gatekeeper(upstream.address, '--cp', '/api')
    const [host = '', port] = (await proxy.address()).split(':')
    const socket = createConnection({ host, port: Number(port) })
    socket.write(
      `POST /no HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n${'GET /api '.padEnd(10_000, 'x')}`,
    )
    socket.write('GET /api/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    const answers = await text(socket)
    expect(answers.match(/^HTTP\/1\.1 \d+/gm)).toEqual(['HTTP/1.1 404', 'HTTP/1.1 200'])
    expect(answers).toContain('asked for /api/x')
    expect(upstream.requestCount).toBe(1)
  })
})

test('a peer that does not answer is 502', async () => {
  await using proxy = gatekeeper(await unusedAddress())
  expect((await request(await proxy.address(), '/')).status).toBe(502)
})

test('a WebSocket passes in both directions, and its close too', async () => {
  await using upstream = await TestUpstream.start(sayTarget)
  const sockets = new WebSocketServer({ server: upstream.server })
  const closes: Promise<unknown[]>[] = []
  sockets.on('connection', (socket, { url }) => {
    closes.push(once(socket, 'close'))
    socket.on('message', (data, isBinary) => socket.send(isBinary ? data : `${url} says ${data}`))
  })
  await using proxy = gatekeeper(upstream.address, '--cp', '/chat')
  const address = await proxy.address()

  const socket = new WebSocket(`ws://${address}/chat/1`)
  await once(socket, 'open')
  socket.send('hello')
  expect(String((await once(socket, 'message'))[0])).toBe('/chat/1 says hello')
  const big = Buffer.alloc(1_000_000, 7)
  socket.send(big)
  expect(big.equals((await once(socket, 'message'))[0] as Buffer)).toBe(true)
  socket.close(4_001, 'done')
  expect(await once(socket, 'close')).toEqual([4_001, Buffer.from('done')])

  const refused = new WebSocket(`ws://${address}/other`)
  expect(String((await once(refused, 'error'))[0])).toContain('404')
  // One reached the upstream, and its close did too.
  expect(closes).toHaveLength(1)
  expect((await closes[0])?.[0]).toBe(4_001)
})

test('--ba and --pa take Unix sockets', async () => {
  await using upstream = await TestUpstream.start(sayTarget, { path: join(folder, 'up.sock') })
  const ba = `unix:${join(folder, 'down.sock')}`
  await using proxy = new ExampleProcess('gatekeeper', ['--ba', ba, '--pa', upstream.address])
  expect(await proxy.address()).toBe(ba)
  expect((await request(ba, '/over/files')).body).toBe('asked for /over/files')
  expect((await proxy.stop()).status).toBe(0)
})

test('--ba takes IPv6', async () => {
  await using upstream = await TestUpstream.start(sayTarget)
  await using proxy = new ExampleProcess('gatekeeper', ['--ba', '[::1]:0', '--pa', upstream.address])
  const address = await proxy.address()
  expect(address).toMatch(/^\[::1\]:\d+$/)
  expect((await request(address.replace(/[[\]]/g, ''), '/')).status).toBe(200)
})

const trusting = join(folder, 'trusting.yaml')
writeFileSync(trusting, `ca_file: ${certFile}\n`)

describe('--tls', () => {
  test('asks for the name of --sni, or for the host of --pa, and verifies it', async () => {
    const names: (string | false)[] = []
    const SNICallback = (name: string, done: (error: null) => void) => {
      names.push(name)
      done(null)
    }
    await using upstream = await TestUpstream.start(sayTarget, { tls: { ...tls, SNICallback } })
    const port = upstream.address.split(':')[1]

    await using named = gatekeeper(upstream.address, '--tls', '--sni', 'localhost', '-c', trusting)
    expect((await request(await named.address(), '/a')).body).toBe('asked for /a')
    await using byHost = gatekeeper(`localhost:${port}`, '--tls', '-c', trusting)
    expect((await request(await byHost.address(), '/b')).body).toBe('asked for /b')
    expect(names).toEqual(['localhost', 'localhost'])
    await using byAddress = gatekeeper(upstream.address, '--tls', '-c', trusting)
    expect((await request(await byAddress.address(), '/c')).body).toBe('asked for /c')

    await using other = gatekeeper(upstream.address, '--tls', '--sni', 'other.example', '-c', trusting)
    expect((await request(await other.address(), '/d')).status).toBe(502)
    expect(upstream.requestCount).toBe(3)
  })

  test('refuses a certificate that nobody vouches for', async () => {
    await using upstream = await TestUpstream.start(sayTarget, { tls })
    await using proxy = gatekeeper(upstream.address, '--tls', '--sni', 'localhost')
    expect((await request(await proxy.address(), '/')).status).toBe(502)
    expect(upstream.requestCount).toBe(0)
    await proxy.output(/Request failed/)
  })
})

describe.each(['--h2', '--h2 --tls'])('%s', (flags) => {
  test('speaks HTTP/2 with the peer, which takes nothing else', async () => {
    const versions: string[] = []
    const answer = (incoming: Http2ServerRequest, response: Http2ServerResponse): void => {
      versions.push(`${incoming.httpVersion} ${incoming.authority}`)
      incoming.pipe(response)
    }
    const secure = flags.includes('--tls')
    const upstream = secure ? createSecureServer(tls, answer) : createServer(answer)
    upstream.listen(0, '127.0.0.1')
    await once(upstream, 'listening')
    const { port } = upstream.address() as AddressInfo
    try {
      const trust = ['-c', trusting]
      await using proxy = gatekeeper(`127.0.0.1:${port}`, ...flags.split(' '), ...(secure ? trust : []))
      const address = await proxy.address()
      const body = 'x'.repeat(100_000)
      const headers = { Host: 'a.example' }
      expect((await request(address, '/', { headers, body })).body).toBe(body)
      expect(versions).toEqual(['2.0 a.example'])
    } finally {
      upstream.close()
    }
  })
})
