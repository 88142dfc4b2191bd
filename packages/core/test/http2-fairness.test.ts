import { ResponseHeader } from '@cirque/http'
import { expect, test } from 'vitest'
import {
  block,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  HEADERS,
  PING,
  SETTINGS,
} from '../../../scripts/test-support/http2-frames.ts'
import { REQUESTS_ASIDE_MAX, REQUESTS_PER_TURN_MAX } from '../src/http2/request-turns.ts'
import { Connector, HttpServerApp, WRITE_DONE, type WriteResult } from '../src/index.ts'
import { startApp, startServer } from './support/http-server.ts'
import { connectRawHttp2, request } from './support/raw-http2.ts'
import { Recorder, requestOf, startUpstream } from './support/upstream.ts'

/** Frames of one connection in one turn: those of a read, and those that had to wait, before anybody else counts. */
const FRAMES_MAX = 2 * 256
const COUNT = 30_000
/** Each byte in a frame of its own, all in one write. */
const drops = (count: number, stream: number): Buffer =>
  Buffer.concat(
    Array.from({ length: count }, (_, index) => frame(DATA, 0, stream, Buffer.of(97 + (index % 26)))),
  )
const TEXT = Array.from({ length: COUNT }, (_, index) => String.fromCharCode(97 + (index % 26))).join('')

/** Counts the turns of the event loop until it is stopped. */
function countTurns(): { readonly turn: number; stop(): void } {
  let turn = 0
  let immediate = setImmediate(function count() {
    turn++
    immediate = setImmediate(count)
  })
  return {
    get turn() {
      return turn
    },
    stop: () => clearImmediate(immediate),
  }
}

/** Bytes that came in each turn, and all of them. */
class Meter {
  readonly turns = countTurns()
  text = ''
  readonly #bytes = new Map<number, number>()

