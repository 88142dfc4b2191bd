import { GrpcWeb, grpcWeb, HttpPeer, responseCompression } from '@cirque/core'
import * as grpc from '@grpc/grpc-js'
import { describe, expect, test } from 'vitest'
import type { ProxyHttp } from '../src/index.ts'
import { ask, RawClient } from './support/client.ts'
import { AnyClient } from './support/http2.ts'
import { startProxy } from './support/proxy.ts'
import { startUpstream } from './support/upstream.ts'

const CALL = (type: string) =>
  `POST /pkg.Service/Method HTTP/1.1\r\nHost: a\r\nContent-Type: ${type}\r\nAccept-Encoding: gzip\r\nContent-Length: 5\r\n\r\n\0\0\0\0\0`

/** A gRPC service on HTTP/1.1 with trailers, which answers with one empty message. */
function startService(type = 'application/grpc+proto') {
  return startUpstream((request, response) => {
    response.writeHead(200, { 'Content-Type': type, Trailer: 'grpc-status, grpc-message' })
    response.write(Buffer.alloc(5))
    response.addTrailers({ 'Grpc-Status': '0', 'grpc-message': 'fine' })
    request.resume()
    request.on('end', () => response.end())
  })
}

function bridging(address: string): ProxyHttp {
  return {
    upstreamPeer: () => new HttpPeer(address),
    initDownstreamModules: (modules) => void modules.add(responseCompression()).add(grpcWeb()),
    earlyRequestFilter(session) {
      if (session.request.has('x-off')) session.modules?.get(GrpcWeb)?.disable()
    },
  }
}

test.each([
  ['application/grpc-web', 'application/grpc'],
  ['application/grpc-web+proto', 'application/grpc+proto'],
  ['Application/gRPC-Web+proto; a=b', 'application/grpc+proto; a=b'],
])('a call with %s becomes %s, and its trailers the last frame', async (sent, received) => {
  await using upstream = await startService()
  await using proxy = await startProxy(bridging(upstream.address))
  const response = await ask(proxy.port, CALL(sent))
  const [request] = upstream.requests
  expect(request?.headers['content-type']).toBe(received)
  expect(request?.headers['te']).toBe('trailers')
  expect(response.headers['content-type']).toBe('application/grpc-web+proto')
  expect(response.headers['content-encoding']).toBeUndefined()
  expect(response.trailers).toBe('')
  expect(response.headers['trailer']).toBeUndefined()
  const lines = 'grpc-status:0\r\ngrpc-message:fine\r\n'
  expect(response.body).toBe(`\0\0\0\0\0\x80\0\0\0${String.fromCharCode(lines.length)}${lines}`)
})

test.each([
  ['application/grpc', 'application/grpc'],
  ['application/grpc-web-texts', 'application/grpc'],
  ['application/grpc-webbing', 'application/grpc'],
  ['application/json', 'application/json'],
  ['application/grpc-web\r\nX-Off: 1', 'application/grpc'],
])('%s passes as it is', async (sent, answered) => {
  await using upstream = await startService(answered)
  await using proxy = await startProxy(bridging(upstream.address))
  const response = await ask(proxy.port, CALL(sent).replace('Accept-Encoding: gzip\r\n', ''))
  expect(upstream.requests[0]?.headers['content-type']).toBe(sent.split('\r\n')[0])
  expect(response.headers['content-type']).toBe(answered)
  expect(response.body).toBe('\0\0\0\0\0')
})

test('an answer that is no gRPC is left alone', async () => {
  await using upstream = await startService('text/html')
  await using proxy = await startProxy(bridging(upstream.address))
  const response = await ask(proxy.port, CALL('application/grpc-web').replace('gzip', 'identity'))
  expect([response.headers['content-type'], response.body]).toEqual(['text/html', '\0\0\0\0\0'])
})

