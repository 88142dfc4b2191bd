import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { setImmediate as turn } from 'node:timers/promises'
import { brotliCompressSync, createGzip, gunzipSync, gzipSync, zstdCompressSync } from 'node:zlib'
import {
  GrpcWeb,
  grpcWeb,
  type HttpModule,
  type HttpModuleBuilder,
  HttpPeer,
  ResponseCompression,
  type ResponseCompressionOptions,
  responseCompression,
} from '@cirque/core'
import { ProxyError } from '@cirque/error'
import type { ResponseHeader } from '@cirque/http'
import { describe, expect, test } from 'vitest'
import type { ProxyHttp } from '../src/index.ts'
import { ask, exchange, get, RawClient } from './support/client.ts'
import { AnyClient } from './support/http2.ts'
import { startProxy } from './support/proxy.ts'
import { startScript, startUpstream, type Upstream } from './support/upstream.ts'
import { gate, until } from './support/waiting.ts'

const TEXT = 'The quick brown fox jumps over the lazy dog. '.repeat(50)
const OFF = { gzipLevel: 0, brLevel: 0, zstdLevel: 0 } as const

/** A module made of the given methods. */
function module(methods: HttpModule): HttpModuleBuilder {
  class Made implements HttpModule {
    close(): void {}
  }
  return { module: Made, init: () => Object.assign(new Made(), methods) }
}

/** A proxy's app whose upstream's responses pass `builders`. */
function app(
  upstream: Upstream,
  builders: readonly HttpModuleBuilder[],
  more: Partial<ProxyHttp> = {},
): ProxyHttp {
  return {
    upstreamPeer: () => new HttpPeer(upstream.address),
    initUpstreamModules(modules) {
      for (const builder of builders) modules.add(builder)
    },
    ...more,
  }
}

/** An origin that answers with `body` in one of the codings that it is asked for by path. */
const ENCODE = { gzip: gzipSync, br: brotliCompressSync, zstd: zstdCompressSync } as const
function coded(text: string) {
  return (request: IncomingMessage, response: ServerResponse) => {
    const coding = (request.url ?? '').slice(1) as keyof typeof ENCODE
    const body = ENCODE[coding](text)
    response.setHeader('Content-Type', 'text/plain')
    response.setHeader('Content-Encoding', coding)
    response.setHeader('Content-Length', body.length)
    response.setHeader('ETag', '"1"')
    response.end(body)
  }
}

const unfold = (options: ResponseCompressionOptions = {}) =>
  responseCompression({ ...OFF, decompress: 'always', ...options })

test('modules for upstreams come before every hook, and those for clients after them', async () => {
  const calls: string[] = []
  const noting = (name: string): HttpModuleBuilder =>
    module({
      responseHeaderFilter: (response, length) => {
        calls.push(`${name} head ${length} ${response.has('connection')}`)
      },
      responseBodyFilter: (chunk) => void calls.push(`${name} body ${chunk ?? 'end'}`),
      responseTrailerFilter: (trailers) => void calls.push(`${name} trailers ${trailers}`),
      responseDoneFilter: () => void calls.push(`${name} done`),
      close: () => void calls.push(`${name} close`),
    })
  await using upstream = await startScript(
    'HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nConnection: x-hop\r\nX-Hop: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX-T: 1\r\n\r\n',
  )
  await using proxy = await startProxy({
    ...app(upstream, [noting('near')]),
    initDownstreamModules: (modules) => void modules.add(noting('far')),
    adjustUpstreamModules: (session, response) => {
      calls.push(`adjust ${response.status} ${session.upstreamModules?.modules.length}`)
    },
    upstreamResponseFilter: (_session, response) => void calls.push(`hook ${response.status}`),
    responseBodyFilter: (_session, chunk) => void calls.push(`hook ${chunk ?? 'end'}`),
  })
  const reply = await exchange(proxy.port, get('/', 'TE: trailers', 'Connection: close, TE'))
  expect(reply).toMatch(/ 103 .* 200 .*\r\n2\r\nab\r\n0\r\nX-T: 1\r\n\r\n$/s)
  await proxy.idle()
  expect(calls.filter((call) => !call.startsWith('far')).slice(0, 8)).toEqual([
    'hook 103',
    'adjust 200 1',
    'near head -1 false',
    'hook 200',
    'near body ab',
    'hook ab',
    'near body end',
    'near trailers X-T,1',
  ])
  for (const name of ['near', 'far']) expect(calls.filter((call) => call === `${name} close`)).toHaveLength(1)
  expect(calls.indexOf('far head -1 false')).toBeGreaterThan(calls.indexOf('hook 200'))
  expect(calls.indexOf('far body ab')).toBeGreaterThan(calls.indexOf('hook ab'))
  expect(calls.indexOf('near done')).toBeLessThan(calls.indexOf('near close'))
})

