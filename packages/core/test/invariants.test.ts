import type { Socket } from 'node:net'
import { ResponseHeader } from '@cirque/http'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  HEADERS,
  RST_STREAM,
} from '../../../scripts/test-support/http2-frames.ts'
import { listening, movesOf } from '../../../scripts/test-support/invariants.ts'
import { BODY, CLIENT_STATES, IDLE } from '../src/http1/client-states.ts'
import * as server from '../src/http1/server-states.ts'
import { HttpServerApp, type ServerSession, WRITE_DONE, WRITE_FULL } from '../src/index.ts'
import {
  COMING,
  COMPLETE,
  REQUEST_STATES,
  RESPONSE_STATES,
  TUNNEL_ENDED,
} from '../src/sessions/session-states.ts'
import { startApp } from './support/http-server.ts'
import { connectRaw, exchange, turn } from './support/raw-client.ts'
import { connectRawHttp2, request } from './support/raw-http2.ts'
import { answering, Recorder, requestOf, send, startConnector, startUpstream } from './support/upstream.ts'

interface Machine {
  become(next: number): boolean
}

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'

test('connections and exchanges of HTTP/1 go their way, and end from wherever they are', () => {
  expect(movesOf(server.SERVER_STATES)).toEqual({
    idle: ['head', 'exchange', 'linger', 'closed'],
    head: ['exchange', 'linger', 'closed'],
    exchange: ['idle', 'discard', 'tunnel', 'linger', 'closed'],
    discard: ['idle', 'linger', 'closed'],
    tunnel: ['linger', 'closed'],
    linger: ['closed'],
    closed: [],
  })
  expect(movesOf(CLIENT_STATES)).toEqual({
    idle: ['head', 'closed'],
    head: ['body', 'tunnel', 'closed'],
    body: ['complete', 'closed'],
    complete: ['idle', 'closed'],
    tunnel: ['closed'],
    closed: [],
  })
  expect(movesOf(REQUEST_STATES)).toEqual({
    coming: ['dropped', 'failed', 'tunnelled', 'ended'],
    dropped: ['ended'],
    failed: [],
    tunnelled: ['failed', 'ended'],
    ended: ['failed', 'tunnelled'],
  })
  const written = ['complete', 'cut']
  expect(movesOf(RESPONSE_STATES)).toEqual({
    unwritten: ['bodyless', 'length', 'chunked', 'until end', 'tunnel', 'cut'],
    bodyless: written,
    length: written,
    chunked: written,
    'until end': written,
    tunnel: ['tunnel ended', ...written],
    'tunnel ended': written,
    complete: [],
    cut: [],
  })
})

test('a connection to an upstream that breaks its states is destroyed, told of, and never pooled', async () => {
  using channel = listening()
  await using upstream = await startUpstream(answering(OK))
  await using connector = startConnector()
  const session = await connector.session(upstream.peer())
  const recorder = send(session)
  ;(session as unknown as Machine).become(IDLE)
  await recorder.done
  expect(recorder.error).toMatchObject({ code: 'INVARIANT_BROKEN', source: 'internal', retry: 'never' })
  expect(connector.stats()).toMatchObject({ idle: 0, open: 0, broken: 1 })
  expect(channel.messages).toMatchObject([{ machine: 'connection to an upstream', from: 'head', to: 'idle' }])
})

test('a connection that breaks its states on the way to the pool is destroyed', async () => {
  using channel = listening()
  await using upstream = await startUpstream(answering(OK))
  await using connector = startConnector()
  const session = await connector.session(upstream.peer())
  await send(session).done
  // As if nobody had noticed that the response is complete.
  Object.assign(session, { state: BODY })
  Object.defineProperty(session, 'reusable', { value: true })
  connector.release(session)
  expect(channel.messages).toMatchObject([{ from: 'body', to: 'idle' }])
  await until(() => upstream.sockets.every((socket) => socket.readableEnded || socket.destroyed))
  expect(connector.stats()).toMatchObject({ idle: 0, open: 0 })
})

