import { once } from 'node:events'
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http'
import {
  brotliCompressSync,
  brotliDecompressSync,
  constants,
  gunzipSync,
  gzipSync,
  zstdCompressSync,
  zstdDecompressSync,
} from 'node:zlib'
import { ResponseHeader } from '@cirque/http'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  type ContentCoding,
  type HttpSession,
  ResponseCompression,
  type ResponseCompressionBuilder,
  type ResponseCompressionOptions,
  responseCompression,
  type ServeHttp,
  serveHttp,
} from '../src/index.ts'
import { startApp, type TestServer } from './support/http-server.ts'

const TEXT = 'The quick brown fox jumps over the lazy dog. '.repeat(50)
const DECODE = { gzip: gunzipSync, br: brotliDecompressSync, zstd: zstdDecompressSync } as const
const ENCODE = {
  gzip: gzipSync,
  br: (plain: Buffer) => brotliCompressSync(plain, { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } }),
  zstd: zstdCompressSync,
} as const
const CODINGS: readonly ContentCoding[] = ['gzip', 'br', 'zstd']

interface Compressed extends AsyncDisposable {
  readonly server: TestServer
  readonly builder: ResponseCompressionBuilder
}

async function start(serve: ServeHttp, options?: ResponseCompressionOptions): Promise<Compressed> {
  const builder = responseCompression(options)
  const server = await startApp(serveHttp(serve, { modules: [builder] }))
  return {
    server,
    builder,
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]()
      expect(builder.stats().active).toBe(0)
    },
  }
}

interface Answer {
  readonly response: IncomingMessage
  readonly body: Buffer
}

async function ask(port: number, accept?: string, method = 'GET'): Promise<Answer> {
  const { request, answered } = send(port, accept, method)
  request.end()
  const response = await answered
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk as Buffer)
  return { response, body: Buffer.concat(chunks) }
}

function send(
  port: number,
  accept: string | undefined,
  method = 'GET',
): { request: ClientRequest; answered: Promise<IncomingMessage> } {
  const request = httpRequest({
    port,
    host: '127.0.0.1',
    method,
    agent: false,
    headers: accept === undefined ? {} : { 'accept-encoding': accept },
  })
  const answered = once(request, 'response').then(([response]) => response as IncomingMessage)
  return { request, answered }
}

function answering(headers: Record<string, string>, body: string | Buffer = TEXT, status = 200): ServeHttp {
  return (session) => session.respond(status, { headers, body })
}

