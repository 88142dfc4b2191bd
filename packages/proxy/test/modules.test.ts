import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { setImmediate as turn } from 'node:timers/promises'
import { createGunzip, gunzipSync, gzipSync } from 'node:zlib'
import {
  type HttpModule,
  type HttpModuleBuilder,
  type HttpModuleContext,
  HttpPeer,
  ResponseCompression,
  type ResponseCompressionOptions,
  responseCompression,
} from '@cirque/core'
import type { ProxyError } from '@cirque/error'
import { describe, expect, test } from 'vitest'
import type { ProxyHttp, Session } from '../src/index.ts'
import { ask, exchange, get, RawClient } from './support/client.ts'
import { startProxy } from './support/proxy.ts'
import { startScript, startUpstream } from './support/upstream.ts'
import { gate, until } from './support/waiting.ts'

const HELLO = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello'
const POST = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody'
const TEXT = 'The quick brown fox jumps over the lazy dog. '.repeat(50)

/** A module made of the given methods. */
function module(methods: HttpModule): HttpModuleBuilder {
  class Made implements HttpModule {
    close(): void {}
  }
  return { module: Made, init: () => Object.assign(new Made(), methods) }
}

function modules(...builders: readonly HttpModuleBuilder[]): Pick<ProxyHttp, 'initDownstreamModules'> {
  return {
    initDownstreamModules(all) {
      for (const builder of builders) all.add(builder)
    },
  }
}

test('initDownstreamModules is called once, and a service without modules has none', async () => {
  await using upstream = await startScript(HELLO)
  let calls = 0
  const seen: unknown[] = []
  const app: ProxyHttp = {
    upstreamPeer: () => new HttpPeer(upstream.address),
    initDownstreamModules: () => void calls++,
    requestFilter: (session) => void seen.push(session.modules),
  }
  await using proxy = await startProxy(app)
  await ask(proxy.port, get())
  await ask(proxy.port, get())
  expect([calls, seen, proxy.proxy.modules]).toEqual([1, [undefined, undefined], null])
})

test.each([
  [
    'throws',
    () => {
      throw new Error('the fault')
    },
  ],
  ['gives a promise', () => Promise.resolve()],
])('initDownstreamModules that %s: there is no such proxy', async (_how, initDownstreamModules) => {
  await expect(
    startProxy({ upstreamPeer: () => new HttpPeer('127.0.0.1:1'), initDownstreamModules }),
  ).rejects.toThrow(/the fault|at once/)
})

test.each([
  ['at once', false],
  ['later', true],
])('modules that answer %s run where the phases say', async (_pace, slow) => {
  await using upstream = await startScript(
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n',
  )
  const calls: string[] = []
  const say = (name: string) => () => {
    calls.push(name)
    return slow ? turn(undefined) : undefined
  }
  const part: Record<string, () => unknown> = {}
  for (const name of [
    'requestHeaderFilter',
    'requestBodyFilter',
    'responseHeaderFilter',
    'responseBodyFilter',
    'responseTrailerFilter',
    'responseDoneFilter',
  ]) {
    part[name] = say(`module ${name}`)
  }
  part['close'] = () => void calls.push('module close')
  const app: Record<string, unknown> = modules(module(part as HttpModule))
  for (const name of [
    'earlyRequestFilter',
    'requestFilter',
    'requestBodyFilter',
    'responseFilter',
    'responseBodyFilter',
    'responseTrailerFilter',
    'logging',
  ]) {
    app[name] = say(name)
  }
  app['upstreamPeer'] = () => new HttpPeer(upstream.address)
  await using proxy = await startProxy(app as unknown as ProxyHttp)
  const response = await ask(proxy.port, POST.replace('Host: a', 'Host: a\r\nTE: trailers'))
  expect([response.body, response.trailers]).toEqual(['hello', 'X-Sum: 1\r\n'])
  await proxy.idle()
  const requests = calls.filter((name) => /request/i.test(name))
  expect([...new Set(requests)]).toEqual([
    'earlyRequestFilter',
    'module requestHeaderFilter',
    'requestFilter',
    'module requestBodyFilter',
    'requestBodyFilter',
  ])
  const order = (...names: string[]) => names.map((name) => calls.indexOf(name))
  for (const [before, after] of [
    ['responseFilter', 'module responseHeaderFilter'],
    ['responseBodyFilter', 'module responseBodyFilter'],
    ['responseTrailerFilter', 'module responseTrailerFilter'],
    ['module responseTrailerFilter', 'module responseDoneFilter'],
    ['module responseDoneFilter', 'module close'],
    ['module close', 'logging'],
  ] as const) {
    const [first, second] = order(before, after) as [number, number]
    expect([before, first >= 0, after, first < second]).toEqual([before, true, after, true])
  }
  expect(calls.filter((name) => name === 'logging' || name === 'module close')).toHaveLength(2)
})

