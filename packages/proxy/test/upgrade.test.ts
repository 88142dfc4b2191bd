import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { HttpPeer } from '@cirque/core'
import { describe, expect, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import type { ProxyHttp } from '../src/index.ts'
import { exchange, get, RawClient } from './support/client.ts'
import { startProxy } from './support/proxy.ts'
import { startRawUpstream, startScript, type Upstream } from './support/upstream.ts'
import { gate, until } from './support/waiting.ts'

const UPGRADE = get('/', 'Connection: Upgrade', 'Upgrade: echo')
const SWITCHED = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n'

/** An echo server of ws behind a proxy. */
async function startEcho(app: Partial<ProxyHttp> = {}) {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  await once(server, 'listening')
  const closes: [code: number, reason: string][] = []
  server.on('connection', (socket) => {
    socket.on('message', (data, binary) => socket.send(data, { binary }))
    socket.on('close', (code, reason) => closes.push([code, String(reason)]))
    socket.on('error', () => undefined)
  })
  const { port } = server.address() as AddressInfo
  const errors: (string | undefined)[] = []
  const proxy = await startProxy({
    upstreamPeer: () => new HttpPeer(`127.0.0.1:${port}`),
    logging: (_session, error) => void errors.push(error?.code),
    ...app,
  })
  return {
    proxy,
    server,
    closes,
    errors,
    open: async () => {
      const socket = new WebSocket(`ws://127.0.0.1:${proxy.port}/chat`)
      socket.on('error', () => undefined)
      await once(socket, 'open')
      return socket
    },
    async [Symbol.asyncDispose]() {
      for (const socket of server.clients) socket.terminate()
      server.close()
      await proxy[Symbol.asyncDispose]()
    },
  }
}

/** An origin that switches, then echoes bytes. */
function startTunnel(): Promise<Upstream> {
  return startRawUpstream((socket) => {
    socket.once('data', () => {
      socket.write(SWITCHED)
      socket.on('data', (data) => socket.write(data))
      socket.on('end', () => socket.end())
    })
  })
}

describe('WebSocket', () => {
  test('messages of all sizes pass both ways, and the close code too', async () => {
    await using echo = await startEcho()
    const socket = await echo.open()
    for (const size of [0, 1, 125, 126, 65_536, 3_000_000]) {
      const message = Buffer.alloc(size, 'abcdefg')
      socket.send(message)
      const [data, binary] = (await once(socket, 'message')) as [Buffer, boolean]
      expect(binary).toBe(true)
      expect(data.equals(message)).toBe(true)
    }
    socket.close(4_001, 'enough')
    const [code, reason] = (await once(socket, 'close')) as [number, Buffer]
    expect([code, String(reason)]).toEqual([4_001, 'enough'])
    await echo.proxy.idle()
    await until(() => echo.closes.length > 0, 'the close does not arrive')
    expect(echo.closes).toEqual([[4_001, 'enough']])
    expect(echo.errors).toEqual([undefined])
  })

  test('the upstream’s close code arrives', async () => {
    await using echo = await startEcho()
    const socket = await echo.open()
    for (const client of echo.server.clients) client.close(1_012, 'restart')
    const [code] = (await once(socket, 'close')) as [number]
    expect(code).toBe(1_012)
    await echo.proxy.idle()
  })

  test('body filters are not asked: a tunnel is no body', async () => {
    let calls = 0
    const count = () => void calls++
    await using echo = await startEcho({
      requestBodyFilter: count,
      upstreamResponseBodyFilter: count,
      responseBodyFilter: count,
    })
    const socket = await echo.open()
    socket.send('hello')
    expect(String((await once(socket, 'message'))[0])).toBe('hello')
    socket.terminate()
    await echo.proxy.idle()
    expect(calls).toBe(0)
  })

  test('hooks that take their time lose no byte', async () => {
    const later = () => new Promise<void>((resolve) => setTimeout(resolve, 5))
    await using echo = await startEcho({
      requestFilter: later,
      upstreamRequestFilter: later,
      upstreamResponseFilter: later,
      responseFilter: later,
    })
    const socket = await echo.open()
    socket.send('hello')
    expect(String((await once(socket, 'message'))[0])).toBe('hello')
    socket.terminate()
    await echo.proxy.idle()
  })

  test('many at once', async () => {
    await using echo = await startEcho()
    const sockets = await Promise.all(Array.from({ length: 20 }, () => echo.open()))
    const replies = sockets.map(async (socket, i) => {
      socket.send(`message ${i}`)
      return String((await once(socket, 'message'))[0])
    })
    expect(await Promise.all(replies)).toEqual(sockets.map((_, i) => `message ${i}`))
    expect(echo.proxy.proxy.stats().active).toBe(20)
    for (const socket of sockets) socket.terminate()
    await echo.proxy.idle()
  })
})

describe('an upgrade', () => {
  test('that is refused passes the answer on, body and all, and the connection ends', async () => {
    await using upstream = await startScript(
      'HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\nX-Why: 1\r\n\r\nnope',
    )
    await using proxy = await startProxy({ upstreamPeer: () => new HttpPeer(upstream.address) })
    const reply = await exchange(proxy.port, `${UPGRADE}early bytes that are no request`)
    expect(reply).toMatch(/^HTTP\/1\.1 403 .*x-why: 1.*connection: close.*\r\n\r\nnope$/is)
    expect(proxy.proxy.stats().requests).toBe(1)
  })

  test('holds the client’s early bytes back until 101', async () => {
    for (const readAhead of [false, true]) {
      const answer = gate()
      let early = ''
      let asked = false
      await using upstream = await startRawUpstream((socket) => {
        socket.on('data', (data) => {
          if (asked) early += data.toString('latin1')
          asked = true
        })
        void answer.promise.then(() => socket.write(`${SWITCHED}welcome`))
        socket.on('end', () => socket.end())
      })
      await using proxy = await startProxy({
        upstreamPeer: () => new HttpPeer(upstream.address),
        ...(readAhead ? { requestFilter: async (session) => void (await session.bufferRequestBody()) } : {}),
      } as ProxyHttp)
      await using client = new RawClient(proxy.port)
      client.write(`${UPGRADE}early`)
      await until(() => asked, 'nothing arrived')
      await new Promise((resolve) => setTimeout(resolve, 30))
      expect(early).toBe('')
      answer.open()
      await client.take('welcome')
      await until(() => early === 'early', 'the early bytes are lost')
    }
  })

  test('to HTTP again, such as h2c, is never passed on: the request is an ordinary one', async () => {
    const values = ['h2c', 'H2C', 'websocket, h2c', 'h2c, websocket', '"h2c"', 'h2c/1', 'h2', 'HTTP/2.0']
    for (const value of values) {
      let head = ''
      await using upstream = await startRawUpstream((socket) =>
        socket.once('data', (data) => {
          head = data.toString('latin1')
          socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
        }),
      )
      await using proxy = await startProxy({ upstreamPeer: () => new HttpPeer(upstream.address) })
      await using client = new RawClient(proxy.port)
      client.write(
        get('/', 'Connection: Upgrade, HTTP2-Settings', `Upgrade: ${value}`, 'HTTP2-Settings: AAMAAABk'),
      )
      expect((await client.response()).body).toBe('ok')
      expect(head).not.toMatch(/upgrade|http2-settings/i)
    }
  })

  test('with a body is an ordinary request', async () => {
    let seen = ''
    await using upstream = await startRawUpstream((socket) =>
      socket.on('data', (data) => {
        seen += data.toString('latin1')
        if (seen.endsWith('body')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
      }),
    )
    await using proxy = await startProxy({ upstreamPeer: () => new HttpPeer(upstream.address) })
    await using client = new RawClient(proxy.port)
    client.write(
      'POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\nContent-Length: 4\r\n\r\nbody',
    )
    expect((await client.response()).body).toBe('ok')
    expect(seen).not.toMatch(/upgrade/i)
  })

  test('that a filter takes back is an ordinary request', async () => {
    let head = ''
    await using upstream = await startRawUpstream((socket) =>
      socket.once('data', (data) => {
        head = data.toString('latin1')
        socket.write(SWITCHED)
      }),
    )
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer(upstream.address),
      upstreamRequestFilter: (_session, request) => void request.removeHeader('Upgrade'),
    })
    expect(await exchange(proxy.port, UPGRADE)).toMatch(/^HTTP\/1\.1 502 /)
    expect(head).not.toMatch(/upgrade/i)
  })

  test('of an HTTP/1.0 client is none', async () => {
    let head = ''
    await using upstream = await startRawUpstream((socket) =>
      socket.once('data', (data) => {
        head = data.toString('latin1')
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
      }),
    )
    await using proxy = await startProxy({ upstreamPeer: () => new HttpPeer(upstream.address) })
    await exchange(proxy.port, UPGRADE.replace('1.1', '1.0'))
    expect(head).not.toMatch(/upgrade/i)
  })
})

