import { createHash } from 'node:crypto'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { HttpPeer } from '@cirque/core'
import type { ProxyError } from '@cirque/error'
import { describe, expect, test } from 'vitest'
import type { ProxyHttp, Session } from '../src/index.ts'
import { ask, exchange, get, RawClient } from './support/client.ts'
import { startProxy } from './support/proxy.ts'
import { startRawUpstream, startScript, startUpstream } from './support/upstream.ts'
import { gate, until } from './support/waiting.ts'

const LENGTH = (body: string) => `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`
const CHUNKED = (body: string, trailers = '') => {
  const chunks = body.replace(/.{1,3}/gs, (part) => `${part.length.toString(16)}\r\n${part}\r\n`)
  return `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}0\r\n${trailers}\r\n`
}

/** Echoes the body it got, and tells how it was framed. */
function startEcho() {
  return startUpstream((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk) => chunks.push(chunk))
    request.on('end', () => {
      const { 'content-length': length = '-', 'transfer-encoding': coding = '-' } = request.headers
      response.setHeader('X-Framing', `${length} ${coding}`)
      response.setHeader('X-Trailers', JSON.stringify(request.trailers))
      response.end(Buffer.concat(chunks))
    })
  })
}

const READERS: Record<string, (session: Session) => Promise<unknown>> = {
  bufferRequestBody: (session) => session.bufferRequestBody(),
  'bufferRequestBody, streaming on': (session) =>
    session.bufferRequestBody({ maxBytes: 4, overflow: 'stream' }),
  peekRequestBody: (session) => session.peekRequestBody(3),
  readRequestBody: (session) => session.readRequestBody(),
  'all of them': async (session) => {
    await session.peekRequestBody(1)
    await session.peekRequestBody(5)
    await session.bufferRequestBody()
    await session.readRequestBody()
  },
}

describe.each(Object.keys(READERS))('a body read ahead with %s', (name) => {
  const reader = READERS[name] as (session: Session) => Promise<unknown>
  describe.each(['earlyRequestFilter', 'requestFilter', 'proxyUpstreamFilter'])('in %s', (phase) => {
    test('is sent on intact, in either framing, in one packet or many', async () => {
      await using upstream = await startEcho()
      const app: ProxyHttp = {
        upstreamPeer: () => new HttpPeer(upstream.address),
        [phase]: async (session: Session) => {
          await reader(session)
        },
      }
      await using proxy = await startProxy(app)
      for (const bytes of [LENGTH('the whole body'), CHUNKED('the whole body', 'X-Sum: 1\r\n')]) {
        for (const size of [bytes.length, 7]) {
          await using client = new RawClient(proxy.port)
          for (let at = 0; at < bytes.length; at += size) {
            client.write(bytes.slice(at, at + size))
            await new Promise((resolve) => setImmediate(resolve))
          }
          const { body, headers } = await client.response()
          expect(body).toBe('the whole body')
          const chunked = bytes.includes('chunked')
          expect(headers['x-framing']).toBe(chunked ? '- chunked' : '14 -')
          expect(headers['x-trailers']).toBe(chunked ? '{"x-sum":"1"}' : '{}')
        }
      }
    })
  })
})

test.each([
  ['Content-Length: 40', (bytes: string) => bytes],
  ['Transfer-Encoding: chunked', (bytes: string) => `${bytes.length.toString(16)}\r\n${bytes}\r\n`],
])(
  'RFC 9110 §10.1.1: what follows a response that came instead of the 100 is no body, %s',
  async (field, frame) => {
    let seen = ''
    let far: Socket | undefined
    await using upstream = await startRawUpstream((socket) => {
      far = socket
      socket.on('data', (data) => {
        seen += data.toString('latin1')
        socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')
      })
      socket.on('end', () => socket.end())
    })
    await using proxy = await startProxy({ upstreamPeer: () => new HttpPeer(upstream.address) })
    await using client = new RawClient(proxy.port)
    client.write(`POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n${field}\r\n\r\n`)
    expect(await client.take('\r\n\r\n')).toContain('Connection: close')
    // The body, or the next request of a client that keeps it back: nobody can say.
    for (const piece of [get('/next'), frame('POST /next')]) {
      await new Promise<void>((resolve) => client.socket.write(piece, () => resolve()))
      await sleep(5)
    }
    far?.write('2\r\nok\r\n0\r\n\r\n')
    await client.end()
    expect(client.received).toBe('2\r\nok\r\n0\r\n\r\n')
    await proxy.idle()
    expect(seen).toMatch(/\r\n\r\n$/)
  },
)

