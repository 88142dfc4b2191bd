import { once } from 'node:events'
import type { Socket } from 'node:net'
import type { ProxyError } from '@cirque/error'
import { ResponseHeader } from '@cirque/http'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  ACK,
  block,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  GOAWAY,
  HEADERS,
  NOTHING,
  PING,
  RST_STREAM,
  SETTINGS,
  settings,
  uint32,
  WINDOW_UPDATE,
} from '../../../scripts/test-support/http2-frames.ts'
import { listening, movesOf } from '../../../scripts/test-support/invariants.ts'
import { HTTP2_CLIENT_STATES } from '../src/http2/client-connection-states.ts'
import { HTTP2_SESSION_STATES } from '../src/http2/client-session-states.ts'
import { HTTP2_SERVER_STATES } from '../src/http2/server-connection-states.ts'
import {
  type ClientSession,
  type Connector,
  HttpServerApp,
  type ServerSession,
  WRITE_DONE,
  WRITE_FULL,
} from '../src/index.ts'
import { COMING, COMPLETE, UNWRITTEN } from '../src/sessions/session-states.ts'
import { startApp, type TestServer } from './support/http-server.ts'
import { startHttp2Upstream } from './support/http2-upstream.ts'
import { exchange, turn } from './support/raw-client.ts'
import { connectRawHttp2, request } from './support/raw-http2.ts'
import { Recorder, requestOf, send, startConnector, type Upstream } from './support/upstream.ts'

/** Whatever has states: the session, its connection, its stream. */
interface Machine {
  become(next: number): boolean
}

interface Inside {
  readonly connection: Machine
  readonly stream: Machine
  becomeRequest(next: number): boolean
  becomeResponse(next: number): boolean
}

const INTERNAL_ERROR = 2

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await turn()
}

test('connections and exchanges of HTTP/2 go their way down, and end from wherever they are', () => {
  expect(movesOf(HTTP2_SERVER_STATES)).toEqual({
    open: ['closing', 'linger', 'closed'],
    closing: ['linger', 'closed'],
    linger: ['closed'],
    closed: [],
  })
  expect(movesOf(HTTP2_CLIENT_STATES)).toEqual({
    open: ['retired', 'closed'],
    retired: ['closing', 'closed'],
    closing: ['closed'],
    closed: [],
  })
  expect(movesOf(HTTP2_SESSION_STATES)).toEqual({
    new: ['head', 'closed'],
    head: ['body', 'tunnel', 'closed'],
    body: ['complete', 'whole', 'closed'],
    tunnel: ['complete', 'closed'],
    complete: ['done', 'closed'],
    whole: ['done', 'linger', 'closed'],
    done: ['closed'],
    linger: ['closed'],
    closed: [],
  })
})

// --- clients -----------------------------------------------------------------------------------------------------

/** Answers 500 to what is broken before its response, and waits for `/other` to be answered by the test. */
function startBreakable(sessions: ServerSession[], errors: string[]): Promise<TestServer> {
  return startApp(
    new HttpServerApp(
      {
        onSession(session) {
          sessions.push(session)
          session.handler = {
            onRequestData: () => WRITE_DONE,
            onRequestEnd: () => undefined,
            onDownstreamDrain: () => undefined,
            onDownstreamAbort(error) {
              errors.push(error.code)
              if (!session.closed) answer(session, 500)
            },
          }
        },
      },
      { h2c: true },
    ),
  )
}

function answer(session: ServerSession, status: number): void {
  session.writeHead(ResponseHeader.build(status), 2)
  session.writeBody(Buffer.from('ok'), 0, 2)
  session.endResponse(null)
}

const inside = (session: ServerSession | ClientSession): Inside => session as unknown as Inside