test('a request is filtered once, however often it is sent', async () => {
  const bodies: string[] = []
  await using upstream = await startUpstream((request, response) => {
    let body = ''
    request.on('data', (data) => {
      body += String(data)
    })
    request.on('end', () => {
      bodies.push(`${request.headers['content-length']} ${body}`)
      response.statusCode = bodies.length < 3 ? 503 : 200
      response.end('done')
    })
  })
  let filtered = 0
  await using proxy = await startProxy(
    {
      upstreamPeer: () => new HttpPeer(upstream.address),
      ...modules(
        module({
          requestBodyFilter(chunk) {
            filtered++
            return chunk === null ? Buffer.from('!') : Buffer.from(String(chunk).toUpperCase())
          },
        }),
      ),
    },
    { retryStatuses: [503] },
  )
  const response = await ask(proxy.port, POST.replace('POST', 'PUT'))
  expect(response.body).toBe('done')
  expect(bodies).toEqual(['undefined BODY!', 'undefined BODY!', 'undefined BODY!'])
  expect(filtered).toBe(2)
})

describe('a module that fails', () => {
  test.each([
    ['requestHeaderFilter', 500],
    ['requestBodyFilter', 500],
    ['responseHeaderFilter', 500],
    ['responseBodyFilter', 0],
    ['responseDoneFilter', 0],
  ] as const)('%s: failToProxy where it can still be answered, logging once', async (name, status) => {
    for (const how of ['throws', 'rejects', 'slow answer']) {
      await using upstream = await startScript(HELLO)
      const logged: (ProxyError | undefined)[] = []
      let asked = 0
      const fail = () => {
        const error = new Error('the fault')
        if (how === 'rejects') return Promise.reject(error)
        throw error
      }
      await using proxy = await startProxy({
        upstreamPeer: () => new HttpPeer(upstream.address),
        async requestFilter(session) {
          if (name === 'requestBodyFilter') await session.bufferRequestBody()
        },
        failToProxy() {
          asked++
          return how === 'slow answer' ? turn(undefined) : undefined
        },
        logging: (_session, error) => void logged.push(error),
        ...modules(module({ [name]: fail } as HttpModule)),
      })
      const reply = await exchange(proxy.port, POST)
      if (status === 500) expect(reply).toMatch(/^HTTP\/1\.1 500 .*\r\n\r\n$/s)
      else expect(reply).not.toMatch(/\r\n0\r\n/)
      await proxy.idle()
      expect(asked).toBe(status === 500 ? 1 : 0)
      expect(logged.map((error) => error?.code)).toEqual(['FILTER_FAILED'])
      expect(logged[0]?.message).toContain(name)
    }
  })

  test('on a response of requestFilter: failToProxy answers it, not what was half written', async () => {
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer('127.0.0.1:1'),
      requestFilter(session) {
        session.respond(200, { body: 'never' })
        return true
      },
      async failToProxy(session) {
        await turn()
        session.respond(418, { body: 'tea' })
      },
      ...modules(
        module({
          responseHeaderFilter() {
            throw new Error('the fault')
          },
        }),
      ),
    })
    const { status, body } = await ask(proxy.port, get())
    expect([status, body]).toEqual([418, 'tea'])
  })
})