describe.each(CODINGS)('%s', (coding) => {
  test('compresses a text for a client that takes it, and says so', async () => {
    await using running = await start(
      answering({
        'Content-Type': 'text/plain; charset=utf-8',
        'Content-Length': String(TEXT.length),
        'Accept-Ranges': 'bytes',
        ETag: '"v1"',
        Vary: 'Origin',
      }),
    )
    const { response, body } = await ask(running.server.port, coding)
    expect(response.headers).toMatchObject({
      'content-encoding': coding,
      etag: 'W/"v1"',
      vary: 'Origin, Accept-Encoding',
      'transfer-encoding': 'chunked',
    })
    expect(response.headers['content-length']).toBeUndefined()
    expect(response.headers['accept-ranges']).toBeUndefined()
    expect(DECODE[coding](body).toString()).toBe(TEXT)
    expect(body.length).toBeLessThan(TEXT.length / 4)
    const stats = running.builder.stats()
    expect(stats).toMatchObject({ compressed: 1, active: 0, failed: 0, bytesIn: TEXT.length })
    expect(stats.bytesOut).toBe(body.length)
  })

  test('gives back any body, however it was cut', async () => {
    let chunks: Buffer[] = []
    let known = false
    await using running = await start(async (session) => {
      const bytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
      const header = ResponseHeader.build(200, { 'Content-Type': 'text/plain' })
      await session.writeResponseHeader(header, known ? bytes : -1)
      for (const chunk of chunks) await session.writeResponseBody(chunk)
      session.endResponse()
    })
    const piece = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.integer({ min: 1, max: 100_000 }).map((size) => Buffer.alloc(size, 'a')),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 5 }), fc.boolean(), async (pieces, length) => {
        chunks = pieces.map((each) => Buffer.from(each))
        known = length
        const { response, body } = await ask(running.server.port, coding)
        const plain = response.headers['content-encoding'] === coding ? DECODE[coding](body) : body
        expect(plain.equals(Buffer.concat(chunks))).toBe(true)
      }),
      { numRuns: 30 },
    )
  })

  test('sends each server-sent event as soon as it is written', async () => {
    const events = Promise.withResolvers<HttpSession>()
    await using running = await start(
      async (session) => {
        await session.writeResponseHeader(
          ResponseHeader.build(200, { 'Content-Type': 'text/event-stream; charset=utf-8' }),
        )
        session.downstream.flush()
        events.resolve(session)
        await once(session.signal, 'abort')
      },
      { flush: 'streams' },
    )
    const { request, answered } = send(running.server.port, coding)
    request.end()
    const session = await events.promise
    // The head comes although no event has.
    const response = await answered
    response.on('error', () => undefined)
    const decoder = await decoderOf(coding)
    decoder.on('error', () => undefined)
    response.pipe(decoder)
    for (let i = 0; i < 3; i++) {
      await session.writeResponseBody(Buffer.from(`data: ${i}\n\n`))
      const [chunk] = (await once(decoder, 'data')) as [Buffer]
      expect(chunk.toString()).toBe(`data: ${i}\n\n`)
    }
    expect(running.builder.stats().active).toBe(1)
    request.destroy()
    await running.server.drained()
    expect(running.builder.stats().active).toBe(0)
  })

  test('decompresses for a client that does not take it', async () => {
    const coded = ENCODE[coding](Buffer.from(TEXT))
    await using running = await start(
      answering({ 'Content-Type': 'text/plain', 'Content-Encoding': coding, ETag: '"v1"' }, coded),
      { decompress: true },
    )
    const plain = await ask(running.server.port, 'identity')
    expect(plain.body.toString()).toBe(TEXT)
    expect(plain.response.headers).toMatchObject({ etag: 'W/"v1"', vary: 'Accept-Encoding' })
    expect(plain.response.headers['content-encoding']).toBeUndefined()
    const same = await ask(running.server.port, coding)
    expect(same.body.equals(coded)).toBe(true)
    expect(same.response.headers).toMatchObject({ etag: '"v1"', 'content-encoding': coding })
    // It takes neither this coding nor the plain content: nothing is better than what the origin chose.
    const neither = await ask(running.server.port, 'identity;q=0')
    expect(neither.body.equals(coded)).toBe(true)
    expect(running.builder.stats().decompressed).toBe(1)
  })

  test('cuts a body that unfolds into more than its limit', async () => {
    const bomb = ENCODE[coding](Buffer.alloc(50_000_000))
    const failures: unknown[] = []
    for (const limit of [{ outputBytesMax: 1_000_000 }, { outputRatioMax: 10 }]) {
      await using running = await start(
        async (session) => {
          session.respond(200, { headers: { 'Content-Encoding': coding }, body: bomb })
          await once(session.signal, 'abort').catch(() => undefined)
          failures.push(session.abortError?.code)
        },
        { decompress: true, ...limit },
      )
      await expect(ask(running.server.port)).rejects.toThrow()
      expect(running.builder.stats()).toMatchObject({ failed: 1, decompressed: 1 })
      expect(running.builder.stats().bytesOut).toBeLessThan(2_000_000)
    }
    expect(failures).toEqual(['RESPONSE_TOO_LARGE', 'RESPONSE_TOO_LARGE'])
  })

  test('cuts the response when what it decodes is broken or ends too early', async () => {
    const coded = ENCODE[coding](Buffer.from(TEXT))
    for (const broken of [coded.subarray(0, -3), Buffer.from('this is no such coding, nowhere near')]) {
      await using running = await start(answering({ 'Content-Encoding': coding }, broken), {
        decompress: true,
      })
      await expect(ask(running.server.port)).rejects.toThrow()
      expect(running.builder.stats().failed).toBe(1)
    }
  })

  test('holds back a fast body that nobody reads, and lets go of it when the client leaves', async () => {
    const coded = ENCODE[coding](Buffer.alloc(100_000_000))
    await using running = await start(answering({ 'Content-Encoding': coding }, coded), {
      decompress: true,
      outputRatioMax: 1_000_000,
    })
    const { request, answered } = send(running.server.port, 'identity')
    request.end()
    const response = await answered
    response.on('error', () => undefined)
    response.pause()
    // The sockets' buffers fill up; then the decoder has to stop.
    const { socket } = running.server
    while (!socket.writableNeedDrain) await new Promise((resolve) => setTimeout(resolve, 5))
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(socket.writableLength).toBeLessThan(400_000)
    expect(running.builder.stats().active).toBe(1)
    request.destroy()
    await running.server.drained()
    expect(running.builder.stats().active).toBe(0)
    expect(running.builder.stats().bytesOut).toBeLessThan(50_000_000)
  })
})

async function decoderOf(coding: ContentCoding) {
  const zlib = await import('node:zlib')
  if (coding === 'gzip') return zlib.createGunzip()
  return coding === 'br' ? zlib.createBrotliDecompress() : zlib.createZstdDecompress()
}

