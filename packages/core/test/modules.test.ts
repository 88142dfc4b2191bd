import { once } from 'node:events'
import { createConnection } from 'node:net'
import { ProxyError } from '@cirque/error'
import { RequestHeader, ResponseHeader } from '@cirque/http'
import { describe, expect, test } from 'vitest'
import {
  HTTP_MODULES_MAX,
  type HttpModule,
  type HttpModuleBuilder,
  type HttpModuleContext,
  HttpModules,
  type ServeHttp,
  serveHttp,
} from '../src/index.ts'
import { startApp, type TestServer } from './support/http-server.ts'

class Tagged implements HttpModule {
  readonly tag: string
  constructor(tag: string) {
    this.tag = tag
  }
  close(): void {}
}
class First extends Tagged {}
class Second extends Tagged {}
class Third extends Tagged {}

function builder<M extends Tagged>(module: new (tag: string) => M, order?: number): HttpModuleBuilder<M> {
  return { module, init: () => new module(module.name), ...(order === undefined ? {} : { order }) }
}

const request = RequestHeader.build('GET', '/')

describe('HttpModules', () => {
  test('runs a higher order first, equal ones as they were added', () => {
    const modules = new HttpModules([builder(First, -1), builder(Second), builder(Third)])
    expect(modules.createContext(request).modules.map((module) => (module as Tagged).tag)).toEqual([
      'Second',
      'Third',
      'First',
    ])
  })

  test('makes each module anew for each request, and finds it by its class', () => {
    const modules = new HttpModules().add(builder(First)).add(builder(Second))
    const one = modules.createContext(request)
    const other = modules.createContext(request)
    expect(one.get(First)).toBeInstanceOf(First)
    expect(one.get(First)).toBe(one.get(First))
    expect(one.get(First)).not.toBe(other.get(First))
    expect(one.get(Third)).toBeUndefined()
    expect(one.request).toBe(request)
  })

  test('refuses the same kind twice, and any once a request was served', () => {
    const modules = new HttpModules([builder(First)])
    expect(() => modules.add(builder(First))).toThrow(/"First" was added already/)
    modules.createContext(request)
    expect(() => modules.add(builder(Second))).toThrow(/"Second": a request has been served/)
    expect(modules.size).toBe(1)
  })

  test('refuses what is no builder', () => {
    expect(() => new HttpModules().add({} as HttpModuleBuilder)).toThrow(TypeError)
    expect(() => new HttpModules().add(builder(First, 0.5))).toThrow(/must be an integer, not 0.5/)
  })

  test('takes HTTP_MODULES_MAX modules and no more', () => {
    const modules = new HttpModules()
    for (let i = 0; i < HTTP_MODULES_MAX; i++) modules.add(builder(class extends Tagged {}))
    expect(() => modules.add(builder(First))).toThrow(/at most 64/)
  })
})

/** Starts an application with one module for each given part. Every module must be closed once. */
async function start(
  serve: ServeHttp,
  ...parts: readonly HttpModule[]
): Promise<{ server: TestServer; closed: () => number } & AsyncDisposable> {
  let made = 0
  let closed = 0
  const modules = parts.map((part): HttpModuleBuilder => {
    class Part implements HttpModule {}
    return {
      module: Part,
      init() {
        made++
        return Object.assign(new Part(), part, { close: () => void closed++ })
      },
    }
  })
  const server = await startApp(serveHttp(serve, { modules }))
  return {
    server,
    closed: () => closed,
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]()
      expect(closed).toBe(made)
    },
  }
}

/** Sends bytes, waits for the connection's end, and gives what came. */
async function exchange(port: number, bytes: string): Promise<string> {
  const socket = createConnection({ port, host: '127.0.0.1' })
  socket.on('error', () => undefined)
  let text = ''
  socket.on('data', (data) => {
    text += data.toString('latin1')
  })
  socket.write(bytes, 'latin1')
  await once(socket, 'close')
  return text
}

const GET = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
const POST = (body: string) =>
  `POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`

/** Each filter at once, and each as a promise of a later turn. */
const PACES: readonly (readonly [pace: string, later: <T>(value: T) => T | Promise<T>])[] = [
  ['at once', (value) => value],
  ['later', (value) => new Promise((resolve) => setImmediate(resolve, value))],
]

function bodyOf(answer: string): string {
  let rest = answer.slice(answer.indexOf('\r\n\r\n') + 4)
  if (!/transfer-encoding: chunked/i.test(answer)) return rest
  let body = ''
  for (;;) {
    const lineEnd = rest.indexOf('\r\n')
    const size = Number.parseInt(rest.slice(0, lineEnd), 16)
    if (!(size > 0)) return body
    body += rest.slice(lineEnd + 2, lineEnd + 2 + size)
    rest = rest.slice(lineEnd + 4 + size)
  }
}