test('a module that takes the Content-Length away gets a body of unknown length', async () => {
  await using upstream = await startScript(HELLO)
  const app = (take: boolean): ProxyHttp => ({
    upstreamPeer: () => new HttpPeer(upstream.address),
    ...modules(
      module({ responseHeaderFilter: (response) => void (take && response.removeHeader('Content-Length')) }),
    ),
  })
  for (const take of [false, true]) {
    await using proxy = await startProxy(app(take))
    const response = await ask(proxy.port, get())
    expect([response.body, response.headers['content-length']]).toEqual(['hello', take ? undefined : '5'])
  }
})

test('an upgrade passes modules by, and what flows in the tunnel too', async () => {
  await using upstream = await startUpstream(() => undefined)
  upstream.server.on('upgrade', (_request, socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n')
    socket.pipe(socket)
  })
  const calls: string[] = []
  const spy = (name: string) => () => void calls.push(name)
  await using proxy = await startProxy({
    upstreamPeer: () => new HttpPeer(upstream.address),
    ...modules(
      module({
        requestHeaderFilter: spy('head'),
        requestBodyFilter: spy('request'),
        responseHeaderFilter: spy('response head'),
        responseBodyFilter: spy('response'),
        close: spy('close'),
      }),
    ),
  })
  await using client = new RawClient(proxy.port)
  client.write(get('/', 'Upgrade: echo', 'Connection: upgrade'))
  expect((await client.response()).status).toBe(101)
  expect(await client.write('ping').take('ping')).toBe('ping')
  expect(calls).toEqual(['head', 'close'])
  client.socket.end()
  await proxy.idle()
  expect(calls).toEqual(['head', 'close'])
})