describe('as text', () => {
  /** A gRPC service that echoes a unary call, and answers another with three messages, or with an error. */
  async function startEcho() {
    const bytes = (value: Buffer): Buffer => value
    const methodOf = (name: string, responseStream: boolean) => ({
      path: `/test.Echo/${name}`,
      requestStream: false,
      responseStream,
      requestSerialize: bytes,
      requestDeserialize: bytes,
      responseSerialize: bytes,
      responseDeserialize: bytes,
    })
    const server = new grpc.Server()
    server.addService(
      { unary: methodOf('unary', false), stream: methodOf('stream', true) },
      {
        unary(call: grpc.ServerUnaryCall<Buffer, Buffer>, callback: grpc.sendUnaryData<Buffer>) {
          if (call.request.toString() === 'fail') callback({ code: 5, details: 'no such thing' })
          else callback(null, call.request)
        },
        stream(call: grpc.ServerWritableStream<Buffer, Buffer>) {
          for (let i = 0; i < 3; i++) call.write(Buffer.concat([call.request, Buffer.alloc(i * 40_000, i)]))
          call.end()
        },
      },
    )
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      )
    })
    const peer = new HttpPeer(`127.0.0.1:${port}`, { httpVersion: 2 })
    const proxy = await startProxy({ ...bridging(''), upstreamPeer: () => peer })
    return {
      proxy,
      async [Symbol.asyncDispose]() {
        await proxy[Symbol.asyncDispose]()
        server.forceShutdown()
      },
    }
  }

  const frame = (message: string): Buffer => {
    const head = Buffer.alloc(5)
    head.writeUInt32BE(message.length, 1)
    return Buffer.concat([head, Buffer.from(message)])
  }

  /** The messages of a body, and the lines of its last frame. */
  function framesOf(body: Buffer): { messages: Buffer[]; trailers: string | undefined } {
    const messages: Buffer[] = []
    let trailers: string | undefined
    for (let at = 0; at < body.length; ) {
      const end = at + 5 + body.readUInt32BE(at + 1)
      if (end > body.length || trailers !== undefined) throw new Error('Malformed frames')
      const payload = body.subarray(at + 5, end)
      if (body[at] === 0x80) trailers = payload.toString('latin1')
      else messages.push(payload)
      at = end
    }
    return { messages, trailers }
  }

  /** What runs of base64 hold, each with its padding. */
  const decoded = (text: string): Buffer =>
    Buffer.concat((text.match(/[^=]+={0,2}/g) ?? []).map((run) => Buffer.from(run, 'base64')))

  const call = (method: string, pieces: readonly string[], ...fields: string[]): string =>
    `POST /test.Echo/${method} HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc-web-text+proto\r\n${fields
      .map((field) => `${field}\r\n`)
      .join('')}Transfer-Encoding: chunked\r\n\r\n${pieces
      .map((piece) => `${piece.length.toString(16)}\r\n${piece}\r\n`)
      .join('')}0\r\n\r\n`

  test('a call reaches a real service, split anywhere, and its answer comes back with its status', async () => {
    await using echo = await startEcho()
    const bytes = frame('hello')
    for (let cut = 1; cut < bytes.length; cut++) {
      // Two pieces of base64, each with its padding, and one piece that is cut within a quantum.
      const padded = [bytes.subarray(0, cut), bytes.subarray(cut)].map((part) => part.toString('base64'))
      const whole = bytes.toString('base64')
      for (const pieces of [padded, [whole.slice(0, cut), whole.slice(cut)]]) {
        const response = await ask(echo.proxy.port, call('unary', pieces))
        expect(response.headers['content-type']).toBe('application/grpc-web-text+proto')
        const { messages, trailers } = framesOf(decoded(response.body))
        expect(messages.map(String)).toEqual(['hello'])
        expect(trailers).toMatch(/^grpc-status:0\r\n/)
      }
    }
  })

  test('a stream of messages, and an error', async () => {
    await using echo = await startEcho()
    const streamed = await ask(echo.proxy.port, call('stream', [frame('x').toString('base64')]))
    const { messages, trailers } = framesOf(decoded(streamed.body))
    expect(messages.map(({ length }) => length)).toEqual([1, 40_001, 80_001])
    expect(trailers).toMatch(/^grpc-status:0\r\n/)
    const failed = await ask(echo.proxy.port, call('unary', [frame('fail').toString('base64')]))
    const answer = failed.headers['grpc-status'] ?? framesOf(decoded(failed.body)).trailers
    expect(answer).toMatch(/^(?:5$|grpc-status:5\r\n)/)
  })

  test('Accept chooses the form of the answer', async () => {
    await using echo = await startEcho()
    const text = frame('hello').toString('base64')
    for (const [accept, type] of [
      ['application/grpc-web', 'application/grpc-web+proto'],
      ['application/grpc-web-text+proto', 'application/grpc-web-text+proto'],
      ['*/*', 'application/grpc-web-text+proto'],
      ['application/grpc-web, application/grpc-web-text;q=0.5', 'application/grpc-web-text+proto'],
    ]) {
      const response = await ask(echo.proxy.port, call('unary', [text], `Accept: ${accept}`))
      expect(response.headers['content-type']).toBe(type)
    }
    const binary = `POST /test.Echo/unary HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc-web\r\nAccept: application/grpc-web-text\r\nContent-Length: 10\r\n\r\n`
    const response = await ask(echo.proxy.port, binary + frame('hello').toString('latin1'))
    expect(framesOf(decoded(response.body)).messages.map(String)).toEqual(['hello'])
  })

  test.each(['QUJD!', 'QQ=', 'Q===', 'QQ==\r\n', 'AAAA=AAA', 'AAAAA', '\xff\xff\xff\xff'])(
    'text that is no base64 is an error: %j',
    async (text) => {
      await using echo = await startEcho()
      await using client = new RawClient(echo.proxy.port)
      for (const response of [
        await ask(echo.proxy.port, call('unary', [text])),
        await client.write(call('unary', [...text])).response(),
      ]) {
        expect([response.status, response.headers['grpc-status']]).toEqual([200, '13'])
        expect(response.headers['content-type']).toBe('application/grpc-web-text')
      }
    },
  )
})