describe.each(PACES)('modules that answer %s', (_pace, later) => {
  test('see and change everything in order, and what one adds at its end passes the next', async () => {
    const calls: string[] = []
    const wrap = (name: string): HttpModule => ({
      requestHeaderFilter(header) {
        calls.push(`${name} request`)
        header.appendHeader('X-Seen', name)
        return later(undefined)
      },
      requestBodyFilter(chunk, end) {
        calls.push(`${name} request body ${end}`)
        return later(end ? Buffer.from(`+${name}`) : Buffer.from(`${name}(${chunk})`))
      },
      responseHeaderFilter(response, contentLength) {
        calls.push(`${name} response ${contentLength}`)
        response.appendHeader('X-Made', name)
        return later(undefined)
      },
      responseBodyFilter(chunk, end) {
        calls.push(`${name} response body ${end}`)
        return later(end ? Buffer.from(`+${name}`) : Buffer.from(`${name}[${chunk}]`))
      },
      responseTrailerFilter(trailers) {
        calls.push(`${name} trailers ${trailers.join('=')}`)
        return later(name === '1' ? Buffer.from('!') : undefined)
      },
      responseDoneFilter() {
        calls.push(`${name} done`)
        return later(Buffer.from('.'))
      },
    })
    await using running = await start(
      async (session) => {
        const body = await session.readRequestBody()
        expect(session.downstream.requestContentLength).toBe(-1)
        expect(session.request.getAll('x-seen')).toEqual(['1', '2'])
        const header = ResponseHeader.build(200, { 'Content-Length': body.length })
        await session.writeResponseHeader(header, body.length)
        await session.writeResponseBody(body)
        session.endResponse(['X-Sum', '1'])
      },
      wrap('1'),
      wrap('2'),
    )
    const answer = await exchange(running.server.port, POST('x'))
    expect(answer).toMatch(/X-Made: 1\r\nX-Made: 2\r\n/)
    expect(answer).not.toMatch(/Content-Length/)
    const request = '2(1(x))2(+1)+2'
    expect(bodyOf(answer)).toBe(`2[1[${request}]]2[+1]2[!]2[.]+2.`)
    expect(calls.slice(0, 2)).toEqual(['1 request', '2 request'])
    expect(calls).toContain('1 trailers X-Sum=1')
    expect(calls).not.toContain('2 trailers X-Sum=1')
    expect(calls.filter((call) => call.startsWith('1 response '))[0]).toBe('1 response 14')
  })

  test('leave the length alone when they want nothing of the body', async () => {
    await using running = await start(
      (session) => session.respond(200, { headers: { 'X-A': 'b' }, body: 'hello' }),
      {
        filtersRequestBody: false,
        filtersResponseBody: false,
        requestBodyFilter: () => Buffer.from('wrong'),
        responseHeaderFilter: () => later(undefined),
        responseBodyFilter: () => Buffer.from('wrong'),
      },
    )
    const answer = await exchange(running.server.port, GET)
    expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\nX-A: b\r\n/)
    expect(answer).toMatch(/Content-Length: 5\r\n/)
    expect(bodyOf(answer)).toBe('hello')
  })

  test('drop pieces, and turn one into many', async () => {
    await using running = await start(
      async (session) => {
        await session.writeResponseHeader(ResponseHeader.build(200))
        for (const piece of ['a', 'b', 'c']) await session.writeResponseBody(Buffer.from(piece))
        session.endResponse()
      },
      { responseBodyFilter: (chunk) => later(String(chunk) === 'b' ? null : undefined) },
      {
        async *responseBodyFilter(chunk: Buffer | null) {
          if (chunk === null) yield Buffer.from('end')
          else for (const n of [1, 2]) yield (await later(Buffer.from(`${chunk}${n} `))) as Buffer
        },
      } as HttpModule,
    )
    expect(bodyOf(await exchange(running.server.port, GET))).toBe('a1 a2 c1 c2 end')
  })

  test('a body that is not sent is not filtered', async () => {
    const calls: string[] = []
    const spy: HttpModule = {
      responseHeaderFilter: (response) => {
        calls.push(String(response.status))
        return later(undefined)
      },
      responseBodyFilter: () => void calls.push('body'),
      responseDoneFilter: () => void calls.push('done'),
    }
    await using running = await start((session) => {
      if (session.request.method === 'HEAD') session.respond(200, { body: 'hello' })
      else session.respond(304)
    }, spy)
    const head = await exchange(running.server.port, GET.replace('GET', 'HEAD'))
    expect(head).toMatch(/^HTTP\/1\.1 200 .*\r\n\r\n$/s)
    expect(await exchange(running.server.port, GET)).toMatch(/^HTTP\/1\.1 304 .*\r\n\r\n$/s)
    expect(calls).toEqual(['200', '304'])
  })

  test('pipelined requests keep their order', async () => {
    await using running = await start((session) => session.respond(200, { body: session.request.path }), {
      requestHeaderFilter: () => later(undefined),
      responseHeaderFilter: () => later(undefined),
      responseBodyFilter: () => later(undefined),
    })
    const more = (path: string) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`
    const answer = await exchange(running.server.port, more('/1') + more('/2') + GET.replace('/ ', '/3 '))
    expect([...answer.matchAll(/\r\n(\/\d)/g)].map((match) => match[1])).toEqual(['/1', '/2', '/3'])
    expect(running.closed()).toBe(9 / 3)
  })
})

const FILTERS = [
  ['requestHeaderFilter', '500'],
  ['requestBodyFilter', '500'],
  ['responseHeaderFilter', '500'],
  ['responseBodyFilter', 'cut'],
  ['responseTrailerFilter', 'cut'],
  ['responseDoneFilter', 'cut'],
] as const

describe.each(['throws', 'rejects', 'rejects later'])('a module that %s', (how) => {
  test.each(FILTERS)('%s: %s, and the next request is served', async (name, outcome) => {
    let broken = true
    const failing = (): unknown => {
      if (!broken) return undefined
      if (how === 'throws') throw new Error('the fault')
      if (how === 'rejects') return Promise.reject(new Error('the fault'))
      return new Promise((_resolve, reject) => setImmediate(reject, new Error('the fault')))
    }
    const errors: unknown[] = []
    const serve: ServeHttp = async (session) => {
      const body = await session.readRequestBody().catch((error: unknown) => {
        errors.push(error)
        throw error
      })
      await session.writeResponseHeader(ResponseHeader.build(200))
      await session.writeResponseBody(body)
      session.endResponse(['X-Sum', '1'])
    }
    await using running = await start(serve, { [name]: failing } as HttpModule)
    const answer = await exchange(running.server.port, POST('body'))
    if (outcome === '500') expect(answer).toMatch(/^HTTP\/1\.1 500 .*\r\n\r\n$/s)
    else expect(answer).not.toMatch(/\r\n0\r\n/)
    if (name === 'requestBodyFilter') {
      // The handler that waits for the body hears of it.
      expect(errors).toHaveLength(1)
      expect((errors[0] as ProxyError).code).toBe('FILTER_FAILED')
    }
    broken = false
    expect(bodyOf(await exchange(running.server.port, POST('body')))).toBe('body')
  })
})

test('a builder that throws ends the request, and the modules made before it are closed', async () => {
  let broken = true
  let closed = 0
  const good: HttpModuleBuilder<First> = {
    module: First,
    order: 1,
    init: () => Object.assign(new First(''), { close: () => void closed++ }),
  }
  const bad: HttpModuleBuilder<Second> = {
    module: Second,
    init() {
      if (broken) throw new Error('the fault')
      return new Second('')
    },
  }
  const app = serveHttp((session) => session.respond(200, { body: 'hello' }), { modules: [good, bad] })
  await using server = await startApp(app)
  expect(await exchange(server.port, GET)).toMatch(/^HTTP\/1\.1 500 /)
  expect(closed).toBe(1)
  broken = false
  expect(bodyOf(await exchange(server.port, GET))).toBe('hello')
  expect(closed).toBe(2)
})

test.each([
  ['undefined', () => undefined],
  ['a promise', () => Promise.resolve(new First(''))],
  ['a promise that rejects', () => Promise.reject(new Error('the fault'))],
])('a builder that makes %s is an error that names it', async (_what, init) => {
  const context = () =>
    new HttpModules([{ module: First, init: init as unknown as () => First }]).createContext(
      RequestHeader.build('GET', '/'),
    )
  expect(context).toThrow(/init\(\) of the module "First" must give a module at once, not/)
})

test.each([
  ['responseDoneFilter', { responseDoneFilter: () => 'text' as unknown as Buffer }],
  ['responseTrailerFilter', { responseTrailerFilter: async () => 5 as unknown as Buffer }],
])('a %s that gives no bytes fails, rather than that they get lost', async (_filter, filters) => {
  const app = serveHttp(
    async (session) => {
      await session.writeResponseHeader(ResponseHeader.build(200), -1)
      await session.writeResponseBody(Buffer.from('hello'))
      session.downstream.endResponse(['X-Sum', '1'])
    },
    { modules: [{ module: First, init: () => Object.assign(new First(''), filters) }] },
  )
  await using server = await startApp(app)
  const answer = await exchange(server.port, GET)
  expect(answer).toContain('hello')
  expect(answer).not.toMatch(/\r\n0\r\n/) // it is cut, so that nobody takes it for whole
})

test('a module that throws or rejects when it is closed harms nobody', async () => {
  let closed = 0
  const bad = { module: First, init: () => Object.assign(new First(''), { close }) }
  const good = { module: Second, init: () => Object.assign(new Second(''), { close: () => void closed++ }) }
  function close(): void {
    throw new Error('the fault')
  }
  for (const one of [
    bad,
    { ...bad, init: () => Object.assign(new First(''), { close: async () => close() }) },
  ]) {
    closed = 0
    await using server = await startApp(
      serveHttp((session) => session.respond(200), { modules: [one, good] }),
    )
    expect(await exchange(server.port, GET)).toMatch(/^HTTP\/1\.1 200 /)
    expect(closed).toBe(1)
  }
})

test.each([
  ['short', 6, 'at once'],
  ['long', 4, 'at once'],
  ['short', 6, 'later'],
  ['long', 4, 'later'],
])(
  'a filtered body that is too %s for its announced length (%i) is cut, as an unfiltered one is; its head passes %s',
  async (_how, bytes, pace) => {
    const later = () => new Promise<void>((resolve) => setImmediate(resolve))
    await using running = await start(
      async (session) => {
        await session.writeResponseHeader(ResponseHeader.build(200), bytes)
        session.downstream.flush()
        await session.writeResponseBody(Buffer.from('hello'))
        session.endResponse()
      },
      {
        responseHeaderFilter: pace === 'later' ? later : () => undefined,
        responseBodyFilter: () => undefined,
      },
    )
    const answer = await exchange(running.server.port, GET)
    expect(answer).not.toMatch(/\r\n0\r\n/)
  },
)

test('a ProxyError that a module throws picks the answer', async () => {
  await using running = await start((session) => session.respond(200), {
    requestHeaderFilter() {
      throw new ProxyError('HTTP_STATUS', 'internal', 'Not here', { status: 404 })
    },
  })
  expect(await exchange(running.server.port, GET)).toMatch(/^HTTP\/1\.1 404 /)
})

test.each([
  ['responseBodyFilter', 'text'],
  ['responseBodyFilter', 7],
  ['responseBodyFilter', new Uint8Array(2)],
  ['requestBodyFilter', {}],
])('%s that gives %s ends the request', async (name, given) => {
  await using running = await start(
    async (session) => session.respond(200, { body: await session.readRequestBody() }),
    { [name]: () => given } as HttpModule,
  )
  const answer = await exchange(running.server.port, POST('body'))
  expect(answer.includes('\r\n0\r\n\r\n') || answer.endsWith('body')).toBe(false)
})

test('a client that leaves while a module is waited for: the module is closed, nothing more is called', async () => {
  for (const name of ['requestHeaderFilter', 'responseHeaderFilter', 'responseBodyFilter'] as const) {
    const entered = Promise.withResolvers<void>()
    const leave = Promise.withResolvers<void>()
    const calls: string[] = []
    await using running = await start(
      (session) => {
        calls.push('served')
        session.respond(200, { body: 'hello' })
      },
      {
        [name]: () => {
          entered.resolve()
          return leave.promise
        },
        responseDoneFilter: () => void calls.push('done'),
      },
      {
        requestHeaderFilter: () => void calls.push('next module'),
        responseHeaderFilter: () => void calls.push('next module'),
      },
    )
    const socket = createConnection({ port: running.server.port, host: '127.0.0.1' })
    socket.on('error', () => undefined)
    socket.write(GET)
    await entered.promise
    socket.resetAndDestroy()
    await running.server.drained()
    expect(running.closed()).toBe(2)
    const before = calls.length
    leave.resolve()
    await new Promise((resolve) => setImmediate(resolve))
    expect(calls).toHaveLength(before)
    expect(calls.includes('served')).toBe(name !== 'requestHeaderFilter')
  }
})

test('a request body that unfolds waits for its reader', async () => {
  let produced = 0
  let reading: HttpModuleContext | undefined
  await using running = await start(
    async (session) => {
      let bytes = 0
      for await (const chunk of session.requestChunks()) {
        bytes += chunk.length
        await new Promise((resolve) => setImmediate(resolve))
        // Never more than the piece at hand and the one after it.
        expect(produced * 1000 - bytes).toBeLessThanOrEqual(2000)
      }
      session.respond(200, { body: String(bytes) })
    },
    {
      requestBodyFilter(chunk, _end, context) {
        reading = context
        if (chunk === null) return undefined
        return (async function* () {
          for (let i = 0; i < 500; i++) {
            produced++
            yield Buffer.alloc(1000)
          }
        })()
      },
    },
  )
  expect(bodyOf(await exchange(running.server.port, POST('x')))).toBe('500000')
  expect(reading?.request.method).toBe('POST')
})
