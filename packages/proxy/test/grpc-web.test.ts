import { GrpcWeb, grpcWeb, HttpPeer, responseCompression } from '@cirque/core'
import { expect, test } from 'vitest'
import type { ProxyHttp } from '../src/index.ts'
import { ask } from './support/client.ts'
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
  ['application/grpc-web-text', 'application/grpc'],
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