  count(buffer: Buffer, start: number, end: number): void {
    const { turn } = this.turns
    this.#bytes.set(turn, (this.#bytes.get(turn) ?? 0) + end - start)
    this.text += buffer.toString('latin1', start, end)
  }
  get bytesOfTurnMax(): number {
    this.turns.stop()
    return Math.max(...this.#bytes.values())
  }
}

test('a client that sends a body byte by byte has a bounded part of each turn, and nothing is lost', async () => {
  const meter = new Meter()
  await using server = await startApp(
    new HttpServerApp(
      {
        onSession: (session) => {
          session.handler = {
            onRequestData: (buffer, start, end) => {
              meter.count(buffer, start, end)
              return WRITE_DONE
            },
            onRequestEnd: () => {
              session.writeHead(ResponseHeader.build(200), 0)
              session.endResponse(null)
            },
            onDownstreamDrain: () => undefined,
            onDownstreamAbort: () => undefined,
          }
          session.resumeRequestBody()
        },
      },
      { h2c: true },
    ),
  )
  await using client = await connectRawHttp2(server.port)
  client.send(frame(HEADERS, END_HEADERS, 1, request('/', [], 'POST')), drops(COUNT, 1))
  client.send(frame(DATA, END_STREAM, 1), frame(HEADERS, END_HEADERS | END_STREAM, 3, request('/')))
  await client.see(HEADERS, ({ stream }) => stream === 3)
  expect(client.frames.some(({ type, stream }) => type === HEADERS && stream === 1)).toBe(true)
  expect(meter.text).toBe(TEXT)
  expect(meter.bytesOfTurnMax).toBeLessThanOrEqual(FRAMES_MAX)
})

test('an upstream that sends a body byte by byte and leaves has a bounded part too, and nothing is lost', async () => {
  const meter = new Meter()
  class Metered extends Recorder {
    override onResponseData(buffer: Buffer, start: number, end: number): WriteResult {
      meter.count(buffer, start, end)
      return super.onResponseData(buffer, start, end)
    }
  }
  await using upstream = await startUpstream((socket) => {
    socket.write(frame(SETTINGS, 0, 0))
    socket.once('data', () => {
      const head = frame(HEADERS, END_HEADERS, 1, block([':status', '200']))
      socket.end(Buffer.concat([head, drops(COUNT, 1), frame(DATA, END_STREAM, 1)]))
    })
  })
  const connector = new Connector()
  const session = await connector.session(upstream.peer({ httpVersion: 2 }))
  const recorder = new Metered()
  session.handler = recorder
  session.sendHead(requestOf('GET'), 0, false)
  session.endRequest(null)
  await recorder.done
  expect([recorder.ended, recorder.error]).toEqual([true, undefined])
  connector.release(session)
  connector.close()
  expect(meter.text).toBe(TEXT)
  expect(meter.bytesOfTurnMax).toBeLessThanOrEqual(FRAMES_MAX)
})

test('a client that leaves, or is cut, while its frames wait for their turn leaves nothing behind', async () => {
  await using server = await startServer(() => undefined, { h2c: true })
  for (const leave of ['end', 'destroy', 'resetAndDestroy'] as const) {
    await using client = await connectRawHttp2(server.port)
    client.send(frame(HEADERS, END_HEADERS, 1, request('/', [], 'POST')), drops(COUNT, 1))
    await new Promise((resolve) => client.socket.write(frame(PING, 0, 0, Buffer.alloc(8)), resolve))
    client.socket[leave]()
    await server.drained()
  }
  expect(server.app.stats().connections).toBe(0)
})

test('the requests of all clients together have a bounded part of each turn, and none is lost', async () => {
  const CLIENTS = 10
  const REQUESTS = 90
  const turns = countTurns()
  const begun = new Map<number, number>()
  await using server = await startServer(
    (session) => {
      begun.set(turns.turn, (begun.get(turns.turn) ?? 0) + 1)
      session.respond(200)
    },
    { h2c: true },
  )
  const stack = new AsyncDisposableStack()
  await using _clients = stack
  const clients = await Promise.all(
    Array.from({ length: CLIENTS }, async () => stack.use(await connectRawHttp2(server.port))),
  )
  const burst = Array.from({ length: REQUESTS }, (_, index) =>
    frame(HEADERS, END_HEADERS | END_STREAM, 2 * index + 1, request('/')),
  )
  for (const client of clients) client.send(...burst)
  await Promise.all(clients.map((client) => client.see(HEADERS, ({ stream }) => stream === 2 * REQUESTS - 1)))
  turns.stop()
  expect([...begun.values()].reduce((sum, count) => sum + count)).toBe(CLIENTS * REQUESTS)
  expect(Math.max(...begun.values())).toBeLessThanOrEqual(
    REQUESTS_PER_TURN_MAX + CLIENTS * REQUESTS_ASIDE_MAX,
  )
})

test('a client with one request does not queue behind those who have thousands', async () => {
  const order: string[] = []
  await using server = await startServer(
    (session) => {
      order.push(session.request.target)
      session.respond(200)
    },
    { h2c: true },
  )
  await using greedy = await connectRawHttp2(server.port)
  await using other = await connectRawHttp2(server.port)
  await using modest = await connectRawHttp2(server.port)
  const burst = Array.from({ length: 90 }, (_, index) =>
    frame(HEADERS, END_HEADERS | END_STREAM, 2 * index + 1, request('/many')),
  )
  greedy.send(...burst)
  other.send(...burst)
  modest.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, request('/one')))
  await Promise.all([
    modest.see(HEADERS, ({ stream }) => stream === 1),
    greedy.see(HEADERS, ({ stream }) => stream === 179),
    other.see(HEADERS, ({ stream }) => stream === 179),
  ])
  expect(order).toHaveLength(181)
  expect(order.indexOf('/one')).toBeLessThanOrEqual(REQUESTS_PER_TURN_MAX + 2 * REQUESTS_ASIDE_MAX)
})
