import { brokenInvariants } from '@cirque/error'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  ACK,
  block,
  CONTINUATION,
  DATA,
  END_HEADERS,
  END_STREAM,
  type Frame,
  frame,
  GOAWAY,
  HEADERS,
  PING,
  PREFACE,
  RST_STREAM,
  SETTINGS,
  settings,
  uint32,
  WINDOW_UPDATE,
} from '../../../scripts/test-support/http2-frames.ts'
import { listening, movesOf } from '../../../scripts/test-support/invariants.ts'
import { ErrorCode, type Http2Stream } from '../src/index.ts'
import {
  CONNECTION_STATES,
  type ConnectionState,
  DRAINING,
  HALF_CLOSED_LOCAL,
  IDLE,
  OPEN,
  SERVING,
  STREAM_STATES,
} from '../src/states.ts'
import { framesOf, POST, REQUEST, request } from './support/frames.ts'
import { End, goawayOf, resetOf, type StreamRecord, startServer } from './support/server.ts'

test('RFC 9113 §5.1: a stream goes from idle to open, from there to either half, and ends for good', () => {
  expect(movesOf(STREAM_STATES)).toEqual({
    idle: ['open', 'closed'],
    open: ['half-closed (local)', 'half-closed (remote)', 'closed'],
    'half-closed (local)': ['closed'],
    'half-closed (remote)': ['closed'],
    closed: [],
  })
  expect(movesOf(CONNECTION_STATES)).toEqual({
    open: ['draining', 'closing', 'closed'],
    draining: ['closing', 'closed'],
    closing: ['closed'],
    closed: [],
  })
})

test('a stream says what its state means', () => {
  const server = startServer()
  server.receive(request(1, 0, POST), request(3))
  const [open, half] = server.streams.map(({ stream }) => stream) as [Http2Stream, Http2Stream]
  const told = () => [open, half].map((each) => [each.sendEnded, each.receiveEnded, each.closed])
  expect(told()).toEqual([
    [false, false, false],
    [false, true, false],
  ])
  for (const stream of [open, half]) stream.sendHead([':status', '204'], true)
  expect(told()).toEqual([
    [true, false, false],
    [true, true, true],
  ])
})

test('a stream that breaks its states may be answered, and is reset; others and their connection go on', () => {
  using channel = listening()
  const before = brokenInvariants()
  const server = startServer()
  server.answerBroken = (stream) => {
    if (stream.id === 1) stream.sendHead([':status', '500'], true)
  }
  server.receive(request(1, 0, POST), request(3, 0, POST), request(5, 0, POST))
  const [answered, silent, other] = server.streams as [StreamRecord, StreamRecord, StreamRecord]
  for (const { stream } of [answered, silent]) expect(stream.become(IDLE)).toBe(false)

  expect(server.broken).toMatchObject([
    { id: 1, error: { code: 'INVARIANT_BROKEN', source: 'internal' } },
    { id: 3 },
  ])
  expect(channel.messages).toMatchObject([
    { machine: 'HTTP/2 stream', from: 'open', to: 'idle' },
    { machine: 'HTTP/2 stream', from: 'open', to: 'idle' },
  ])
  expect(brokenInvariants()).toBe(before + 2)
  const frames = server.frames()
  expect(frames.filter(({ stream }) => stream === 1).map(({ type }) => type)).toEqual([HEADERS, RST_STREAM])
  expect(resetOf(frames, 1)).toBe(ErrorCode.NO_ERROR)
  expect(resetOf(frames, 3)).toBe(ErrorCode.INTERNAL_ERROR)
  expect([answered.reset, silent.reset, answered.stream.closed, silent.stream.closed]).toEqual([
    null,
    null,
    true,
    true,
  ])

  server.receive(frame(DATA, END_STREAM, 5, Buffer.from('more')))
  other.stream.sendHead([':status', '200'], true)
  expect([other.body.toString(), other.ended, server.error]).toEqual(['more', true, null])
  expect(server.frames().map(({ type, stream }) => [type, stream])).toContainEqual([HEADERS, 5])
})

test('a stream that breaks its states within its answer, or after its end, says nothing more', () => {
  const server = startServer()
  server.receive(request(1, 0, POST), request(3))
  const [begun, over] = server.streams as [StreamRecord, StreamRecord]
  begun.stream.sendHead([':status', '200'], false)
  over.stream.sendHead([':status', '204'], true)
  server.take()
  begun.stream.become(OPEN)
  over.stream.become(HALF_CLOSED_LOCAL)
  begun.stream.write(Buffer.from('late'), 0, 4)
  const frames = server.frames()
  expect(frames.map(({ type, stream }) => [type, stream])).toEqual([[RST_STREAM, 1]])
  expect(server.broken.map(({ id }) => id)).toEqual([1, 3])
  expect(server.connection.openStreams).toBe(0)
})