describe.each([1, 2] as const)('errors of the proxy’s own over HTTP/%i are gRPC errors', (version) => {
  test.each([
    ['application/grpc-web+proto', 'application/grpc-web'],
    ['application/grpc-web-text', 'application/grpc-web-text'],
  ])('to a call of %s', async (sent, answered) => {
    await using proxy = await startProxy(
      {
        ...bridging('127.0.0.1:1'),
        requestFilter(session) {
          if (session.request.path !== '/denied') return false
          session.respondError(403)
          return true
        },
      },
      { server: { h2c: true } },
    )
    await using client = new AnyClient(version, proxy.port)
    for (const [path, status, message] of [
      ['/pkg.Service/Method', '14', 'Bad Gateway'],
      ['/denied', '7', 'Forbidden'],
    ] as const) {
      const headers = { 'content-type': sent }
      const answer = await client.ask({ method: 'POST', path, headers, body: 'AAAAAAA=' })
      expect([answer.status, answer.headers['content-type'], answer.body.length]).toEqual([200, answered, 0])
      expect([answer.headers['grpc-status'], answer.headers['grpc-message']]).toEqual([status, message])
    }
  })

  test('and plain ones to everybody else', async () => {
    await using proxy = await startProxy(bridging('127.0.0.1:1'), { server: { h2c: true } })
    await using client = new AnyClient(version, proxy.port)
    for (const headers of [{}, { 'content-type': 'application/grpc-web', 'x-off': '1' }]) {
      expect((await client.ask({ method: 'POST', headers, body: 'x' })).status).toBe(502)
    }
  })
})