test('an exchange of HTTP/2 that breaks its states is answered 500 later on, or is reset', async () => {
  using channel = listening()
  const sessions: ServerSession[] = []
  const errors: string[] = []
  await using server = await startBreakable(sessions, errors)
  await using client = await connectRawHttp2(server.port)
  for (const id of [1, 3, 5]) client.send(frame(HEADERS, END_HEADERS | END_STREAM, id, request('/')))
  await until(() => sessions.length === 3)
  const [unanswered, begun, over] = sessions as [ServerSession, ServerSession, ServerSession]
  begun.writeHead(ResponseHeader.build(200), 9)
  answer(over, 200)
  expect(inside(unanswered).becomeRequest(COMING)).toBe(false)
  expect(inside(begun).becomeResponse(UNWRITTEN)).toBe(false)
  expect(inside(over).becomeResponse(COMPLETE)).toBe(false)
  await client.see(RST_STREAM, ({ stream }) => stream === 3)
  await client.see(DATA, ({ stream }) => stream === 1)
  await client.see(DATA, ({ stream }) => stream === 5)
  expect(unanswered.responseStatus).toBe(500)
  expect(client.frames.filter(({ type }) => type === RST_STREAM)).toHaveLength(1)
  expect(errors).toEqual(['INVARIANT_BROKEN', 'INVARIANT_BROKEN'])
  expect(server.app.stats().broken).toBe(3)
  expect(channel.messages.map(({ machine }) => machine)).toEqual([
    'request of a client',
    'response to a client',
    'response to a client',
  ])
})

test('a stream of a client that breaks its states is answered 500, or reset; others and other clients go on', async () => {
  using channel = listening()
  const sessions: ServerSession[] = []
  const errors: string[] = []
  await using server = await startBreakable(sessions, errors)
  await using client = await connectRawHttp2(server.port)
  const ask = (id: number) => frame(HEADERS, END_HEADERS | END_STREAM, id, request('/'))
  client.send(ask(1), ask(3), ask(5), ask(7))
  await until(() => sessions.length === 4)
  const [unanswered, begun, other, silent] = sessions as [
    ServerSession,
    ServerSession,
    ServerSession,
    ServerSession,
  ]
  // Nobody answers this one.
  silent.handler = null
  begun.writeHead(ResponseHeader.build(200), 9)
  begun.writeBody(Buffer.from('half'), 0, 4)
  for (const session of [unanswered, begun, silent]) expect(inside(session).stream.become(4)).toBe(false)
  answer(other, 200)

  await client.see(DATA, ({ stream, flags }) => stream === 5 && flags === END_STREAM)
  const statuses = client.frames.filter(({ type }) => type === HEADERS).map(({ stream }) => stream)
  expect(statuses.sort()).toEqual([1, 3, 5])
  for (const id of [3, 7]) {
    const { payload } = await client.see(RST_STREAM, ({ stream }) => stream === id)
    expect(payload.readUInt32BE(0)).toBe(INTERNAL_ERROR)
  }
  expect(client.frames.some(({ type, stream }) => type === RST_STREAM && stream === 1)).toBe(false)
  // It takes no more requests, and is none of the peer's faults.
  await client.see(GOAWAY)
  expect(client.goawayCode).toBe(0)
  expect(errors).toEqual(['INVARIANT_BROKEN', 'INVARIANT_BROKEN'])
  expect(unanswered.responseStatus).toBe(500)
  expect(sessions.every(({ closed }) => closed)).toBe(true)
  expect(server.app.stats()).toMatchObject({ broken: 3, refusedHeads: {}, http2: { floods: 0 } })
  expect(channel.messages.map(({ machine }) => machine)).toEqual(Array(3).fill('HTTP/2 stream'))
})

test('a connection of a client that breaks its states ends all its exchanges, and no other connection', async () => {
  using channel = listening()
  const sessions: ServerSession[] = []
  const errors: string[] = []
  await using server = await startBreakable(sessions, errors)
  await using client = await connectRawHttp2(server.port)
  await using other = await connectRawHttp2(server.port)
  for (const each of [client, other]) {
    const before = sessions.length
    each.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, request('/')))
    each.send(frame(HEADERS, END_HEADERS, 3, request('/', [], 'POST')))
    await until(() => sessions.length === before + 2)
  }
  const [first, second, third] = sessions as [ServerSession, ServerSession, ServerSession]
  expect(inside(first).connection.become(0)).toBe(false)
  await client.end()
  expect([first.closed, second.closed, third.closed]).toEqual([true, true, false])
  expect(errors).toEqual(['INVARIANT_BROKEN', 'INVARIANT_BROKEN'])
  expect(server.app.stats()).toMatchObject({ connections: 1, broken: 1, refusedHeads: {} })
  expect(channel.messages).toMatchObject([
    { machine: 'HTTP/2 connection of a client', from: 'open', to: 'open' },
  ])
  answer(third, 200)
  await other.see(DATA, ({ stream }) => stream === 1)
})