test('a connection that breaks its states ends, with all its streams, and blames nobody', () => {
  using channel = listening()
  const server = startServer()
  server.receive(request(1, 0, POST), request(3, 0, POST))
  const machine = server.connection as unknown as { become(next: ConnectionState): boolean }
  server.connection.drain()
  expect(machine.become(SERVING)).toBe(false)

  expect(channel.messages).toMatchObject([{ machine: 'HTTP/2 connection', from: 'draining', to: 'open' }])
  expect(server.broken).toMatchObject([{ id: null, error: { code: 'INVARIANT_BROKEN' } }])
  expect(server.streams.map(({ reset }) => reset)).toEqual([
    { code: ErrorCode.INTERNAL_ERROR, origin: 'connection' },
    { code: ErrorCode.INTERNAL_ERROR, origin: 'connection' },
  ])
  expect(server.connection).toMatchObject({ state: 'closed', failure: null, openStreams: 0 })
  expect(server.connection.broken).toBe(server.broken[0]?.error)
  expect([server.error, goawayOf(server.frames())]).toEqual([null, ErrorCode.INTERNAL_ERROR])

  server.receive(request(5), request(7))
  expect(server.streams).toHaveLength(2)
  expect(machine.become(DRAINING)).toBe(false)
  expect(server.broken).toHaveLength(2)
})

test('a reset that gives back one window too many closes its stream once', () => {
  const server = startServer({ replyBytesMax: 1_024, connectionWindowBytes: 65_535 })
  server.serve = () => undefined
  server.receive(request(1, 0, POST), frame(DATA, 0, 1, Buffer.alloc(16_384)))
  for (let bytes = 16_384; bytes < 40_000; bytes += 8_192)
    server.receive(frame(DATA, 0, 1, Buffer.alloc(8_192)))
  // Acknowledgements that nobody reads, up to one frame before the limit.
  for (let at = 0; at < 60; at++) server.receive(frame(PING, 0, 0, Buffer.alloc(8)))
  ;(server.streams[0] as StreamRecord).stream.reset(ErrorCode.CANCEL)
  expect(server.closedIds).toEqual([1])
  expect([server.error?.reason, server.broken]).toEqual(['HTTP2_REPLY_FLOOD', []])
})

test('a transport that is gone before a message is written to its end breaks nothing', () => {
  const server = startServer()
  server.receive(request(1), request(3, 0, POST), request(5))
  const [whole, half, trailed] = server.streams.map(({ stream }) => stream) as [
    Http2Stream,
    Http2Stream,
    Http2Stream,
  ]
  trailed.sendHead([':status', '200'], false)
  server.take()
  server.onOutputWaiting = () => server.connection.close()
  whole.sendHead([':status', '204'], true)
  half.sendHead([':status', '204'], true)
  trailed.end(['a', 'b'])
  expect(server.broken).toEqual([])
  expect(server.closedIds.sort()).toEqual([1, 3, 5])
})

// --- the models: whatever comes, no illegal move is asked for ----------------------------------------------------

const ids = fc.constantFrom(1, 3, 5)
const flags = fc.constantFrom(0, END_STREAM)
const payloads = fc.constantFrom(0, 1, 20_000).map((size) => Buffer.alloc(size))

/** Frames of either peer, most of them in order. */
const frames = (head: readonly string[]) =>
  fc.oneof(
    { arbitrary: fc.tuple(ids, flags).map(([id, ends]) => request(id, ends, head)), weight: 4 },
    {
      arbitrary: fc.tuple(ids, flags, payloads).map(([id, ends, bytes]) => frame(DATA, ends, id, bytes)),
      weight: 4,
    },
    ids.map((id) => frame(HEADERS, END_STREAM | END_HEADERS, id, block(['x', 'y']))),
    fc.tuple(ids, fc.nat(13)).map(([id, code]) => frame(RST_STREAM, 0, id, uint32(code))),
    fc
      .tuple(fc.constantFrom(0, 1, 3), fc.nat(70_000))
      .map(([id, by]) => frame(WINDOW_UPDATE, 0, id, uint32(by))),
    fc.constantFrom(0, 100, 65_535).map((window) => frame(SETTINGS, 0, 0, settings([4, window]))),
    fc.constantFrom(
      frame(SETTINGS, ACK, 0),
      frame(PING, 0, 0, Buffer.alloc(8)),
      frame(PING, ACK, 0, Buffer.alloc(8)),
    ),
    fc
      .tuple(ids, fc.nat(2))
      .map(([id, code]) => frame(GOAWAY, 0, 0, Buffer.concat([uint32(id), uint32(code)]))),
    fc
      .tuple(fc.nat(10), fc.nat(255), fc.nat(8), fc.uint8Array({ maxLength: 30 }))
      .map(([type, flagged, id, payload]) => frame(type, flagged, id, Buffer.from(payload))),
  )