test('a 101 that nobody asked for is 502, and nothing after it passes', async () => {
  await using upstream = await startScript(`${SWITCHED}smuggled`)
  await using proxy = await startProxy({ upstreamPeer: () => new HttpPeer(upstream.address) })
  const reply = await exchange(proxy.port, get())
  expect(reply).toMatch(/^HTTP\/1\.1 502 /)
  expect(reply).not.toContain('smuggled')
})

describe('a tunnel', () => {
  /** A proxy, a client whose request has been switched, and what logging was told. */
  async function switched(upstream: Upstream, options = {}) {
    const errors: (string | undefined)[] = []
    const proxy = await startProxy({
      upstreamPeer: () => new HttpPeer(upstream.address, options),
      logging: (_session, error) => void errors.push(error?.code),
    })
    const client = new RawClient(proxy.port)
    client.write(UPGRADE)
    expect((await client.response()).status).toBe(101)
    return { proxy, client, errors }
  }

  test('passes a half-close on and waits for the other half', async () => {
    await using upstream = await startRawUpstream((socket) => {
      let seen = ''
      socket.once('data', () => {
        socket.write(SWITCHED)
        socket.on('data', (data) => {
          seen += data.toString('latin1')
        })
        socket.on('end', () => socket.end(`got ${seen}`))
      })
    })
    const { proxy, client, errors } = await switched(upstream)
    await using _proxy = proxy
    await using _client = client
    client.write('all of it').socket.end()
    await client.end()
    expect(client.received).toBe('got all of it')
    await proxy.idle()
    expect(errors).toEqual([undefined])
  })

  test('whose upstream has ended still takes all that the client sends', async () => {
    const size = 5_000_000
    let received = 0
    await using upstream = await startRawUpstream((socket) => {
      socket.once('data', () => {
        socket.end(SWITCHED)
        socket.pause()
        setTimeout(() => socket.resume(), 50)
        socket.on('data', (data) => {
          received += data.length
        })
      })
    })
    const { proxy, client } = await switched(upstream)
    await using _proxy = proxy
    await using _client = client
    await client.end()
    client.write(Buffer.alloc(size)).socket.end()
    await until(() => received === size, `of ${size} bytes not all arrived`)
    await proxy.idle()
  })

  test('holds back a fast sender: memory stays bounded', async () => {
    await using upstream = await startRawUpstream((socket) => {
      socket.once('data', () => {
        socket.write(SWITCHED)
        socket.pause()
      })
    })
    const { proxy, client } = await switched(upstream)
    await using _proxy = proxy
    await using _client = client
    const before = process.memoryUsage().arrayBuffers
    client.write(Buffer.alloc(40_000_000))
    await new Promise((resolve) => setTimeout(resolve, 200))
    // What the sender itself still holds is not ours.
    const ours = process.memoryUsage().arrayBuffers - before - 40_000_000
    expect(client.socket.writableLength).toBeGreaterThan(0)
    expect(ours).toBeLessThan(20_000_000)
  })

  test('ends when the upstream resets', async () => {
    await using upstream = await startTunnel()
    const { proxy, client, errors } = await switched(upstream)
    await using _proxy = proxy
    await using _client = client
    upstream.cut(true)
    await client.end()
    await proxy.idle()
    expect(errors).toHaveLength(1)
  })

  test('ends when the client resets', async () => {
    await using upstream = await startTunnel()
    const { proxy, client, errors } = await switched(upstream)
    await using _proxy = proxy
    await using _client = client
    client.write('x')
    await client.take('x')
    client.socket.resetAndDestroy()
    await proxy.idle()
    await until(() => upstream.connections.open === 0, 'the upstream stays open')
    expect(errors).toHaveLength(1)
  })

  test('that is silent for too long ends; one that is not lives', async () => {
    await using upstream = await startTunnel()
    const { proxy, client, errors } = await switched(upstream, { tunnelIdleTimeoutMs: 80 })
    await using _proxy = proxy
    await using _client = client
    for (let i = 0; i < 10; i++) {
      client.write('x')
      await client.take('x')
      await new Promise((resolve) => setTimeout(resolve, 25))
    }
    await client.end()
    await proxy.idle()
    expect(errors).toEqual(['READ_TIMEOUT'])
  })

  test('0 sets no limit to its silence', async () => {
    await using upstream = await startTunnel()
    const { proxy, client } = await switched(upstream, { tunnelIdleTimeoutMs: 0 })
    await using _proxy = proxy
    await using _client = client
    await new Promise((resolve) => setTimeout(resolve, 60))
    client.write('x')
    await client.take('x')
  })
})
