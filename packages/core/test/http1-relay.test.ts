import { createHash } from 'node:crypto'
import { once } from 'node:events'
import http from 'node:http'
import type { ProxyError } from '@cirque/error'
import { RequestHeader, ResponseHeader, removeHopByHop } from '@cirque/http'
import { expect, test } from 'vitest'
import {
  type ClientSession,
  type ClientSessionHandler,
  type Connector,
  HttpPeer,
  HttpServerApp,
  type ServerSession,
  type ServerSessionHandler,
  serveHttp,
  WRITE_PAUSE,
  type WriteResult,
} from '../src/index.ts'
import { startApp } from './support/http-server.ts'
import { startConnector } from './support/upstream.ts'

/** The smallest proxy: both sessions joined, with backpressure, and nothing copied that need not be. */
class Relay implements ServerSessionHandler, ClientSessionHandler {
  readonly #downstream: ServerSession
  readonly #upstream: ClientSession
  readonly #connector: Connector
  constructor(downstream: ServerSession, upstream: ClientSession, connector: Connector) {
    this.#downstream = downstream
    this.#upstream = upstream
    this.#connector = connector
    downstream.handler = this
    upstream.handler = this
    const header = RequestHeader.build(downstream.request.method, downstream.request.target, [['Host', 'a']])
    upstream.sendHead(header, downstream.requestContentLength, false)
    downstream.resumeRequestBody()
    upstream.flush()
  }
  onRequestData(buffer: Buffer, start: number, end: number): WriteResult {
    const result = this.#upstream.writeBody(buffer, start, end)
    if (result >= WRITE_PAUSE) this.#downstream.pauseRequestBody()
    this.#upstream.flush()
    return result
  }
  onRequestEnd(): void {
    this.#upstream.endRequest(null)
  }
  onUpstreamDrain(): void {
    this.#downstream.resumeRequestBody()
  }
  onDownstreamDrain(): void {
    this.#upstream.resumeResponse()
  }
  onDownstreamAbort(): void {
    this.#upstream.destroy()
  }
  onInformational(): void {}
  onResponseHead(header: ResponseHeader, contentLength: number): void {
    removeHopByHop(header)
    this.#downstream.writeHead(header, contentLength)
  }
  onResponseData(buffer: Buffer, start: number, end: number): WriteResult {
    return this.#downstream.writeBody(buffer, start, end)
  }
  onResponseEnd(): void {
    this.#downstream.endResponse(null)
    this.#connector.release(this.#upstream)
  }
  onResponseFlush(): void {
    this.#downstream.flush()
  }
  onUpstreamError(error: ProxyError): void {
    this.#downstream.destroy(error)
  }
}

function relayTo(connector: Connector, peer: HttpPeer): HttpServerApp {
  return new HttpServerApp({
    onSession(session) {
      const idle = connector.acquire(peer)
      if (idle !== null) new Relay(session, idle, connector)
      else {
        connector.connect(peer, {
          onConnected: (upstream) => void new Relay(session, upstream, connector),
          onConnectError: (error) => session.destroy(error),
        })
      }
    },
  })
}

const SIZES = [0, 1, 100, 2_048, 2_049, 15_361, 40_000, 65_536, 200_000, 1_000_000]

function bodyOf(seed: number, size: number): Buffer {
  const body = Buffer.allocUnsafe(size)
  let state = (seed + 1) >>> 0
  for (let at = 0; at < size; at++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    body[at] = state >>> 24
  }
  return body
}

const digestOf = (body: Buffer): string => createHash('sha256').update(body).digest('hex')

interface Sent {
  readonly body: Buffer
  readonly chunked: boolean
  readonly slowly: boolean
}

/** Sends a body and gives the digest of the one that comes back. */
async function echo(agent: http.Agent, port: number, { body, chunked, slowly }: Sent): Promise<string> {
  const request = http.request({
    agent,
    port,
    host: '127.0.0.1',
    method: 'POST',
    headers: chunked ? { 'Transfer-Encoding': 'chunked' } : { 'Content-Length': body.length },
  })
  for (let at = 0; at < body.length; at += 30_011) request.write(body.subarray(at, at + 30_011))
  request.end()
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  const hash = createHash('sha256')
  for await (const chunk of response) {
    hash.update(chunk)
    if (slowly) await new Promise((resolve) => setImmediate(resolve))
  }
  return hash.digest('hex')
}

test('bodies of many clients pass through to an upstream and back, each its own', async () => {
  await using origin = await startApp(
    serveHttp(async (session) => {
      const length = session.downstream.requestContentLength
      const body = await session.readRequestBody({ maxBytes: 2_000_000 })
      if (length >= 0) session.respond(200, { body })
      else {
        // Of unknown length, in parts of all sizes.
        await session.writeResponseHeader(ResponseHeader.build(200))
        for (let at = 0, size = 1; at < body.length; at += size, size = (size * 7) % 20_011) {
          await session.writeResponseBody(body.subarray(at, at + size))
        }
        session.endResponse()
      }
    }),
  )
  await using connector = startConnector({ keepalivePoolSize: 8 })
  await using proxy = await startApp(relayTo(connector, new HttpPeer(`127.0.0.1:${origin.port}`)))
  const agent = new http.Agent({ keepAlive: true, maxSockets: 16 })
  await Promise.all(
    Array.from({ length: 20 }, async (_, worker) => {
      for (let round = 0; round < 10; round++) {
        const body = bodyOf(worker * 100 + round, SIZES[(worker + round) % SIZES.length] as number)
        const sent = { body, chunked: round % 3 === 0, slowly: worker % 4 === 0 }
        expect(await echo(agent, proxy.port, sent)).toBe(digestOf(body))
      }
    }),
  )
  agent.destroy()
  expect(connector.stats()).toMatchObject({ failed: 0, unexpectedData: 0 })
})

test('a client that stalls stops the upstream through the relay', async () => {
  let written = 0
  await using origin = await startApp(
    serveHttp(async (session) => {
      await session.writeResponseHeader(ResponseHeader.build(200))
      const block = Buffer.alloc(5_000)
      try {
        for (;;) {
          await session.writeResponseBody(block)
          written += block.length
          await new Promise((resolve) => setImmediate(resolve))
        }
      } catch {
        // The client has left at last.
      }
    }),
  )
  await using connector = startConnector()
  await using proxy = await startApp(relayTo(connector, new HttpPeer(`127.0.0.1:${origin.port}`)))
  const request = http.get({ port: proxy.port, host: '127.0.0.1' })
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  response.on('error', () => undefined)
  let proxied = 0
  for (let before = -1; written !== before || written === 0; ) {
    before = written
    for (let i = 0; i < 100; i++) await new Promise((resolve) => setImmediate(resolve))
    for (const socket of proxy.sockets) proxied = Math.max(proxied, socket.writableLength)
  }
  expect(proxied).toBeLessThan(262_144)
  response.destroy()
  await proxy.drained()
})