const USES = [
  'head',
  'last head',
  'info',
  'data',
  'end',
  'trailers',
  'reset',
  'discard',
  'pause',
  'resume',
] as const
const LIVES = [
  'drain',
  'finishDrain',
  'close',
  'flush',
  'blocked',
  'drained',
  'ping',
  'open',
  'open whole',
] as const

const uses = fc.oneof(
  { arbitrary: fc.tuple(fc.nat(3), fc.constantFrom(...USES)), weight: 4 },
  { arbitrary: fc.constantFrom(...LIVES).map((life) => [0, life] as const), weight: 1 },
)

function use(end: End, at: number, act: (typeof USES)[number] | (typeof LIVES)[number]): void {
  const { connection, streams } = end
  const stream = streams[at]?.stream
  const mayOpen = !connection.isServer && connection.available
  switch (act) {
    case 'drain':
    case 'finishDrain':
    case 'close':
    case 'flush':
    case 'ping':
      connection[act]()
      break
    case 'blocked':
      end.answer = 2
      connection.flush()
      break
    case 'drained':
      end.answer = 0
      connection.resumeOutput()
      break
    case 'open':
    case 'open whole':
      if (mayOpen) end.open(act === 'open' ? POST : REQUEST, act === 'open whole')
      break
    case 'head':
    case 'last head':
      if (connection.isServer) stream?.sendHead([':status', '200'], act === 'last head')
      break
    case 'info':
      if (connection.isServer) stream?.sendHead([':status', '103'], false)
      break
    case 'data':
      stream?.write(Buffer.alloc(20_000), 0, 20_000)
      break
    case 'end':
      stream?.end()
      break
    case 'trailers':
      stream?.end(['a', 'b'])
      break
    case 'reset':
      stream?.reset(ErrorCode.CANCEL)
      break
    default:
      stream?.[act]()
  }
}

/** RFC 9113 §5.1: after END_STREAM nothing but windows and a reset follows, and after that nothing. */
function expectLawful(sent: readonly Frame[]): void {
  const over = new Set<number>()
  const reset = new Set<number>()
  for (const { type, flags, stream } of sent) {
    if (stream === 0 || type === CONTINUATION) continue
    expect(reset.has(stream) && type !== RST_STREAM).toBe(false)
    if (type === HEADERS || type === DATA) {
      expect(over.has(stream)).toBe(false)
      if ((flags & END_STREAM) !== 0) over.add(stream)
    } else if (type === RST_STREAM) reset.add(stream)
  }
}

/** What a handler does with its stream in the middle of being called. */
const reactions = fc.constantFrom(...USES, 'nothing' as const)

test.each(['server', 'client'] as const)(
  'no frames of a peer and no use of a %s make it break its states',
  (role) => {
    using channel = listening()
    const steps = fc.oneof(frames(role === 'server' ? POST : [':status', '200']), uses)
    fc.assert(
      fc.property(fc.array(steps, { maxLength: 30 }), reactions, reactions, (script, onData, onEnd) => {
        const end = new End(role, { replyBytesMax: 1_024 })
        const react = (record: StreamRecord): void => {
          const once = record.onData.bind(record)
          record.onData = (buffer, start, until) => {
            once(buffer, start, until)
            if (onData !== 'nothing') use(end, end.streams.indexOf(record), onData)
          }
          const ended = record.onEnd.bind(record)
          record.onEnd = (trailers) => {
            ended(trailers)
            if (onEnd !== 'nothing') use(end, end.streams.indexOf(record), onEnd)
          }
        }
        end.serve = (record) => {
          react(record)
          record.stream.resume()
        }
        if (role === 'server') end.receive(PREFACE)
        end.receive(frame(SETTINGS, 0, 0))
        for (const step of script) {
          if (Buffer.isBuffer(step)) end.receive(step)
          else {
            const known = end.streams.length
            use(end, step[0], step[1])
            for (const record of end.streams.slice(known)) if (role === 'client') react(record)
          }
        }
        end.answer = 0
        expectLawful(framesOf(end.take().subarray(role === 'client' ? PREFACE.length : 0)))
        expect(end.broken).toEqual([])
      }),
      { numRuns: 1_000 },
    )
    expect(channel.messages).toEqual([])
  },
)