test('a tunnel of HTTP/2 is over when both sides have ended, whoever is first', async () => {
  const sessions: ServerSession[] = []
  const heard: string[] = []
  await using server = await startApp(
    new HttpServerApp(
      {
        onSession(session) {
          sessions.push(session)
          session.handler = {
            onRequestData: (buffer, start, end) => {
              heard.push(buffer.toString('latin1', start, end))
              return WRITE_DONE
            },
            onRequestEnd: () => void heard.push('end'),
            onDownstreamDrain: () => undefined,
            onDownstreamAbort: () => void heard.push('abort'),
          }
          session.writeHead(ResponseHeader.build(101), -1)
          session.resumeRequestBody()
        },
      },
      { h2c: true },
    ),
  )
  await using client = await connectRawHttp2(server.port)
  for (const id of [1, 3])
    client.send(frame(HEADERS, END_HEADERS, id, block([':method', 'CONNECT', ':authority', 'a:1'])))
  await until(() => sessions.length === 2)
  const [first, second] = sessions as [ServerSession, ServerSession]
  const told = ({ requestEnded, responseEnded, closed }: ServerSession) => [
    requestEnded,
    responseEnded,
    closed,
  ]

  first.endResponse(null)
  await client.see(DATA, ({ stream, flags }) => stream === 1 && flags === END_STREAM)
  expect(told(first)).toEqual([false, true, false])
  first.writeBody(Buffer.from('late'), 0, 4)
  client.send(frame(DATA, 0, 1, Buffer.from('more')), frame(DATA, END_STREAM, 1))
  await until(() => first.closed)
  expect([told(first), heard]).toEqual([
    [true, true, true],
    ['more', 'end'],
  ])

  client.send(frame(DATA, END_STREAM, 3))
  await until(() => second.requestEnded)
  expect(told(second)).toEqual([true, false, false])
  second.endResponse(null)
  expect(told(second)).toEqual([true, true, true])
  await client.see(DATA, ({ stream, flags }) => stream === 3 && flags === END_STREAM)
  expect(client.frames.some(({ payload }) => payload.includes('late'))).toBe(false)
  expect(heard).toEqual(['more', 'end', 'end'])
})

