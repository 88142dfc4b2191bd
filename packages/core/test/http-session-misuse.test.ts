import { ResponseHeader } from '@cirque/http'
import { expect, test } from 'vitest'
import { HttpServerApp, type HttpSession, serveHttp } from '../src/index.ts'
import { startApp, startServer } from './support/http-server.ts'
import { exchange } from './support/raw-client.ts'

const POST = 'POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc'
const head = (status = 200) => ResponseHeader.build(status)
/** What TypeScript would not let pass. */
const wrong = (value: unknown) => value as never
const boom = (): never => {
  throw new Error('boom')
}

/** A promise of another make than Node's. */
const rejecting = (): Promise<void> =>
  Object.defineProperty({}, 'then', {
    value: (_resolve: unknown, reject: () => void) => reject(),
  }) as Promise<void>

/** What a handler may get wrong, and what it is told before anything is written. */
const BEFORE_THE_HEAD: Record<string, [act: (session: HttpSession) => unknown, told: RegExp]> = {
  'an interim response as the final one': [(s) => s.writeResponseHeader(head(103), 0), /200 to 599, not 103/],
  'a 101 that nobody asked for': [(s) => s.writeResponseHeader(head(101), 0), /200 to 599, not 101/],
  'a length that is no number': [(s) => s.writeResponseHeader(head(), Number.NaN), /from -1, not NaN/],
  'half a byte': [(s) => s.writeResponseHeader(head(), 1.5), /from -1, not 1.5/],
  'a length without end': [
    (s) => s.writeResponseHeader(head(), Number.POSITIVE_INFINITY),
    /from -1, not Infinity/,
  ],
  'a negative length': [(s) => s.writeResponseHeader(head(), -7), /from -1, not -7/],
  'a length as text': [(s) => s.writeResponseHeader(head(), wrong('5')), /from -1, not 5/],
  'a head that is none': [
    (s) => s.writeResponseHeader(wrong({ status: 200 }), 0),
    /a ResponseHeader, not obj/,
  ],
  'no head': [(s) => s.writeResponseHeader(wrong(undefined)), /a ResponseHeader, not undefined/],
  'a body before its head': [(s) => s.writeResponseBody(Buffer.from('x')), /before the body/],
  'a body that is a number': [(s) => s.respond(200, { body: wrong(5) }), /a Buffer, not number/],
  'a body that is null': [(s) => s.respond(200, { body: wrong(null) }), /a Buffer, not null/],
  'a body that is an array of bytes': [
    (s) => s.respond(200, { body: wrong(new Uint8Array(3)) }),
    /a Buffer, not object/,
  ],
  'no stream': [(s) => s.respondStream(wrong(null)), /a stream to answer with, not null/],
  'a folder': [(s) => s.respondFile('/'), /Cannot open the file/],
  'a device without end': [(s) => s.respondFile('/dev/zero'), /Cannot open the file/],
  'a bound that is none': [(s) => s.readRequestBody({ maxBytes: Number.NaN }), /from 0, not NaN/],
  'a negative bound': [(s) => s.readRequestBody({ maxBytes: -1 }), /from 0, not -1/],
}

test.each(Object.entries(BEFORE_THE_HEAD))(
  '%s: the handler is told, the client gets 500',
  async (_name, [act, told]) => {
    let thrown: unknown
    await using server = await startServer(async (session) => {
      try {
        await act(session)
      } catch (error) {
        thrown = error
        throw error
      }
    })
    expect(await exchange(server.port, POST)).toMatch(/^HTTP\/1\.1 500 [\s\S]*\r\n\r\n$/)
    expect(String(thrown)).toMatch(told)
  },
)

/** The same within a response: it is whole without what was wrong, if the handler goes on. */
const WITHIN: Record<string, [act: (session: HttpSession) => unknown, told: RegExp]> = {
  'a body of text': [(s) => s.writeResponseBody(wrong('text')), /a Buffer, not string/],
  'a body of nothing': [(s) => s.writeResponseBody(wrong(undefined)), /a Buffer, not undefined/],
  'half a trailer': [(s) => s.endResponse(['x']), /a flat list/],
  'trailers as text': [(s) => s.endResponse(wrong('ab')), /a flat list/],
  'trailers as a record': [(s) => s.endResponse(wrong({ x: 'y' })), /a flat list/],
  'a trailer that splits the response': [
    (s) => s.endResponse(['x', 'y\r\n\r\nHTTP/1.1 200 OK']),
    /"x" must be/,
  ],
  'a trailer with an odd name': [(s) => s.endResponse(['x: y\r\nz', '1']), /must be a token/],
  'a number as a trailer': [(s) => s.endResponse(['x', wrong(1)]), /"x" must be/],
  'a trailer that frames': [(s) => s.endResponse(['Content-Length', '5']), /must not be a trailer/],
  'another head': [(s) => s.writeResponseHeader(head(), 0), /already written/],
  'another response': [(s) => s.respond(200), /already written/],
}

test.each(Object.entries(WITHIN))(
  '%s: the handler is told, and nothing of it goes out',
  async (_name, [act, told]) => {
    let thrown: unknown
    await using server = await startServer(async (session) => {
      await session.writeResponseHeader(head(), -1)
      try {
        act(session)
      } catch (error) {
        thrown = error
      }
      session.endResponse(['x', 'fine'])
    })
    expect(await exchange(server.port, POST)).toMatch(/close\r\n\r\n0\r\nx: fine\r\n\r\n$/)
    expect(String(thrown)).toMatch(told)
  },
)

test.each<[string, HttpServerApp]>([
  ['onError throws', serveHttp(boom, {}, boom)],
  ['onError throws behind a promise', serveHttp(async () => boom(), {}, boom)],
  ['onError rejects', serveHttp(boom, {}, (async () => boom()) as never)],
  ['a thenable rejects', serveHttp(() => rejecting())],
  ['onSession throws', new HttpServerApp({ onSession: boom })],
  ['onSession rejects', new HttpServerApp({ onSession: async () => boom() })],
])('%s: the request fails, and nothing else', async (_name, app) => {
  await using server = await startApp(app)
  for (let i = 0; i < 2; i++) expect(await exchange(server.port, POST)).toMatch(/^HTTP\/1\.1 500 /)
})

test('onSession that throws within a response cuts it', async () => {
  const app = new HttpServerApp({
    onSession(session) {
      session.writeHead(head(), 5)
      session.writeBody(Buffer.from('ab'), 0, 2)
      session.flush()
      boom()
    },
  })
  await using server = await startApp(app)
  expect(await exchange(server.port, POST)).toMatch(/^(HTTP\/1\.1 200 [\s\S]*\r\n\r\nab)?$/)
})