describe('compression', () => {
  const compressing = (address: string, options?: ResponseCompressionOptions) => {
    const builder = responseCompression(options)
    return { builder, app: { upstreamPeer: () => new HttpPeer(address), ...modules(builder) } as ProxyHttp }
  }

  test('of a large body, with backpressure, on a connection that goes on', async () => {
    const body = Buffer.alloc(3_000_000)
    for (let i = 0; i < body.length; i++) body[i] = (i * 7919) % 251
    await using upstream = await startUpstream((_request, response) => {
      response.setHeader('Content-Type', 'application/json')
      response.setHeader('Content-Length', body.length)
      response.end(body)
    })
    const { builder, app } = compressing(upstream.address)
    const logged: number[] = []
    app.logging = (session) => void logged.push(session.downstream.responseBodyBytes)
    await using proxy = await startProxy(app)
    await using client = new RawClient(proxy.port)
    for (let i = 0; i < 2; i++) {
      const response = await client.write(get('/', 'Accept-Encoding: gzip')).response()
      expect(response.headers['content-encoding']).toBe('gzip')
      const coded = Buffer.from(response.body, 'latin1')
      expect(gunzipSync(coded).equals(body)).toBe(true)
      await proxy.idle()
      // The log sees what was sent, to its end.
      expect(logged[i]).toBe(coded.length)
    }
    expect(builder.stats()).toMatchObject({ compressed: 2, active: 0, bytesIn: 2 * body.length })
    expect(upstream.connections.accepted).toBe(1)
  })

  test('sends the head and each event of a stream at once', async () => {
    const opened = gate<ServerResponse>()
    await using upstream = await startUpstream((_request, response) => {
      response.setHeader('Content-Type', 'text/event-stream')
      response.flushHeaders()
      opened.open(response)
    })
    const { builder, app } = compressing(upstream.address)
    await using proxy = await startProxy(app)
    await using client = new RawClient(proxy.port)
    client.write(get('/', 'Accept-Encoding: gzip'))
    await client.take('\r\n\r\n')
    const gunzip = createGunzip()
    const response = await opened.promise
    for (const i of [0, 1]) {
      response.write(`data: ${i}\n\n`)
      const size = Number.parseInt(await client.take('\r\n'), 16)
      await until(() => client.received.length >= size + 2, 'the event does not come')
      gunzip.write(Buffer.from(client.received.slice(0, size), 'latin1'))
      client.received = client.received.slice(size + 2)
      expect(String((await once(gunzip, 'data'))[0])).toBe(`data: ${i}\n\n`)
    }
    expect(builder.stats().active).toBe(1)
    client.socket.resetAndDestroy()
    await proxy.idle()
    expect(builder.stats().active).toBe(0)
  })

  test('ends with its upstream: what is cut there is cut here', async () => {
    await using upstream = await startUpstream((_request, response) => {
      response.setHeader('Content-Type', 'text/plain')
      response.write(TEXT, () => upstream.cut())
    })
    const { builder, app } = compressing(upstream.address)
    await using proxy = await startProxy(app)
    const reply = await exchange(proxy.port, get('/', 'Accept-Encoding: gzip'))
    expect(reply).not.toMatch(/\r\n0\r\n\r\n$/)
    await proxy.idle()
    expect(builder.stats().active).toBe(0)
    expect(proxy.errors()).toHaveLength(1)
  })

  test('refuses a bomb of the upstream, and blames it', async () => {
    const bomb = gzipSync(Buffer.alloc(20_000_000))
    await using upstream = await startUpstream((_request, response) => {
      response.setHeader('Content-Encoding', 'gzip')
      response.end(bomb)
    })
    const { builder, app } = compressing(upstream.address, { decompress: true })
    const errors: (ProxyError | undefined)[] = []
    app.logging = (_session, error) => void errors.push(error)
    await using proxy = await startProxy(app)
    await exchange(proxy.port, get())
    await proxy.idle()
    expect([errors[0]?.code, errors[0]?.source]).toEqual(['RESPONSE_TOO_LARGE', 'upstream'])
    expect(builder.stats()).toMatchObject({ active: 0, failed: 1 })
  })

  test('covers the responses of hooks, and is settled by earlyRequestFilter', async () => {
    const { app } = compressing('127.0.0.1:1')
    app.earlyRequestFilter = (session: Session) => {
      if (session.request.path === '/plain') session.modules?.get(ResponseCompression)?.adjustLevel(0)
    }
    app.requestFilter = (session: Session) => {
      session.respond(200, { headers: { 'Content-Type': 'text/plain' }, body: TEXT })
      return true
    }
    await using proxy = await startProxy(app)
    await using client = new RawClient(proxy.port)
    const coded = await client.write(get('/', 'Accept-Encoding: gzip')).response()
    expect(gunzipSync(Buffer.from(coded.body, 'latin1')).toString()).toBe(TEXT)
    const plain = await client.write(get('/plain', 'Accept-Encoding: gzip')).response()
    expect([plain.body, plain.headers['content-length']]).toEqual([TEXT, String(TEXT.length)])
  })

  test('sees the request as modules before it left it', async () => {
    await using upstream = await startUpstream((request, response) => {
      response.setHeader('Content-Type', 'text/plain')
      response.end(`${request.headers['accept-encoding']} ${TEXT}`)
    })
    let context: HttpModuleContext | undefined
    const { builder } = compressing('')
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer(upstream.address),
      ...modules(
        builder,
        module({
          requestHeaderFilter(request, given) {
            context = given
            request.insertHeader('Accept-Encoding', 'gzip')
          },
        }),
      ),
    })
    const response = await ask(proxy.port, get('/', 'Accept-Encoding: br'))
    expect(response.headers['content-encoding']).toBe('gzip')
    expect(gunzipSync(Buffer.from(response.body, 'latin1')).toString()).toBe(`gzip ${TEXT}`)
    expect(context?.get(ResponseCompression)).toBeInstanceOf(ResponseCompression)
  })
})