/** Moves that only a defect of ours could ask for. */
const BREAKS: Readonly<Record<string, (session: ServerSession) => boolean>> = {
  'connection of a client': (session) => inside(session).connection.become(server.HEAD),
  'request of a client': (session) => inside(session).becomeRequest(COMING),
  'response to a client': (session) => inside(session).becomeResponse(TUNNEL_ENDED),
}

interface Inside {
  readonly connection: Machine
  becomeRequest(next: number): boolean
  becomeResponse(next: number): boolean
}

const inside = (session: ServerSession): Inside => session as unknown as Inside

test.each(Object.keys(BREAKS))(
  'a broken %s is answered 500 and closes its connection; one whose response has begun is cut',
  async (machine) => {
    using channel = listening()
    const errors: string[] = []
    const app = new HttpServerApp({
      onSession(session) {
        session.handler = {
          onRequestData: () => WRITE_DONE,
          onRequestEnd: () => undefined,
          onDownstreamDrain: () => undefined,
          onDownstreamAbort(error) {
            errors.push(error.code)
            if (session.closed) return
            session.writeHead(ResponseHeader.build(500), 0)
            session.endResponse(null)
          },
        }
        if (session.request.path === '/begun') {
          session.writeHead(ResponseHeader.build(200), 9)
          session.writeBody(Buffer.from('half'), 0, 4)
          session.flush()
        }
        expect(BREAKS[machine]?.(session)).toBe(false)
      },
    })
    await using running = await startApp(app)
    await using other = await connectRaw(running.port)
    expect(await exchange(running.port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n')).toMatch(/^HTTP\/1\.1 500 /)
    expect(await exchange(running.port, 'GET /begun HTTP/1.1\r\nHost: a\r\n\r\n')).toMatch(/^$|half$/)
    expect(errors).toEqual(['INVARIANT_BROKEN', 'INVARIANT_BROKEN'])
    expect(channel.messages.map((message) => message.machine)).toEqual([machine, machine])
    expect(other.socket.closed).toBe(false)
    expect(app.stats()).toMatchObject({ connections: 1, broken: 2 })
  },
)

test('nothing is read for an exchange whose states are broken, even if its handler asks for more', async () => {
  const heard: string[] = []
  const app = new HttpServerApp({
    onSession(session) {
      session.handler = {
        onRequestData: (buffer, start, end) => {
          heard.push(buffer.toString('latin1', start, end))
          return WRITE_DONE
        },
        onRequestEnd: () => void inside(session).becomeRequest(COMING),
        onDownstreamDrain: () => undefined,
        onDownstreamAbort(error) {
          heard.push(error.code)
          session.resumeRequestBody()
          session.writeHead(ResponseHeader.build(500), 0)
          session.endResponse(null)
        },
      }
      session.resumeRequestBody()
    },
  })
  await using running = await startApp(app)
  const ask = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nokGET /next HTTP/1.1\r\nHost: a\r\n\r\n'
  expect(await exchange(running.port, ask)).toMatch(/^HTTP\/1\.1 500 (?!.*HTTP)/s)
  expect(heard).toEqual(['ok', 'INVARIANT_BROKEN'])
  expect(app.stats().requests).toBe(1)
})

test('an exchange that breaks its states after its end takes the connection along', async () => {
  const app = new HttpServerApp({
    onSession(session) {
      session.writeHead(ResponseHeader.build(200), 0)
      session.endResponse(null)
      expect(inside(session).becomeResponse(COMPLETE)).toBe(false)
    },
  })
  await using running = await startApp(app)
  const reply = await exchange(
    running.port,
    'GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n',
  )
  expect(reply.split('HTTP/1.1').length).toBeLessThan(3)
  expect(app.stats()).toMatchObject({ requests: 1, broken: 1 })
})

/** What a session is told to do in the wrong order is its caller's fault: the exchange ends, and no invariant breaks. */
const MISUSES: Readonly<Record<string, (session: ServerSession) => void>> = {
  'a body before its head': (session) => session.writeBody(Buffer.alloc(4_000, 'e'), 0, 4_000),
  'an end before its head': (session) => session.endResponse(null),
  'a 101 that nobody asked for': (session) => session.writeHead(ResponseHeader.build(101), -1),
  'too long a body': (session) => {
    session.writeHead(ResponseHeader.build(200), 2)
    session.writeBody(Buffer.from('long'), 0, 4)
  },
}

test.each(Object.keys(MISUSES))('%s cuts the exchange and is no broken invariant', async (misuse) => {
  using channel = listening()
  const sessions: ServerSession[] = []
  const app = new HttpServerApp(
    {
      onSession(session) {
        sessions.push(session)
        MISUSES[misuse]?.(session)
        // What still comes has no effect.
        session.writeBody(Buffer.from('late'), 0, 4)
        session.endResponse(null)
      },
    },
    { h2c: true },
  )
  await using running = await startApp(app)
  expect(await exchange(running.port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n')).toBe('')
  await using client = await connectRawHttp2(running.port)
  client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, request('/')))
  await client.see(RST_STREAM)
  expect(client.frames.some(({ type }) => type === DATA)).toBe(false)
  expect(sessions.map(({ closed, responseEnded }) => [closed, responseEnded])).toEqual([
    [true, false],
    [true, false],
  ])
  expect([channel.messages, app.stats().broken]).toEqual([[], 0])
})

test('what is written to a tunnel after its end goes nowhere, and the other side goes on', async () => {
  const heard: string[] = []
  await using running = await startApp(
    new HttpServerApp({
      onSession(session) {
        session.handler = {
          onRequestData: (buffer, start, end) => {
            heard.push(buffer.toString('latin1', start, end))
            return WRITE_DONE
          },
          onRequestEnd: () => void heard.push('end'),
          onDownstreamDrain: () => undefined,
          onDownstreamAbort: ({ code }) => void heard.push(code),
        }
        session.writeHead(ResponseHeader.build(101), -1)
        session.writeBody(Buffer.from('last'), 0, 4)
        session.endResponse(null)
        session.writeBody(Buffer.from('late'), 0, 4)
        session.flush()
        session.resumeRequestBody()
      },
    }),
  )
  await using client = await connectRaw(running.port)
  client.send('GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n')
  expect(await client.rest()).toMatch(/\r\n\r\nlast$/)
  client.send('more').end()
  await until(() => heard.length === 2)
  expect(heard).toEqual(['more', 'end'])
})

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await turn()
}

// --- the models: whatever comes, no illegal move is asked for ----------------------------------------------------

const RUNS = { numRuns: 150 }

/** Sends `pieces`, a turn of the event loop after each or not. */
async function play(socket: Socket, pieces: readonly (readonly [string, boolean])[]): Promise<void> {
  for (const [piece, pause] of pieces) {
    if (socket.destroyed) return
    if (piece === 'END') socket.end()
    // A reset right behind an end is one that Node.js may never tell the close of.
    else if (piece === 'RESET' && !socket.writableEnded) socket.resetAndDestroy()
    else if (piece === 'RESET' || piece === 'CUT') socket.destroy()
    else if (socket.writable) socket.write(piece, 'latin1')
    if (pause) await turn()
  }
}

const pieces = (...texts: string[]) =>
  fc.array(fc.tuple(fc.constantFrom(...texts, 'END', 'RESET', 'CUT'), fc.boolean()), { maxLength: 8 })

const requests = pieces(
  'GET /now HTTP/1.1\r\nHost: a\r\n\r\n',
  'GET /later HTTP/1.1\r\nHost: a\r\n\r\n',
  'GET /now HTTP/1.0\r\n\r\n',
  'GET /tunnel HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n',
  'POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo',
  'POST /now HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo',
  'POST /later HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n',
  'POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n',
  '0\r\n\r\n',
  'dy',
  '\r\n',
  'GET /cut HTTP/1.1\r\nHost: a\r\n\r\n',
  'GET /now HTTP/1.1\r\nHo',
  'st: a\r\n\r\n',
  'nonsense\r\n\r\n',
)

/** Answers by the path, also after the client has broken its request. */
function serve(session: ServerSession): void {
  const answer = (status: number): void => {
    if (session.closed || session.responseStatus !== 0) return
    session.writeHead(ResponseHeader.build(status), status === 101 ? -1 : 2)
    if (status !== 101) session.writeBody(Buffer.from('ok'), 0, 2)
    session.endResponse(null)
  }
  const { path } = session.request
  session.handler = {
    onRequestData: () => WRITE_DONE,
    onRequestEnd: () => (path === '/read' ? answer(200) : undefined),
    onDownstreamDrain: () => undefined,
    onDownstreamAbort: () => answer(400),
  }
  if (path === '/cut') session.destroy()
  else if (path === '/read') session.resumeRequestBody()
  else if (path === '/tunnel' && session.isUpgrade) {
    session.writeHead(ResponseHeader.build(101), -1)
    session.flush()
    session.resumeRequestBody()
    setImmediate(() => session.endResponse(null))
  } else if (path === '/later') setImmediate(answer, 200)
  else answer(200)
}

test('no bytes of a client make its connection break its states, or keep it from closing', async () => {
  using channel = listening()
  await using running = await startApp(
    new HttpServerApp({ onSession: serve }, { lingerTimeoutMs: 20, headTimeoutMs: 20, bodyTimeoutMs: 20 }),
  )
  await fc.assert(
    fc.asyncProperty(requests, async (script) => {
      await using client = await connectRaw(running.port)
      await play(client.socket, script)
      client.socket.destroy()
    }),
    RUNS,
  )
  expect(channel.messages).toEqual([])
})

const responses = pieces(
  OK,
  'HTTP/1.1 200 OK\r\nContent-Le',
  'ngth: 2\r\n\r\nok',
  'HTTP/1.1 103 Early Hints\r\n\r\n',
  'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n',
  '0\r\n\r\n',
  'HTTP/1.1 200 OK\r\n\r\nuntil the end',
  'HTTP/1.1 204 No Content\r\n\r\n',
  'nonsense\r\n\r\n',
)

const ACTS = ['send', 'upgrade', 'post', 'body', 'end', 'resume', 'release', 'destroy', 'turn'] as const

test('no bytes of an upstream and no use of its session make a connection break its states', async () => {
  using channel = listening()
  await fc.assert(
    fc.asyncProperty(
      responses,
      fc.array(fc.constantFrom(...ACTS), { maxLength: 12 }),
      fc.boolean(),
      async (script, acts, full) => {
        await using upstream = await startUpstream((socket) => {
          socket.on('end', () => socket.end())
          socket.once('data', () => void play(socket, script))
        })
        await using connector = startConnector()
        const peer = upstream.peer({ readTimeoutMs: 20, writeTimeoutMs: 20 })
        const session = await connector.session(peer)
        const recorder = new Recorder()
        recorder.result = full ? WRITE_FULL : WRITE_DONE
        session.handler = recorder
        let begun = false
        for (const act of acts) {
          if (act === 'turn') await turn()
          else if (act === 'destroy') session.destroy()
          else if (act === 'resume') session.resumeResponse()
          else if (act === 'release') break
          else if (!begun) {
            begun = true
            const post = act === 'post' || act === 'body'
            session.sendHead(requestOf(post ? 'POST' : 'GET'), post ? -1 : 0, act === 'upgrade')
            if (post) session.flush()
            else session.endRequest(null)
          } else if (act === 'body') session.writeBody(Buffer.from('ab'), 0, 2)
          else if (act === 'end') session.endRequest(null)
        }
        connector.release(session)
        // What is idle must stand it, too.
        await turn()
        const next = connector.acquire(peer)
        if (next !== null) {
          const second = send(next)
          await turn()
          if (second.error === undefined) connector.release(next)
        }
      },
    ),
    RUNS,
  )
  expect(channel.messages).toEqual([])
})