describe('passes as it is', () => {
  test.each<[why: string, headers: Record<string, string>, body?: string, status?: number]>([
    ['a coded body', { 'Content-Type': 'text/plain', 'Content-Encoding': 'deflate' }],
    ['a part', { 'Content-Type': 'text/plain', 'Content-Range': 'bytes 0-9/100' }, TEXT, 206],
    ['no-transform', { 'Content-Type': 'text/plain', 'Cache-Control': 'public, No-Transform' }],
    ['a digest of the content', { 'Content-Type': 'text/plain', 'Content-Digest': 'sha-256=:YQ==:' }],
    ['a digest of the representation', { 'Content-Type': 'text/plain', 'Repr-Digest': 'sha-256=:YQ==:' }],
    ['an image', { 'Content-Type': 'image/png' }],
    ['an archive', { 'Content-Type': 'application/zip' }],
    ['gRPC', { 'Content-Type': 'application/grpc+proto' }],
    ['no type', {}],
    ['19 bytes', { 'Content-Type': 'text/plain' }, 'x'.repeat(19)],
    ['nothing', { 'Content-Type': 'text/plain' }, ''],
  ])('%s', async (_why, headers, body = TEXT, status = 200) => {
    await using running = await start(answering(headers, body, status))
    const answer = await ask(running.server.port, 'gzip, br, zstd')
    expect(answer.body.toString()).toBe(body)
    expect(answer.response.headers['content-encoding']).toBe(headers['Content-Encoding'])
    expect(answer.response.headers.vary).toBeUndefined()
    expect(answer.response.headers['content-length']).toBe(String(body.length))
    expect(running.builder.stats().compressed).toBe(0)
  })

  test('what the client wants as it is', async () => {
    await using running = await start(answering({ 'Content-Type': 'text/plain' }))
    const request = httpRequest({
      port: running.server.port,
      host: '127.0.0.1',
      agent: false,
      headers: { 'accept-encoding': 'gzip', 'cache-control': 'no-transform' },
    })
    request.end()
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    expect(response.headers['content-encoding']).toBeUndefined()
    response.resume()
    await once(response, 'end')
  })

  test('what the client refuses, though others may get it coded', async () => {
    await using running = await start(answering({ 'Content-Type': 'text/plain' }))
    for (const accept of [undefined, 'identity', 'gzip;q=0', '*;q=0']) {
      const { response, body } = await ask(running.server.port, accept)
      expect(body.toString()).toBe(TEXT)
      expect(response.headers.vary).toBe('Accept-Encoding')
      expect(response.headers['content-length']).toBe(String(TEXT.length))
    }
  })

  test('a coding whose level is 0', async () => {
    await using running = await start(answering({ 'Content-Type': 'text/plain' }), {
      brLevel: 0,
      zstdLevel: 0,
    })
    expect((await ask(running.server.port, 'br, zstd')).response.headers['content-encoding']).toBeUndefined()
    expect((await ask(running.server.port, 'br, gzip;q=0.1')).response.headers['content-encoding']).toBe(
      'gzip',
    )
  })

  test('further responses once activeMax are being worked on', async () => {
    const first = Promise.withResolvers<HttpSession>()
    await using running = await start(
      async (session) => {
        if (session.request.path === '/') {
          await session.writeResponseHeader(ResponseHeader.build(200, { 'Content-Type': 'text/plain' }))
          session.downstream.flush()
          if (running.builder.stats().active === 1 && running.builder.stats().skipped === 0) {
            first.resolve(session)
            return
          }
          await session.writeResponseBody(Buffer.from(TEXT))
          session.endResponse()
        }
      },
      { activeMax: 1 },
    )
    const slow = ask(running.server.port, 'gzip')
    const session = await first.promise
    const second = await ask(running.server.port, 'gzip')
    expect(second.response.headers['content-encoding']).toBeUndefined()
    expect(second.body.toString()).toBe(TEXT)
    expect(running.builder.stats()).toMatchObject({ active: 1, skipped: 1 })
    session.endResponse()
    expect(gunzipSync((await slow).body)).toHaveLength(0)
    expect(running.builder.stats().active).toBe(0)
  })
})

test('20 bytes are compressed', async () => {
  await using running = await start(answering({ 'Content-Type': 'text/plain' }, 'x'.repeat(20)))
  expect((await ask(running.server.port, 'gzip')).response.headers['content-encoding']).toBe('gzip')
})