describe('bufferRequestBody', () => {
  const limited: Partial<ProxyHttp> = {
    async requestFilter(session) {
      await session.bufferRequestBody({ maxBytes: 8 })
    },
  }
  test.each([
    ['8 bytes', LENGTH('12345678'), 200],
    ['9 bytes', LENGTH('123456789'), 413],
    ['8 bytes, chunked', CHUNKED('12345678'), 200],
    ['9 bytes, chunked', CHUNKED('123456789'), 413],
  ])('refuses what is longer than its limit: %s', async (_name, bytes, status) => {
    await using upstream = await startEcho()
    await using proxy = await startProxy({ upstreamPeer: () => new HttpPeer(upstream.address), ...limited })
    expect((await ask(proxy.port, bytes)).status).toBe(status)
    expect(upstream.requests).toHaveLength(status === 200 ? 1 : 0)
  })

  test('streams the rest of a long body on, bounded', async () => {
    await using upstream = await startEcho()
    const big = 'x'.repeat(300_000)
    let held = 0
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer(upstream.address),
      async requestFilter(session) {
        held = (await session.bufferRequestBody({ maxBytes: 1_000, overflow: 'stream' })).length
      },
    })
    expect((await ask(proxy.port, LENGTH(big))).body).toBe(big)
    expect(held).toBeGreaterThanOrEqual(1_000)
    expect(held).toBeLessThanOrEqual(1_000 + 65_536)
  })

  test('tells a client that waits for it to go on', async () => {
    await using upstream = await startEcho()
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer(upstream.address),
      async requestFilter(session) {
        await session.bufferRequestBody()
      },
    })
    await using client = new RawClient(proxy.port)
    client.write('POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n')
    expect((await client.response()).status).toBe(100)
    expect((await client.write('body').response()).body).toBe('body')
  })

  test('does not ask a client to go on with a body that is too long', async () => {
    await using proxy = await startProxy({ upstreamPeer: () => new HttpPeer('127.0.0.1:1'), ...limited })
    const head = 'POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n'
    expect(await exchange(proxy.port, head)).toMatch(/^HTTP\/1\.1 413 /)
  })

  test('is replayed on a retry, however long', async () => {
    const bodies: string[] = []
    await using upstream = await startRawUpstream((socket) => {
      let seen = ''
      socket.on('data', (data) => {
        seen += data.toString('latin1')
        if (!seen.endsWith('end')) return
        bodies.push(seen.slice(seen.indexOf('\r\n\r\n') + 4))
        if (bodies.length === 1) socket.destroy()
        else socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
      })
    })
    const big = `${'x'.repeat(100_000)}end`
    await using proxy = await startProxy(
      {
        upstreamPeer: () => new HttpPeer(upstream.address),
        async requestFilter(session) {
          await session.bufferRequestBody()
        },
        errorWhileProxy(_session, _peer, error) {
          error.retry = 'allowed'
        },
      },
      { retryBufferBytesMax: 10 },
    )
    expect((await ask(proxy.port, LENGTH(big).replace('POST', 'PUT'))).status).toBe(200)
    expect(bodies).toEqual([big, big])
  })

  test('rejects when the client leaves, and logging is told', async () => {
    const errors: (ProxyError | undefined)[] = []
    const waiting = gate()
    let rejection: ProxyError | undefined
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer('127.0.0.1:1'),
      async requestFilter(session) {
        waiting.open()
        await session.bufferRequestBody().catch((error) => {
          rejection = error
          throw error
        })
      },
      logging: (_session, error) => void errors.push(error),
    })
    await using client = new RawClient(proxy.port)
    client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\nbody')
    await waiting.promise
    client.socket.resetAndDestroy()
    await proxy.idle()
    await until(() => rejection !== undefined, 'the read does not reject')
    expect(rejection?.source).toBe('downstream')
    expect(errors.map((error) => error?.source)).toEqual(['downstream'])
  })

  test('a client that stops in the middle gets 408', async () => {
    await using proxy = await startProxy(
      {
        upstreamPeer: () => new HttpPeer('127.0.0.1:1'),
        async requestFilter(session) {
          await session.bufferRequestBody()
        },
      },
      { server: { bodyTimeoutMs: 50 } },
    )
    await using client = new RawClient(proxy.port)
    client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\nbody')
    expect((await client.response()).status).toBe(408)
  })

  test.each([0, -1, 1.5, Number.NaN])('refuses maxBytes %d', async (maxBytes) => {
    let thrown: unknown
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer('127.0.0.1:1'),
      async requestFilter(session) {
        await session.bufferRequestBody({ maxBytes }).catch((error) => {
          thrown = error
        })
        session.respond(204)
        return true
      },
    })
    await ask(proxy.port, get())
    expect(thrown).toBeInstanceOf(RangeError)
  })

  test('after the peer was chosen is an error that says so', async () => {
    await using upstream = await startEcho()
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer(upstream.address),
      async upstreamRequestFilter(session) {
        await session.bufferRequestBody()
      },
    })
    expect((await ask(proxy.port, LENGTH('body'))).status).toBe(500)
    expect(proxy.errors().join()).toContain('only before upstreamPeer')
  })

  test('gives an empty body of a request without one', async () => {
    await using upstream = await startEcho()
    const bodies: string[] = []
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer(upstream.address),
      async requestFilter(session) {
        bodies.push(String(await session.bufferRequestBody()), String(await session.peekRequestBody(3)))
      },
    })
    expect((await ask(proxy.port, get())).headers['x-framing']).toBe('- -')
    expect(bodies).toEqual(['', ''])
  })
})