describe('decompression for hooks', () => {
  test.each(['gzip', 'br', 'zstd'] as const)(
    '%s: body filters see and change the text, and the client gets it compressed again',
    async (coding) => {
      await using upstream = await startUpstream(coded(TEXT))
      const near = unfold()
      const seen: string[] = []
      await using proxy = await startProxy(
        app(upstream, [near], {
          initDownstreamModules: (modules) => void modules.add(responseCompression()),
          responseBodyFilter(_session, chunk) {
            seen.push(String(chunk ?? ''))
            return chunk === null ? undefined : Buffer.from(String(chunk).replaceAll('fox', 'cat'))
          },
        }),
      )
      const answer = await ask(proxy.port, get(`/${coding}`, 'Accept-Encoding: gzip'))
      expect(seen.join('')).toBe(TEXT)
      expect(answer.headers).toMatchObject({
        'content-encoding': 'gzip',
        etag: 'W/"1"',
        vary: 'Accept-Encoding',
      })
      const text = gunzipSync(Buffer.from(answer.body, 'latin1')).toString()
      expect(text).toBe(TEXT.replaceAll('fox', 'cat'))
      const plain = await ask(proxy.port, get(`/${coding}`, 'Accept-Encoding: identity'))
      expect([plain.headers['content-encoding'], plain.body]).toEqual([undefined, text])
      expect(near.stats()).toMatchObject({ decompressed: 2, active: 0, failed: 0 })
    },
  )

  test('true leaves what the client takes, and false leaves all', async () => {
    await using upstream = await startUpstream(coded(TEXT))
    let decompress: boolean | 'always' = true
    await using proxy = await startProxy(
      app(upstream, [unfold()], {
        adjustUpstreamModules: (session) =>
          session.upstreamModules?.get(ResponseCompression)?.adjustDecompression(decompress),
      }),
    )
    const codingFor = async (accept: string) =>
      (await ask(proxy.port, get('/gzip', `Accept-Encoding: ${accept}`))).headers['content-encoding']
    expect([await codingFor('gzip'), await codingFor('identity')]).toEqual(['gzip', undefined])
    decompress = false
    expect([await codingFor('gzip'), await codingFor('identity')]).toEqual(['gzip', 'gzip'])
    decompress = 'always'
    expect([await codingFor('gzip'), await codingFor('identity')]).toEqual([undefined, undefined])
  })

  test('HEAD, 204 and 304 keep their head and have no body', async () => {
    await using upstream = await startUpstream((request, response) => {
      if (request.method === 'HEAD') coded(TEXT)(request, response)
      else {
        response.writeHead(Number(request.url?.slice(1)), { ETag: '"1"' })
        response.end()
      }
    })
    await using proxy = await startProxy(app(upstream, [unfold()]))
    await using client = new AnyClient(1, proxy.port)
    const head = await client.ask({ method: 'HEAD', path: '/gzip' })
    expect([head.status, head.headers['content-encoding'], head.body.length]).toEqual([200, undefined, 0])
    for (const status of [204, 304]) {
      const answer = await client.ask({ path: `/${status}` })
      expect([answer.status, answer.body.length]).toEqual([status, 0])
    }
    await proxy.idle()
  })

  test('a bomb is cut, and the upstream is to blame', async () => {
    await using upstream = await startUpstream(coded('x'.repeat(20_000_000)))
    const near = unfold()
    const errors: (ProxyError | undefined)[] = []
    await using proxy = await startProxy(
      app(upstream, [near], { logging: (_session, error) => void errors.push(error) }),
    )
    await exchange(proxy.port, get('/gzip'))
    await proxy.idle()
    expect([errors[0]?.code, errors[0]?.source]).toEqual(['RESPONSE_TOO_LARGE', 'upstream'])
    expect(near.stats()).toMatchObject({ active: 0, failed: 1 })
  })

  test.each([
    ['sync filters', undefined],
    ['a filter that is waited for', turn],
  ] as const)(
    'a client that does not read stops what unfolds; then all of it comes (%s)',
    async (_how, wait) => {
      const size = 30_000_000
      await using upstream = await startUpstream(coded('y'.repeat(size)))
      const near = unfold({ outputRatioMax: 1_000_000 })
      let filtered = 0
      await using proxy = await startProxy(
        app(upstream, [near], {
          responseBodyFilter(_session, chunk) {
            filtered += chunk?.length ?? 0
            return wait?.().then(() => undefined)
          },
        }),
      )
      await using client = new RawClient(proxy.port)
      client.socket.pause()
      client.write(get('/gzip', 'Connection: close'))
      await until(() => filtered > 100_000, 'nothing comes')
      let before = 0
      while (before !== filtered) {
        before = filtered
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
      // The sockets' buffers are full, and the codec has stopped.
      expect(filtered).toBeLessThan(size)
      let received = 0
      client.socket.removeAllListeners('data')
      client.socket.on('data', (data: Buffer) => {
        received += data.length
      })
      client.socket.resume()
      await once(client.socket, 'end')
      expect(filtered).toBe(size)
      expect(received).toBeGreaterThan(size)
      expect(near.stats()).toMatchObject({ active: 0, failed: 0 })
    },
  )

  test('each event of a coded stream is passed on at once', async () => {
    const opened = gate<ServerResponse>()
    await using upstream = await startUpstream((_request, response) => {
      response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Content-Encoding': 'gzip' })
      response.flushHeaders()
      opened.open(response)
    })
    const near = unfold()
    await using proxy = await startProxy(app(upstream, [near]))
    await using client = new RawClient(proxy.port)
    client.write(get())
    await client.take('\r\n\r\n')
    const response = await opened.promise
    const gzip = createGzip()
    gzip.pipe(response)
    for (const event of ['data: 1\n\n', 'data: 2\n\n']) {
      gzip.write(event)
      gzip.flush()
      await client.take(event)
    }
    client.socket.resetAndDestroy()
    await proxy.idle()
    expect(near.stats().active).toBe(0)
    gzip.destroy()
  })

  test('what the upstream cuts is cut for the client', async () => {
    await using upstream = await startUpstream((_request, response) => {
      response.writeHead(200, { 'Content-Encoding': 'gzip' })
      response.write(gzipSync(TEXT).subarray(0, 40), () => upstream.cut())
    })
    const near = unfold()
    await using proxy = await startProxy(app(upstream, [near]))
    expect(await exchange(proxy.port, get())).not.toMatch(/\r\n0\r\n\r\n$/)
    await proxy.idle()
    expect(near.stats().active).toBe(0)
    expect(proxy.errors()).toHaveLength(1)
  })

  test.each([1, 2] as const)(
    'over HTTP/2 to clients and HTTP/%i upstream connections that go on',
    async (version) => {
      await using upstream = await startUpstream(coded(TEXT))
      await using proxy = await startProxy(app(upstream, [unfold()]), { server: { h2c: true } })
      await using client = new AnyClient(version, proxy.port)
      const answers = await Promise.all(Array.from({ length: 20 }, () => client.ask({ path: '/gzip' })))
      for (const { body } of answers) expect(body.toString()).toBe(TEXT)
      await proxy.idle()
      const { open, idle } = proxy.proxy.connector.stats()
      expect(open).toBe(idle)
    },
  )
})

describe('a module for upstreams', () => {
  const HELLO = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello'

  test('is made anew for each attempt, and closed with it', async () => {
    let made = 0
    let closed = 0
    class Counted implements HttpModule {
      readonly number = ++made
      responseHeaderFilter(response: ResponseHeader): void {
        response.appendHeader('X-Number', String(this.number))
      }
      close(): void {
        closed++
      }
    }
    const builder = { module: Counted, init: () => new Counted() }
    let count = 0
    await using upstream = await startUpstream((_request, response) => {
      response.statusCode = ++count < 3 ? 503 : 200
      response.end('ok')
    })
    const numbers: (number | undefined)[] = []
    await using proxy = await startProxy(
      app(upstream, [builder], {
        logging: (session) => void numbers.push(session.upstreamModules?.get(Counted)?.number),
      }),
      { retryStatuses: [503], retryBackoffMs: 1 },
    )
    expect((await ask(proxy.port, get())).headers['x-number']).toBe('3')
    await proxy.idle()
    expect([made, closed, numbers]).toEqual([3, 3, [3]])
  })

  test('sees no response of the proxy’s own, and no tunnel', async () => {
    let made = 0
    const builder: HttpModuleBuilder = {
      module: GrpcWebless,
      init: () => {
        made++
        return new GrpcWebless()
      },
    }
    const switching = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhi'
    await using upstream = await startScript(switching)
    await using proxy = await startProxy(
      app(upstream, [builder], {
        requestFilter(session) {
          if (session.request.path !== '/own') return false
          session.respond(200, { body: 'own' })
          return true
        },
      }),
    )
    expect((await ask(proxy.port, get('/own'))).body).toBe('own')
    await using client = new RawClient(proxy.port)
    client.write(get('/', 'Connection: Upgrade', 'Upgrade: echo'))
    await client.take('hi')
    expect(made).toBe(0)
  })

  const boom = () => {
    throw new Error('boom')
  }
  const later = async () => {
    await turn()
    throw new Error('boom')
  }
  test.each<[what: string, methods: HttpModule, status: number]>([
    ['responseHeaderFilter throws', { responseHeaderFilter: boom }, 500],
    ['responseHeaderFilter rejects', { responseHeaderFilter: later }, 500],
    ['responseBodyFilter throws', { responseBodyFilter: boom }, 200],
    ['responseBodyFilter rejects', { responseBodyFilter: later }, 200],
    ['responseDoneFilter rejects', { responseDoneFilter: later }, 200],
  ])('whose %s: the request ends, the next one is served', async (_what, methods, status) => {
    await using upstream = await startScript(HELLO)
    let broken = true
    const errors: (string | undefined)[] = []
    const good = module({})
    const bad = module(methods)
    await using proxy = await startProxy(
      app(upstream, [{ ...bad, init: () => (broken ? bad.init() : good.init()) }], {
        logging: (_session, error) => void errors.push(error?.code),
      }),
    )
    const reply = await exchange(proxy.port, get())
    expect(reply).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `))
    if (status === 200) expect(reply).not.toMatch(/\r\n0\r\n\r\n$/)
    broken = false
    expect((await ask(proxy.port, get())).body).toBe('hello')
    await proxy.idle()
    expect(errors).toEqual(['FILTER_FAILED', undefined])
  })

  test('that cannot be made, and an adjustment that throws: 500, and what was made is closed', async () => {
    await using upstream = await startScript(HELLO)
    let closed = 0
    const first = { ...module({ close: () => void closed++ }), order: 1 }
    for (const more of [
      app(upstream, [first, { module: GrpcWebless, init: boom }]),
      app(upstream, [first], { adjustUpstreamModules: boom }),
    ]) {
      await using proxy = await startProxy(more)
      expect((await ask(proxy.port, get())).status).toBe(500)
      await proxy.idle()
    }
    expect(closed).toBe(2)
  })

  test('may ask for another attempt while it has the head', async () => {
    let count = 0
    await using upstream = await startUpstream((_request, response) => response.end(`${++count}`))
    const picky = module({
      responseHeaderFilter() {
        if (count > 1) return
        throw new ProxyError('HTTP_STATUS', 'upstream', 'Not this one', { status: 502, retry: 'allowed' })
      },
    })
    await using proxy = await startProxy(app(upstream, [picky]), { retryBackoffMs: 1 })
    expect((await ask(proxy.port, get())).body).toBe('2')
  })

  test('waits with its head: what comes meanwhile waits too, and nothing is lost', async () => {
    const answer = gate()
    await using upstream = await startScript(HELLO)
    await using proxy = await startProxy(
      app(upstream, [module({ responseHeaderFilter: () => answer.promise as Promise<void> })]),
    )
    await using client = new RawClient(proxy.port)
    client.write(get())
    await until(() => upstream.connections.accepted === 1, 'no connection')
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(client.received).toBe('')
    answer.open()
    const reply = await client.response()
    expect([reply.body, reply.headers['content-length']]).toEqual(['hello', '5'])
  })

  test('that wants requests as well is refused', async () => {
    await using upstream = await startScript(HELLO)
    await expect(startProxy(app(upstream, [grpcWeb()]))).rejects.toThrow(
      /module "GrpcWeb" has a requestHeaderFilter.*responses only/,
    )
    expect(GrpcWeb.name).toBe('GrpcWeb')
    // Those of its class are known at once; those that it makes for itself when it is made.
    const late = module({ requestHeaderFilter: () => undefined } as Partial<HttpModule>)
    await using proxy = await startProxy(app(upstream, [late]))
    expect((await ask(proxy.port, get())).status).toBe(500)
    expect(String(proxy.log.map(({ fields }) => String((fields['error'] as Error)?.cause)))).toMatch(
      /has a requestHeaderFilter, but modules for upstreams see responses only/,
    )
  })
})

class GrpcWebless implements HttpModule {
  close(): void {}
}