test('RFC 9110 §9.3.2: HEAD gets the head of GET', async () => {
  await using running = await start(
    answering({ 'Content-Type': 'text/plain', 'Content-Length': String(TEXT.length), ETag: '"v1"' }),
  )
  const head = await ask(running.server.port, 'br', 'HEAD')
  const get = await ask(running.server.port, 'br')
  for (const name of ['content-encoding', 'etag', 'vary', 'content-length', 'content-type']) {
    expect(head.response.headers[name]).toBe(get.response.headers[name])
  }
  expect(running.builder.stats().compressed).toBe(1)
})

test('RFC 9110 §15.4.5: a 304 speaks of the compressed response that the client has', async () => {
  await using running = await start((session) => session.respond(304, { headers: { ETag: '"v1"' } }))
  const { response } = await ask(running.server.port, 'gzip')
  expect(response.headers).toMatchObject({ etag: 'W/"v1"', vary: 'Accept-Encoding' })
  expect((await ask(running.server.port)).response.headers.etag).toBe('"v1"')
})

test.each([
  ['W/"v1"', 'W/"v1"'],
  ['"v1"', 'W/"v1"'],
  ['v1', undefined],
  ['"v"1"', undefined],
])('the entity tag %s becomes %s', async (etag, expected) => {
  await using running = await start(answering({ 'Content-Type': 'text/plain', ETag: etag }))
  expect((await ask(running.server.port, 'gzip')).response.headers.etag).toBe(expected)
})

test.each([
  ['*', '*'],
  ['accept-ENCODING, Origin', 'accept-ENCODING, Origin'],
  ['X-Accept-Encoding', 'X-Accept-Encoding, Accept-Encoding'],
])('Vary: %s becomes %s', async (vary, expected) => {
  await using running = await start(answering({ 'Content-Type': 'text/plain', Vary: vary }))
  expect((await ask(running.server.port, 'gzip')).response.headers.vary).toBe(expected)
})

test('an HTTP/1.0 client gets it until the connection closes', async () => {
  await using running = await start(answering({ 'Content-Type': 'text/plain' }))
  const { createConnection } = await import('node:net')
  const socket = createConnection({ port: running.server.port, host: '127.0.0.1' })
  socket.write('GET / HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n')
  const chunks: Buffer[] = []
  for await (const chunk of socket) chunks.push(chunk as Buffer)
  const all = Buffer.concat(chunks)
  const at = all.indexOf('\r\n\r\n')
  expect(all.subarray(0, at).toString()).toMatch(/Connection: close/)
  expect(all.subarray(0, at).toString()).not.toMatch(/Transfer-Encoding|Content-Length/)
  expect(gunzipSync(all.subarray(at + 4)).toString()).toBe(TEXT)
})

test('a handler settles things for its own request', async () => {
  await using running = await start(
    (session) => {
      const module = session.modules?.get(ResponseCompression)
      if (session.request.method === 'GET') module?.adjustLevel(0)
      else {
        module?.adjustLevel(9, 'gzip')
        module?.adjustPreserveEtag(true)
      }
      session.respond(200, { headers: { 'Content-Type': 'text/plain', ETag: '"v1"' }, body: TEXT })
      if (session.request.method === 'POST') {
        expect(module?.info).toMatchObject({ operation: 'compress', coding: 'gzip' })
      }
    },
    { gzipLevel: 0, brLevel: 0, zstdLevel: 0 },
  )
  expect((await ask(running.server.port, 'gzip, br')).response.headers['content-encoding']).toBeUndefined()
  const post = await ask(running.server.port, 'gzip, br', 'POST')
  expect(post.response.headers).toMatchObject({ 'content-encoding': 'gzip', etag: '"v1"' })
})

test('refuses options that make no sense', () => {
  const wrong: [ResponseCompressionOptions, RegExp][] = [
    [{ gzipLevel: 10 }, /gzip.*0 to 9, not 10/],
    [{ brLevel: -1 }, /br.*-1/],
    [{ zstdLevel: 20 }, /zstd.*19, not 20/],
    [{ zstdLevel: 1.5 }, /1\.5/],
    [{ activeMax: 0 }, /activeMax.*not 0/],
    [{ outputBytesMax: 0 }, /outputBytesMax/],
    [{ outputRatioMax: Number.NaN }, /outputRatioMax.*NaN/],
    [{ preference: ['gzip', 'gzip'] }, /preference/],
    [{ preference: ['deflate' as 'gzip'] }, /preference.*deflate/],
    [{ flush: 'never' as 'streams' }, /flush.*never/],
    [{ decompress: 1 as unknown as boolean }, /decompress.*not 1/],
    [{ compressible: 'text' as unknown as () => boolean }, /compressible.*string/],
    [{ levels: 1 } as ResponseCompressionOptions, /levels/],
  ]
  for (const [options, message] of wrong) expect(() => responseCompression(options)).toThrow(message)
})