test('a handler that cuts its exchange within a run of the body hears nothing more of it', async () => {
  const heard: string[] = []
  await using server = await startApp(
    new HttpServerApp(
      {
        onSession(session) {
          session.handler = {
            onRequestData: () => {
              session.destroy()
              return WRITE_DONE
            },
            onRequestEnd: () => void heard.push('end'),
            onDownstreamDrain: () => undefined,
            onDownstreamAbort: () => void heard.push('abort'),
          }
          session.resumeRequestBody()
        },
      },
      { h2c: true },
    ),
  )
  await using client = await connectRawHttp2(server.port)
  client.send(frame(HEADERS, END_HEADERS, 1, request('/', [], 'POST')), okBody(1))
  await client.see(RST_STREAM)
  expect(await exchange(server.port, 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok')).toBe('')
  expect(heard).toEqual([])
})

// --- upstreams ---------------------------------------------------------------------------------------------------

/** An HTTP/2 upstream that takes extended CONNECT, and does `onHead` for each HEADERS. */
function startPeer(onHead: (socket: Socket, stream: number) => void): Promise<Upstream> {
  return startHttp2Upstream(settings([8, 1]), onHead)
}

/** Connections of HTTP/2 close once their last frames are written. */
async function close(connector: Connector): Promise<void> {
  connector.close()
  await until(() => connector.stats().open === 0)
}

const okHead = (stream: number, status = '200', flags = 0): Buffer =>
  frame(HEADERS, END_HEADERS | flags, stream, block([':status', status]))
const okBody = (stream: number, flags: number = END_STREAM): Buffer =>
  frame(DATA, flags, stream, Buffer.from('ok'))

test.each(['exchange', 'stream'])(
  'an %s with an upstream that breaks its states fails alone; its connection takes no more',
  async (what) => {
    using channel = listening()
    let told = 0
    let socket: Socket | undefined
    await using upstream = await startPeer((from, stream) => {
      told++
      socket = from
      from.write(okHead(stream))
    })
    await using connector = startConnector()
    const peer = upstream.peer({ httpVersion: 2 })
    const [broken, other] = [await connector.session(peer), await connector.session(peer)]
    const [failing, fine] = [send(broken), send(other)]
    await until(() => told === 2 && failing.head !== undefined && fine.head !== undefined)
    const machine = what === 'stream' ? inside(broken).stream : (broken as unknown as Machine)
    expect(machine.become(what === 'stream' ? 4 : 0)).toBe(false)
    await failing.done
    expect(failing.error).toMatchObject({ code: 'INVARIANT_BROKEN', source: 'internal', retry: 'never' })

    // The next one goes elsewhere, and the one beside it ends as it should.
    const next = await connector.session(peer)
    const third = send(next)
    await until(() => told === 3)
    expect(upstream.sockets).toHaveLength(2)
    socket?.write(okBody(1))
    await third.done
    upstream.sockets[0]?.write(okBody(3))
    await fine.done
    for (const session of [other, next]) connector.release(session)
    expect([fine.body, fine.error, third.error]).toEqual(['ok', undefined, undefined])
    await until(() => connector.stats().open === 1)
    await close(connector)
    expect(connector.stats().broken).toBe(1)
    expect(channel.messages).toHaveLength(1)
  },
)

test('a connection to an upstream that breaks its states fails all its exchanges', async () => {
  using channel = listening()
  await using upstream = await startPeer((socket, stream) => socket.write(okHead(stream)))
  await using connector = startConnector()
  const peer = upstream.peer({ httpVersion: 2 })
  const sessions = [await connector.session(peer), await connector.session(peer)]
  const recorders = sessions.map((session) => send(session))
  await until(() => recorders.every(({ head }) => head !== undefined))
  expect(inside(sessions[0] as ClientSession).connection.become(2)).toBe(false)
  expect(connector.stats()).toMatchObject({ open: 0, broken: 1 })
  for (const { done } of recorders) {
    expect((await done).error).toMatchObject({ code: 'INVARIANT_BROKEN', source: 'internal', retry: 'never' })
  }
  expect(channel.messages).toMatchObject([
    { machine: 'HTTP/2 connection to an upstream', from: 'open', to: 'closing' },
  ])
})

test('an upgrade that an HTTP/2 upstream does not grant leaves no stream behind', async () => {
  await using upstream = await startPeer((socket, stream) => socket.write(okHead(stream, '403', END_STREAM)))
  await using connector = startConnector()
  const session = await connector.session(upstream.peer({ httpVersion: 2 }))
  const recorder = new Recorder()
  session.handler = recorder
  const fields: [string, string][] = [
    ['Upgrade', 'websocket'],
    ['Sec-WebSocket-Key', 'dGhlIHNhbXBsZSBub25jZQ=='],
  ]
  session.sendHead(requestOf('GET', '/', fields), 0, true)
  session.endRequest(null)
  await recorder.done
  const { connection } = session as unknown as { connection: { engine: { openStreams: number } } }
  const left = connection.engine.openStreams
  connector.release(session)
  await close(connector)
  expect([recorder.head?.status, left]).toEqual([403, 0])
})

test.each([
  ['before', false],
  ['after', true],
])(
  'a stream may end when its response was taken for whole without that, %s its owner has let go',
  async (_when, isReleased) => {
    using channel = listening()
    await using upstream = await startPeer((socket, stream) =>
      socket.write(
        Buffer.concat([
          frame(HEADERS, END_HEADERS, stream, block([':status', '200', 'content-length', '2'])),
          okBody(stream, 0),
        ]),
      ),
    )
    await using connector = startConnector()
    const peer = upstream.peer({ httpVersion: 2 })
    const session = await connector.session(peer)
    const recorder = await send(session).done
    if (isReleased) connector.release(session)
    expect([recorder.body, recorder.ended, connector.stats().idle]).toEqual(['ok', true, 0])
    const [socket] = upstream.sockets as [Socket]
    const answered = once(socket, 'data')
    socket.write(Buffer.concat([frame(DATA, END_STREAM, 1), frame(PING, 0, 0, Buffer.alloc(8))]))
    await answered
    expect(connector.stats().idle).toBe(1)
    if (!isReleased) connector.release(session)
    expect(connector.stats()).toMatchObject({ idle: 1, open: 1, broken: 0 })
    await close(connector)
    expect(channel.messages).toEqual([])
  },
)

// --- the models: whatever comes, no illegal move is asked for ----------------------------------------------------

const RUNS = { numRuns: 100 }
const ids = fc.constantFrom(1, 3, 5)
const ends = fc.constantFrom(0, END_STREAM)
const bodies = fc.constantFrom(NOTHING, Buffer.from('a'), Buffer.alloc(3_000))

type Piece = Buffer | 'END' | 'RESET' | 'CUT'

/** Frames of either side, and how it leaves. */
const pieces = (head: fc.Arbitrary<Buffer>) =>
  fc.array(
    fc.tuple(
      fc.oneof(
        { arbitrary: head, weight: 5 },
        {
          arbitrary: fc.tuple(ids, ends, bodies).map(([id, end, body]) => frame(DATA, end, id, body)),
          weight: 4,
        },
        fc
          .tuple(ids, fc.constantFrom(0, 7, 8, 13))
          .map(([id, code]) => frame(RST_STREAM, 0, id, uint32(code))),
        fc
          .tuple(fc.constantFrom(0, 1, 3), fc.nat(70_000))
          .map(([id, by]) => frame(WINDOW_UPDATE, 0, id, uint32(by))),
        fc.constantFrom(0, 100, 65_535).map((window) => frame(SETTINGS, 0, 0, settings([4, window]))),
        fc.tuple(ids, fc.nat(2)).map(([id, code]) => frame(GOAWAY, 0, 0, uint32(id, code))),
        fc.constantFrom<Piece>('END', 'RESET', 'CUT', Buffer.from('nonsense')),
      ),
      fc.boolean(),
    ),
    { maxLength: 8 },
  )

async function play(socket: Socket, script: readonly (readonly [Piece, boolean])[]): Promise<void> {
  for (const [piece, pause] of script) {
    if (socket.destroyed) return
    if (piece === 'END') socket.end()
    // A reset right behind an end is one that Node.js may never tell the close of.
    else if (piece === 'RESET' && !socket.writableEnded) socket.resetAndDestroy()
    else if (piece === 'RESET' || piece === 'CUT') socket.destroy()
    else if (socket.writable) socket.write(piece)
    if (pause) await turn()
  }
}

const DRAIN_PING = uint32(0x63_69_72_71, 1)

const requests = pieces(
  fc
    .tuple(
      ids,
      ends,
      fc.constantFrom('/now', '/later', '/read', '/cut', '/long', '/tunnel', '/drain'),
      fc.boolean(),
    )
    .map(([id, end, path, posts]) =>
      path === '/tunnel'
        ? frame(HEADERS, END_HEADERS | end, id, block([':method', 'CONNECT', ':authority', 'a:1']))
        : Buffer.concat([
            frame(HEADERS, END_HEADERS | end, id, request(path, [], posts ? 'POST' : 'GET')),
            // What answers the ping of a drain: the last stream is named now.
            path === '/drain' ? frame(PING, ACK, 0, DRAIN_PING) : NOTHING,
          ]),
    ),
)

/** Answers by the path, also after the client has broken its request. */
function serve(session: ServerSession): void {
  const reply = (status: number): void => {
    if (session.closed || session.responseStatus !== 0) return
    session.writeHead(ResponseHeader.build(status), status === 101 ? -1 : 2)
    if (status !== 101) session.writeBody(Buffer.from('ok'), 0, 2)
    session.endResponse(status === 200 ? ['a', 'b'] : null)
  }
  const { path } = session.request
  session.handler = {
    onRequestData: () => WRITE_DONE,
    onRequestEnd: () => (path === '/read' ? reply(200) : undefined),
    onDownstreamDrain: () => undefined,
    onDownstreamAbort: () => reply(400),
  }
  if (path === '/drain') (inside(session).connection as unknown as { drain(): void }).drain()
  if (path === '/cut') session.destroy()
  else if (path === '/read') session.resumeRequestBody()
  else if (session.isUpgrade) {
    session.writeHead(ResponseHeader.build(101), -1)
    session.resumeRequestBody()
    setImmediate(() => session.endResponse(null))
  } else if (path === '/later') setImmediate(reply, 200)
  else if (path === '/long') {
    session.writeHead(ResponseHeader.build(200), -1)
    session.writeBody(Buffer.alloc(200_000), 0, 200_000)
    setImmediate(() => session.endResponse(null))
  } else reply(200)
}

test('no frames of a client make its connection or its exchanges break their states', async () => {
  using channel = listening()
  const options = { h2c: true, lingerTimeoutMs: 20, headTimeoutMs: 20, bodyTimeoutMs: 20, writeTimeoutMs: 40 }
  const app = new HttpServerApp({ onSession: serve }, options)
  await using running = await startApp(app)
  await fc.assert(
    fc.asyncProperty(requests, async (script) => {
      await using client = await connectRawHttp2(running.port)
      await play(client.socket, script)
      client.socket.destroy()
    }),
    RUNS,
  )
  await running.drained()
  expect(channel.messages).toEqual([])
  expect(app.stats().broken).toBe(0)
})

const responses = pieces(
  fc.oneof(
    fc
      .tuple(ids, ends, fc.constantFrom('200', '103', '204', '403'))
      .map(([id, end, status]) => okHead(id, status, end)),
    fc
      .tuple(ids, ends)
      .map(([id, end]) =>
        frame(HEADERS, END_HEADERS | end, id, block([':status', '200', 'content-length', '2'])),
      ),
    ids.map((id) => frame(HEADERS, END_HEADERS | END_STREAM, id, block(['x', 'y']))),
    fc.constant(frame(SETTINGS, ACK, 0)),
  ),
)

const ACTS = [
  'send',
  'upgrade',
  'post',
  'body',
  'end',
  'resume',
  'destroy',
  'retire',
  'turn',
  'wait',
] as const

/** Its request may fail after the response is complete. */
class Sender extends Recorder {
  override onUpstreamError(error: ProxyError): void {
    if (this.error !== undefined) throw new Error('A second error')
    this.error = error
  }
}

test('no frames of an upstream and no use of its sessions make them break their states', async () => {
  using channel = listening()
  await fc.assert(
    fc.asyncProperty(
      responses,
      fc.array(fc.tuple(fc.nat(1), fc.constantFrom(...ACTS)), { maxLength: 14 }),
      fc.boolean(),
      async (script, acts, full) => {
        let begun = false
        await using upstream = await startPeer((socket) => {
          if (!begun) void play(socket, script)
          begun = true
        })
        await using connector = startConnector()
        const peer = upstream.peer({ httpVersion: 2, readTimeoutMs: 30, writeTimeoutMs: 30 })
        const sessions = [await connector.session(peer), await connector.session(peer)]
        const sent = [false, false]
        for (const session of sessions) {
          const recorder = new Sender()
          recorder.result = full ? WRITE_FULL : WRITE_DONE
          session.handler = recorder
        }
        for (const [at, act] of acts) {
          const session = sessions[at] as ClientSession
          if (act === 'turn') await turn()
          else if (act === 'wait') await new Promise((resolve) => setTimeout(resolve, 5))
          else if (act === 'destroy') session.destroy()
          else if (act === 'resume') session.resumeResponse()
          else if (act === 'retire') (inside(session).connection as unknown as { retire(): void }).retire()
          else if (sent[at] === false) {
            sent[at] = true
            const post = act === 'post' || act === 'body'
            const fields: [string, string][] = [
              ['Upgrade', 'websocket'],
              ['Sec-WebSocket-Key', 'dGhlIHNhbXBsZSBub25jZQ=='],
            ]
            const header = requestOf(post ? 'POST' : 'GET', '/', act === 'upgrade' ? fields : [])
            session.sendHead(header, post ? -1 : 0, act === 'upgrade')
            if (!post) session.endRequest(null)
          } else if (act === 'body') session.writeBody(Buffer.alloc(70_000), 0, 70_000)
          else if (act === 'end') session.endRequest(null)
        }
        await turn()
        for (const session of sessions) connector.release(session)
        expect(connector.stats().broken).toBe(0)
        // What is let go of may still wait for the end of its stream.
        for (const socket of upstream.sockets) socket.destroy()
        await until(() => connector.stats().open === 0)
      },
    ),
    RUNS,
  )
  expect(channel.messages).toEqual([])
})