test('a body that a hook took out with requestChunks cannot be sent on: 500, clearly', async () => {
  await using upstream = await startEcho()
  await using proxy = await startProxy({
    upstreamPeer: () => new HttpPeer(upstream.address),
    async requestFilter(session) {
      for await (const _ of session.requestChunks()) break
    },
  })
  expect((await ask(proxy.port, LENGTH('body'))).status).toBe(500)
  expect(proxy.errors().join()).toContain('took the request body out')
  expect(upstream.requests).toHaveLength(0)
})

describe('filters of the request body', () => {
  const upper = (chunk: Buffer | null) => chunk && Buffer.from(chunk.toString('latin1').toUpperCase())
  const cases: [string, (chunk: Buffer | null, end: boolean) => Buffer | null | undefined, string][] = [
    ['leave', () => undefined, 'the body'],
    ['change', (chunk) => upper(chunk), 'THE BODY'],
    ['drop', () => null, ''],
    ['add at the end', (_chunk, end) => (end ? Buffer.from('!') : undefined), 'the body!'],
    [
      'make longer',
      (chunk) => (chunk === null ? undefined : Buffer.concat([chunk, chunk])),
      'the bodythe body',
    ],
    ['empty', () => Buffer.alloc(0), ''],
  ]
  describe.each([
    ['at once', false],
    ['later', true],
  ])('that answer %s', (_name, later) => {
    test.each(cases)('%s: the framing is right', async (name, filter, expected) => {
      await using upstream = await startEcho()
      let doubled = ''
      await using proxy = await startProxy({
        upstreamPeer: () => new HttpPeer(upstream.address),
        requestBodyFilter(_session, chunk, end) {
          if (chunk !== null) doubled += `${chunk}${chunk}`
          const result = filter(chunk, end)
          return later ? new Promise((resolve) => setImmediate(resolve, result)) : result
        },
      })
      await using client = new RawClient(proxy.port)
      for (const request of [LENGTH('the body'), CHUNKED('the body')]) {
        doubled = ''
        const { body, headers } = await client.write(request).response()
        // Each chunk is doubled by itself, in whatever pieces the body came.
        expect(body).toBe(name === 'make longer' && request.includes('chunked') ? doubled : expected)
        expect(headers['x-framing']).toBe('- chunked')
      }
    })
  })

  test('hold the client back: memory stays bounded', async () => {
    await using upstream = await startEcho()
    const open = gate()
    const entered = gate()
    let queued = 0
    let release = false
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer(upstream.address),
      requestBodyFilter(session) {
        queued = session.downstream.requestBodyBytes
        entered.open()
        return release ? undefined : open.promise
      },
    })
    await using client = new RawClient(proxy.port)
    const size = 8 * 1_048_576
    client
      .write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\n`)
      .write(Buffer.alloc(size, 'x'))
    await entered.promise
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(queued).toBeLessThanOrEqual(131_072)
    expect(client.socket.writableLength).toBeGreaterThan(0)
    release = true
    open.open()
    const { body } = await client.response()
    expect(body.length).toBe(size)
  })
})

describe('filters of the response body', () => {
  const ORIGINS: Record<string, string> = {
    'Content-Length': 'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nthe body',
    chunked: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nthe\r\n5\r\n body\r\n0\r\n\r\n',
  }
  const text = (chunk: Buffer | null) => (chunk === null ? '' : chunk.toString('latin1'))
  const cases: [string, (chunk: Buffer | null, end: boolean) => Buffer | null | undefined, string][] = [
    ['leave', () => undefined, 'the body'],
    ['change', (chunk) => (chunk === null ? undefined : Buffer.from(text(chunk).toUpperCase())), 'THE BODY'],
    ['drop', () => null, ''],
    ['add at the end', (_chunk, end) => (end ? Buffer.from('!') : undefined), 'the body!'],
    ['hold back until the end', () => undefined, 'the body'],
  ]
  describe.each(Object.keys(ORIGINS))('of a response with %s', (framing) => {
    describe.each(['upstreamResponseBodyFilter', 'responseBodyFilter'])('%s', (name) => {
      describe.each([
        ['at once', false],
        ['later', true],
      ])('that answers %s', (_later, later) => {
        test.each(cases)(
          '%s: the framing is right and the connection goes on',
          async (_case, filter, expected) => {
            await using upstream = await startScript(ORIGINS[framing] as string)
            await using proxy = await startProxy({
              upstreamPeer: () => new HttpPeer(upstream.address),
              [name]: (_session: Session, chunk: Buffer | null, end: boolean) => {
                const result = filter(chunk, end)
                return later ? new Promise((resolve) => setImmediate(resolve, result)) : result
              },
            })
            await using client = new RawClient(proxy.port)
            for (let i = 0; i < 2; i++) {
              const { body, headers } = await client.write(get()).response()
              expect(body).toBe(expected)
              expect([headers['content-length'], headers['transfer-encoding']]).toEqual([
                undefined,
                'chunked',
              ])
            }
            // Clients of HTTP/1.0 know no chunks.
            const old = await exchange(proxy.port, 'GET / HTTP/1.0\r\n\r\n')
            expect(old.slice(old.indexOf('\r\n\r\n') + 4)).toBe(expected)
            expect(old).not.toMatch(/transfer-encoding/i)
          },
        )
      })
    })
  })

  test('both: the upstream’s first, and what one drops the other never sees', async () => {
    await using upstream = await startScript(ORIGINS['chunked'] as string)
    const seen: string[] = []
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer(upstream.address),
      upstreamResponseBodyFilter: (_session, chunk, end) =>
        end ? Buffer.from('last') : text(chunk) === 'the' ? null : undefined,
      async responseBodyFilter(_session, chunk, end) {
        seen.push(`${text(chunk)} ${end}`)
      },
    })
    expect((await ask(proxy.port, get())).body).toBe(' bodylast')
    expect(seen).toEqual([' body false', 'last true'])
  })

  test('keepContentLength keeps the length, and a body that differs cuts the connection', async () => {
    await using upstream = await startScript(ORIGINS['Content-Length'] as string)
    let change: Buffer | undefined
    const errors: (string | undefined)[] = []
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer(upstream.address),
      responseFilter(session) {
        session.keepContentLength = true
      },
      responseBodyFilter: (_session, _chunk, end) => (end ? undefined : change),
      logging: (_session, error) => void errors.push(error?.source),
    })
    change = Buffer.from('THE BODY')
    const { body, headers } = await ask(proxy.port, get())
    expect([body, headers['content-length']]).toEqual(['THE BODY', '8'])
    change = Buffer.from('short')
    await expect(ask(proxy.port, get())).rejects.toThrow('cut')
    change = Buffer.from('longer than that')
    await expect(ask(proxy.port, get())).rejects.toThrow(/cut|ended/)
    await proxy.idle()
    expect(errors).toEqual([undefined, 'internal', 'internal'])
  })

  test.each([
    ['HEAD', 'HEAD / HTTP/1.1\r\nHost: a\r\n\r\n', 'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n', '8'],
    ['204', get(), 'HTTP/1.1 204 No Content\r\n\r\n', undefined],
    ['304', get(), 'HTTP/1.1 304 Not Modified\r\nContent-Length: 8\r\n\r\n', '8'],
  ])('cannot give a body to %s, whose head stays as it is', async (_name, request, origin, length) => {
    await using upstream = await startScript(origin)
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer(upstream.address),
      responseBodyFilter: () => Buffer.from('surplus'),
    })
    await using client = new RawClient(proxy.port)
    for (let i = 0; i < 2; i++) {
      const { headers } = await client.write(request).response({ head: true })
      expect([headers['content-length'], headers['transfer-encoding']]).toEqual([length, undefined])
    }
    expect(client.received).toBe('')
  })

  test('a head filter and a body filter that both take their time do not wait for each other', async () => {
    const big = 'x'.repeat(200_000)
    await using upstream = await startUpstream((_request, response) => response.end(big))
    const later = () => new Promise<undefined>((resolve) => setTimeout(resolve, 1, undefined))
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer(upstream.address),
      upstreamResponseFilter: later,
      responseFilter: later,
      upstreamResponseBodyFilter: later,
      responseBodyFilter: later,
    })
    await using client = new RawClient(proxy.port)
    for (let i = 0; i < 3; i++) expect((await client.write(get()).response()).body).toBe(big)
  })

  test.each([
    ['synchronous', (chunk: Buffer | null) => chunk],
    [
      'that take a turn',
      (chunk: Buffer | null) => new Promise<Buffer | null>((resolve) => setImmediate(resolve, chunk)),
    ],
    ['none', undefined],
  ])('a body of 3 MiB passes intact through filters %s', async (_name, filter) => {
    const body = Buffer.alloc(3 * 1_048_576, 'abcdefghij0123456789_')
    await using upstream = await startUpstream((_request, response) => response.end(body))
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer(upstream.address),
      ...(filter === undefined ? {} : { responseBodyFilter: (_session, chunk) => filter(chunk) }),
    } as ProxyHttp)
    const received = Buffer.from((await ask(proxy.port, get())).body, 'latin1')
    const sum = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
    expect(sum(received)).toBe(sum(body))
  })

  test('that are slow, or a client that is, hold the upstream back', async () => {
    const size = 32 * 1_048_576
    await using upstream = await startUpstream((_request, response) => response.end(Buffer.alloc(size)))
    for (const slow of ['filter', 'client']) {
      const open = gate()
      let session: Session | undefined
      let passed = 0
      await using proxy = await startProxy({
        upstreamPeer: () => new HttpPeer(upstream.address),
        responseBodyFilter(given, chunk) {
          session = given
          passed += chunk?.length ?? 0
          return slow === 'filter' ? open.promise : undefined
        },
      })
      await using client = new RawClient(proxy.port)
      client.socket.pause()
      client.write(get())
      await until(() => session !== undefined, 'no body')
      await new Promise((resolve) => setTimeout(resolve, 100))
      expect(passed).toBeLessThan(slow === 'filter' ? 131_072 : size / 2)
      open.open()
      client.socket.resume()
      const before = client.received.length
      await until(() => client.received.length > before + 1_048_576, 'nothing goes on')
    }
  })
})

describe('an upstream that breaks off', () => {
  const BROKEN: Record<string, string> = {
    'within a length': 'HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\npart of it',
    'within a chunk': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\npart of it',
    'between chunks': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\npart of it\r\n',
    'with a bad chunk': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\npart of it\r\nzz\r\n',
  }
  describe.each(Object.keys(BROKEN))('%s', (name) => {
    test.each([
      ['without filters', {}],
      ['with filters', { responseBodyFilter: () => undefined }],
      [
        'with slow filters',
        { responseBodyFilter: () => new Promise<undefined>((resolve) => setImmediate(resolve, undefined)) },
      ],
    ])('%s: the client sees a cut, never a clean end', async (_name, filters) => {
      await using upstream = await startRawUpstream((socket) =>
        socket.once('data', () => socket.end(BROKEN[name] as string)),
      )
      const errors: (ProxyError | undefined)[] = []
      await using proxy = await startProxy({
        upstreamPeer: () => new HttpPeer(upstream.address),
        logging: (_session, error) => void errors.push(error),
        ...filters,
      })
      await expect(ask(proxy.port, get())).rejects.toThrow(/cut|ended/)
      await proxy.idle()
      expect(errors.map((error) => error?.source)).toEqual(['upstream'])
    })
  })
})

describe('trailers', () => {
  const ORIGIN =
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-Other: 2\r\n\r\n'

  test.each([
    ['at once', false],
    ['later', true],
  ])('pass both filters, which answer %s', async (_name, later) => {
    await using upstream = await startScript(ORIGIN)
    const edit = (name: string) => (_session: Session, trailers: string[]) => {
      trailers.push(name, 'yes')
      return later ? Promise.resolve(undefined) : undefined
    }
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer(upstream.address),
      upstreamResponseTrailerFilter: edit('X-First') as () => undefined,
      responseTrailerFilter: edit('X-Second') as () => undefined,
    })
    const { body, trailers } = await ask(proxy.port, get('/', 'TE: trailers', 'Connection: TE'))
    expect([body, trailers]).toEqual(['hello', 'X-Sum: 1\r\nX-Other: 2\r\nX-First: yes\r\nX-Second: yes\r\n'])
    // Who did not ask for trailers gets none (RFC 9110 §6.5.1).
    expect((await ask(proxy.port, get())).trailers).toBe('')
  })

  test.each<[string, string[]]>([
    ['would split the response', ['X', '1\r\n\r\nHTTP/1.1 200 OK']],
    ['frame', ['Content-Length', '5']],
    ['are half of a pair', ['X']],
  ])('of a filter or a module that %s cut the response', async (_name, added) => {
    await using upstream = await startScript(ORIGIN)
    const upstreamPeer = () => new HttpPeer(upstream.address)
    const edit = (trailers: string[]) => void trailers.push(...added)
    const byHook: ProxyHttp = { upstreamPeer, responseTrailerFilter: (_session, trailers) => edit(trailers) }
    const byModule: ProxyHttp = {
      upstreamPeer,
      initDownstreamModules: (modules) =>
        modules.add({ module: Object, init: () => ({ responseTrailerFilter: edit }) }),
    }
    for (const app of [byHook, byModule]) {
      await using proxy = await startProxy(app)
      await expect(ask(proxy.port, get('/', 'TE: trailers', 'Connection: TE'))).rejects.toThrow(/cut|ended/)
    }
  })

  test('become the last bytes of the body when the filter says so', async () => {
    await using upstream = await startScript(ORIGIN)
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer(upstream.address),
      responseTrailerFilter: (_session, trailers) => Buffer.from(JSON.stringify(trailers)),
    })
    const { body, trailers } = await ask(proxy.port, get('/', 'TE: trailers', 'Connection: TE'))
    expect([body, trailers]).toEqual(['hello["X-Sum","1","X-Other","2"]', ''])
  })
})

test('an early answer ends the request’s body, and the upstream connection with it', async () => {
  await using upstream = await startRawUpstream((socket) =>
    socket.once('data', () => socket.write('HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno')),
  )
  await using proxy = await startProxy({ upstreamPeer: () => new HttpPeer(upstream.address) })
  await using client = new RawClient(proxy.port)
  client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n').write(Buffer.alloc(100_000))
  const { status, body, headers } = await client.response()
  expect([status, body, headers['connection']]).toEqual([413, 'no', 'close'])
  await until(() => proxy.proxy.connector.stats().open === 0, 'the upstream connection stays')
})

test('both directions run at the same time', async () => {
  await using upstream = await startRawUpstream((socket) => {
    let seen = ''
    let begun = false
    socket.on('data', (data) => {
      seen += data.toString('latin1')
      if (!begun && seen.includes('\r\n\r\n')) {
        begun = true
        seen = seen.slice(seen.indexOf('\r\n\r\n') + 4)
        socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')
      }
      for (let found = /^\d\r\n(.*?)\r\n/.exec(seen); found !== null; found = /^\d\r\n(.*?)\r\n/.exec(seen)) {
        seen = seen.slice(found[0].length)
        socket.write(found[1] === '' ? '0\r\n\r\n' : `5\r\n<${found[1]}>\r\n`)
      }
    })
  })
  await using proxy = await startProxy({ upstreamPeer: () => new HttpPeer(upstream.address) })
  await using client = new RawClient(proxy.port)
  client.write('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n')
  for (const word of ['one', 'two', 'six']) {
    client.write(`3\r\n${word}\r\n`)
    await client.take(`<${word}>`)
  }
  client.write('0\r\n\r\n')
  await client.take('0\r\n\r\n')
})
