import { expect, test } from 'vitest'
import {
  ACK,
  block,
  CONTINUATION,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  GOAWAY,
  HEADERS,
  NOTHING,
  PADDED,
  PING,
  PREFACE,
  PRIORITIZED,
  PRIORITY,
  PUSH_PROMISE,
  RST_STREAM,
  SETTINGS,
  settings,
  uint32,
  WINDOW_UPDATE,
} from '../../../scripts/test-support/http2-frames.ts'
import { ErrorCode, errorName } from '../src/index.ts'
import { Blocks, POST, REQUEST, request } from './support/frames.ts'
import { End, goawayOf, resetOf, startServer } from './support/server.ts'

const {
  PROTOCOL_ERROR,
  FLOW_CONTROL_ERROR,
  STREAM_CLOSED,
  FRAME_SIZE_ERROR,
  COMPRESSION_ERROR,
  ENHANCE_YOUR_CALM,
  REFUSED_STREAM,
  NO_ERROR,
  CANCEL,
} = ErrorCode

const post = (id: number): Buffer => request(id, 0, POST)
const data = (id: number, size: number, flags: number = 0): Buffer =>
  frame(DATA, flags, id, Buffer.alloc(size))

test.each<[string, number, Buffer[]]>([
  ['§4.1: a frame on stream 0 that needs one, DATA', PROTOCOL_ERROR, [data(0, 1)]],
  ['§6.2: HEADERS on stream 0', PROTOCOL_ERROR, [request(0)]],
  [
    '§4.2: a frame above SETTINGS_MAX_FRAME_SIZE',
    FRAME_SIZE_ERROR,
    [frame(PING, 0, 0, Buffer.alloc(16_385))],
  ],
  ['§5.1: DATA on an idle stream', PROTOCOL_ERROR, [data(1, 1)]],
  ['§5.1: RST_STREAM on an idle stream', PROTOCOL_ERROR, [frame(RST_STREAM, 0, 1, uint32(8))]],
  ['§5.1: WINDOW_UPDATE on an idle stream', PROTOCOL_ERROR, [frame(WINDOW_UPDATE, 0, 1, uint32(8))]],
  ['§5.1.1: a stream of an even number', PROTOCOL_ERROR, [request(2)]],
  ['§5.1.1: a stream of a smaller number', PROTOCOL_ERROR, [request(5), request(3)]],
  [
    '§6.1: DATA with more padding than payload',
    PROTOCOL_ERROR,
    [post(1), frame(DATA, PADDED, 1, Buffer.from([5, 1, 2, 3]))],
  ],
  [
    '§6.1: padding as long as the payload',
    PROTOCOL_ERROR,
    [post(1), frame(DATA, PADDED, 1, Buffer.from([4, 1, 2, 3]))],
  ],
  ['§6.1: DATA without the length of its padding', FRAME_SIZE_ERROR, [post(1), frame(DATA, PADDED, 1)]],
  [
    '§6.2: HEADERS with more padding than payload',
    PROTOCOL_ERROR,
    [frame(HEADERS, PADDED | END_HEADERS, 1, Buffer.from([9, 1]))],
  ],
  [
    '§6.2: HEADERS too short for its priority',
    FRAME_SIZE_ERROR,
    [frame(HEADERS, PRIORITIZED | END_HEADERS, 1, uint32(0))],
  ],
  ['§6.3: PRIORITY on stream 0', PROTOCOL_ERROR, [frame(PRIORITY, 0, 0, Buffer.alloc(5))]],
  ['§6.4: RST_STREAM on stream 0', PROTOCOL_ERROR, [frame(RST_STREAM, 0, 0, uint32(8))]],
  ['§6.4: RST_STREAM of a wrong size', FRAME_SIZE_ERROR, [post(1), frame(RST_STREAM, 0, 1, Buffer.alloc(3))]],
  ['§6.5: SETTINGS on a stream', PROTOCOL_ERROR, [frame(SETTINGS, 0, 1)]],
  ['§6.5: SETTINGS of a wrong size', FRAME_SIZE_ERROR, [frame(SETTINGS, 0, 0, Buffer.alloc(5))]],
  [
    '§6.5: an acknowledgement that holds settings',
    FRAME_SIZE_ERROR,
    [frame(SETTINGS, ACK, 0, settings([4, 1]))],
  ],
  ['§6.5.2: ENABLE_PUSH above 1', PROTOCOL_ERROR, [frame(SETTINGS, 0, 0, settings([2, 2]))]],
  ['§6.5.2: a window above 2^31-1', FLOW_CONTROL_ERROR, [frame(SETTINGS, 0, 0, settings([4, 2 ** 31]))]],
  ['§6.5.2: frames below 16,384', PROTOCOL_ERROR, [frame(SETTINGS, 0, 0, settings([5, 16_383]))]],
  ['§6.5.2: frames above 2^24-1', PROTOCOL_ERROR, [frame(SETTINGS, 0, 0, settings([5, 2 ** 24]))]],
  ['RFC 8441 §3: ENABLE_CONNECT_PROTOCOL above 1', PROTOCOL_ERROR, [frame(SETTINGS, 0, 0, settings([8, 2]))]],
  [
    'RFC 8441 §3: ENABLE_CONNECT_PROTOCOL taken back',
    PROTOCOL_ERROR,
    [frame(SETTINGS, 0, 0, settings([8, 1], [8, 0]))],
  ],
  ['§6.6: PUSH_PROMISE of a client', PROTOCOL_ERROR, [frame(PUSH_PROMISE, END_HEADERS, 1, uint32(2))]],
  ['§6.7: PING on a stream', PROTOCOL_ERROR, [frame(PING, 0, 1, Buffer.alloc(8))]],
  ['§6.7: PING of a wrong size', FRAME_SIZE_ERROR, [frame(PING, 0, 0, Buffer.alloc(7))]],
  ['§6.8: GOAWAY on a stream', PROTOCOL_ERROR, [frame(GOAWAY, 0, 1, Buffer.alloc(8))]],
  ['§6.8: GOAWAY of a wrong size', FRAME_SIZE_ERROR, [frame(GOAWAY, 0, 0, Buffer.alloc(7))]],
  ['§6.9: WINDOW_UPDATE of a wrong size', FRAME_SIZE_ERROR, [frame(WINDOW_UPDATE, 0, 0, Buffer.alloc(3))]],
  ['§6.9: WINDOW_UPDATE of 0', PROTOCOL_ERROR, [frame(WINDOW_UPDATE, 0, 0, uint32(0))]],
  [
    '§6.9.1: a window of the connection above 2^31-1',
    FLOW_CONTROL_ERROR,
    [frame(WINDOW_UPDATE, 0, 0, uint32(2 ** 31 - 1))],
  ],
  ['§6.10: CONTINUATION without HEADERS', PROTOCOL_ERROR, [frame(CONTINUATION, END_HEADERS, 1)]],
  [
    '§6.10: CONTINUATION of another stream',
    PROTOCOL_ERROR,
    [frame(HEADERS, END_STREAM, 1, block(REQUEST)), frame(CONTINUATION, END_HEADERS, 3)],
  ],
  [
    '§6.10: another frame within a block',
    PROTOCOL_ERROR,
    [frame(HEADERS, END_STREAM, 1, block(REQUEST)), frame(PING, 0, 0, Buffer.alloc(8))],
  ],
  [
    '§4.3: a field block that cannot be decoded',
    COMPRESSION_ERROR,
    [frame(HEADERS, END_HEADERS, 1, Buffer.from([0xff, 0xff, 0xff]))],
  ],
])('RFC 9113 %s ends the connection', (_name, code, frames) => {
  const server = startServer()
  server.receive(...frames, frame(PING, 0, 0, Buffer.alloc(8)))
  const sent = server.frames()
  expect([server.error?.code, goawayOf(sent)]).toEqual([code, code])
  expect(sent.at(-1)?.type).toBe(GOAWAY)
  expect(server.connection.state).toBe('closed')
  expect(server.connection.openStreams).toBe(0)
})

test.each<[string, number, Buffer[]]>([
  ['§5.1: DATA after END_STREAM', STREAM_CLOSED, [request(1), data(1, 1)]],
  ['§5.1: HEADERS after END_STREAM', STREAM_CLOSED, [request(1), request(1)]],
  [
    '§5.3.1: a stream that depends on itself',
    PROTOCOL_ERROR,
    [post(1), frame(PRIORITY, 0, 1, Buffer.concat([uint32(1), Buffer.alloc(1)]))],
  ],
  ['§6.3: PRIORITY of a wrong size', FRAME_SIZE_ERROR, [post(1), frame(PRIORITY, 0, 1, Buffer.alloc(4))]],
  ['§6.9: WINDOW_UPDATE of 0 on a stream', PROTOCOL_ERROR, [post(1), frame(WINDOW_UPDATE, 0, 1, uint32(0))]],
  [
    '§6.9.1: a window above 2^31-1',
    FLOW_CONTROL_ERROR,
    [post(1), frame(WINDOW_UPDATE, 0, 1, uint32(2 ** 31 - 1))],
  ],
  [
    '§8.1: trailers that do not end the stream',
    PROTOCOL_ERROR,
    [post(1), frame(HEADERS, END_HEADERS, 1, block(['x', 'y']))],
  ],
  ['§8.1: a pseudo-field in trailers', PROTOCOL_ERROR, [post(1), request(1, END_STREAM, [':path', '/'])]],
  [
    '§8.1.1: more data than its content-length',
    PROTOCOL_ERROR,
    [request(1, 0, [...POST, 'content-length', '3']), data(1, 4)],
  ],
  [
    '§8.1.1: less data than its content-length',
    PROTOCOL_ERROR,
    [request(1, 0, [...POST, 'content-length', '3']), data(1, 2, END_STREAM)],
  ],
  [
    '§8.1.1: less before trailers',
    PROTOCOL_ERROR,
    [request(1, 0, [...POST, 'content-length', '3']), request(1, END_STREAM, ['x', 'y'])],
  ],
])('RFC 9113 %s resets the stream, and the connection goes on', (_name, code, frames) => {
  const server = startServer()
  server.receive(...frames, request(3))
  expect(resetOf(server.frames(), 1)).toBe(code)
  expect(server.error).toBeNull()
  expect(server.streams[0]?.reset).toEqual({ code, origin: 'rules' })
  expect(server.streams[1]?.ended).toBe(true)
})

test('§5.3.1: HEADERS that depend on themselves never become a request', () => {
  const server = startServer()
  const payload = Buffer.concat([uint32(1), Buffer.from([0]), block(REQUEST)])
  server.receive(frame(HEADERS, END_HEADERS | END_STREAM | PRIORITIZED, 1, payload))
  expect(resetOf(server.frames(), 1)).toBe(PROTOCOL_ERROR)
  expect(server.streams).toEqual([])
})

test('§5.1: what comes on a stream that both sides have ended', () => {
  for (const [late, code] of [
    [data(1, 1), STREAM_CLOSED],
    [request(1), STREAM_CLOSED],
    [frame(WINDOW_UPDATE, 0, 1, uint32(5)), -1],
    [frame(RST_STREAM, 0, 1, uint32(8)), -1],
    [frame(PRIORITY, 0, 1, Buffer.alloc(5)), -1],
  ] as const) {
    const server = startServer()
    server.serve = ({ stream }) => stream.sendHead([':status', '204'], true)
    server.receive(request(1))
    expect(server.closedIds).toEqual([1])
    server.receive(late)
    expect(goawayOf(server.frames())).toBe(code)
  }
})

test('§5.1: frames on a stream that we reset are ignored, those on one that the peer reset are not', () => {
  const ours = startServer()
  ours.receive(post(1))
  ours.streams[0]?.stream.reset(CANCEL)
  ours.receive(
    data(1, 100),
    request(1, END_STREAM, ['x', 'y']),
    frame(WINDOW_UPDATE, 0, 1, uint32(1)),
    request(3),
  )
  const sent = ours.frames()
  expect(sent.filter(({ type }) => type === RST_STREAM).length).toBe(1)
  expect(ours.streams[1]?.ended).toBe(true)

  const theirs = startServer()
  theirs.receive(post(1), frame(RST_STREAM, 0, 1, uint32(CANCEL)), data(1, 100), request(3))
  expect(theirs.streams[0]?.reset).toEqual({ code: CANCEL, origin: 'peer' })
  expect(resetOf(theirs.frames(), 1)).toBe(STREAM_CLOSED)
  theirs.receive(request(1))
  expect(goawayOf(theirs.frames())).toBe(STREAM_CLOSED)
})

test('§3.4: the preface and settings come first', () => {
  for (const bytes of [
    Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    Buffer.concat([PREFACE, frame(PING, 0, 0, Buffer.alloc(8))]),
    Buffer.concat([PREFACE, frame(SETTINGS, ACK, 0)]),
    Buffer.concat([PREFACE, request(1)]),
  ]) {
    const server = new End('server')
    server.receive(bytes)
    expect(server.error?.code).toBe(PROTOCOL_ERROR)
    expect(server.streams).toEqual([])
  }
})

test('§6.5.3, §6.7: settings and pings are acknowledged, in one write', () => {
  const server = startServer()
  const before = server.writes
  server.receive(
    frame(SETTINGS, 0, 0, settings([3, 7], [0x99, 1])),
    frame(PING, 0, 0, Buffer.from('12345678')),
  )
  const sent = server.frames()
  expect(sent.map(({ type, flags }) => [type, flags])).toEqual([
    [SETTINGS, ACK],
    [PING, ACK],
  ])
  expect(sent[1]?.payload.toString()).toBe('12345678')
  expect(server.connection.peerStreamsMax).toBe(7)
  expect(server.writes - before).toBe(1)
})

test('§4.1: unknown frames and flags are ignored', () => {
  const server = startServer()
  server.receive(frame(0x77, 0xff, 9, Buffer.alloc(100)), request(1, END_STREAM | 0xc2))
  expect(server.streams[0]?.ended).toBe(true)
})

test('§5.1.2: more streams than allowed are refused one by one', () => {
  const server = startServer({ streamsMax: 2 })
  server.receive(post(1), post(3), post(5))
  expect(resetOf(server.frames(), 5)).toBe(REFUSED_STREAM)
  expect(server.streams.length).toBe(2)
  server.streams[0]?.stream.reset(CANCEL)
  server.take()
  server.receive(post(7))
  expect(server.streams.length).toBe(3)
})

test('§6.9: data beyond a window', () => {
  const stream = startServer({ windowBytes: 100_000, connectionWindowBytes: 300_000 })
  stream.serve = () => undefined
  stream.receive(post(1), ...Array.from({ length: 6 }, () => data(1, 16_384)), data(1, 100_000 - 6 * 16_384))
  expect(stream.frames()).toEqual([])
  stream.receive(data(1, 1))
  expect(resetOf(stream.frames(), 1)).toBe(FLOW_CONTROL_ERROR)
  const all = startServer({ windowBytes: 100_000, connectionWindowBytes: 100_000 })
  all.serve = () => undefined
  all.receive(
    post(1),
    post(3),
    ...Array.from({ length: 6 }, () => data(1, 16_384)),
    data(3, 100_000 - 6 * 16_384),
  )
  expect(all.frames()).toEqual([])
  all.receive(data(3, 1))
  expect(goawayOf(all.frames())).toBe(FLOW_CONTROL_ERROR)
})

test('§6.9.2: a smaller window than the default counts once the peer has acknowledged it', () => {
  const server = new End('server', { windowBytes: 1_000 })
  server.serve = () => undefined
  server.receive(PREFACE, frame(SETTINGS, 0, 0), post(1), data(1, 16_384), frame(SETTINGS, ACK, 0))
  server.take()
  server.receive(post(3), data(3, 1_000))
  expect(server.frames()).toEqual([])
  server.receive(data(3, 1), data(1, 1))
  const sent = server.frames()
  expect([resetOf(sent, 3), resetOf(sent, 1)]).toEqual([FLOW_CONTROL_ERROR, FLOW_CONTROL_ERROR])
})

test('§6.9.2: settings move the windows of open streams, below zero too', () => {
  const server = startServer()
  server.receive(request(1))
  const { stream } = server.streams[0] as { stream: import('../src/index.ts').Http2Stream }
  stream.sendHead([':status', '200'], false)
  stream.write(Buffer.alloc(60_000), 0, 60_000)
  server.take()
  server.receive(frame(SETTINGS, 0, 0, settings([4, 10_000])), frame(WINDOW_UPDATE, 0, 0, uint32(100_000)))
  stream.write(Buffer.alloc(10), 0, 10)
  expect(server.frames().filter(({ type }) => type === DATA)).toEqual([])
  server.receive(frame(WINDOW_UPDATE, 0, 1, uint32(50_001)))
  expect(
    server
      .frames()
      .filter(({ type }) => type === DATA)
      .map(({ payload }) => payload.length),
  ).toEqual([1])
  server.receive(frame(SETTINGS, 0, 0, settings([4, 10_009])))
  expect(
    server
      .frames()
      .filter(({ type }) => type === DATA)
      .map(({ payload }) => payload.length),
  ).toEqual([9])
  server.receive(
    frame(WINDOW_UPDATE, 0, 1, uint32(2 ** 31 - 2)),
    frame(SETTINGS, 0, 0, settings([4, 20_000])),
  )
  expect(goawayOf(server.frames())).toBe(FLOW_CONTROL_ERROR)
})

test('a block in many frames, with padding and priority, is one request', () => {
  const server = startServer()
  const bytes = block([...POST, 'x', 'y'.repeat(300)])
  const first = Buffer.concat([
    Buffer.from([3]),
    uint32(0),
    Buffer.from([1]),
    bytes.subarray(0, 10),
    Buffer.alloc(3),
  ])
  server.receive(frame(HEADERS, PADDED | PRIORITIZED | END_STREAM, 1, first))
  for (let at = 10; at < bytes.length; at += 20) {
    const last = at + 20 >= bytes.length ? END_HEADERS : 0
    server.receive(frame(CONTINUATION, last, 1, bytes.subarray(at, at + 20)))
  }
  expect(server.streams[0]).toMatchObject({
    ended: true,
    request: { method: 'POST', path: '/', authority: 'a' },
  })
})

test('DATA arrives as it comes, without its padding, which is given back at once', () => {
  const server = startServer({ windowBytes: 400, connectionWindowBytes: 65_535 })
  server.receive(post(1))
  const padded = Buffer.concat([Buffer.from([200]), Buffer.from('hello'), Buffer.alloc(200)])
  server.receive(frame(DATA, PADDED | END_STREAM, 1, padded))
  expect(server.streams[0]?.body.toString()).toBe('hello')
  expect(server.streams[0]?.ended).toBe(true)
  const paused = startServer({ windowBytes: 400, connectionWindowBytes: 65_535 })
  paused.serve = () => undefined
  paused.receive(post(1), frame(DATA, PADDED, 1, padded))
  const update = paused.frames().find(({ type }) => type === WINDOW_UPDATE)
  expect([update?.stream, update?.payload.readUInt32BE(0)]).toEqual([1, 201])
})

test('a paused stream gives nothing back, and stops nobody else', () => {
  const server = startServer({ windowBytes: 65_535, streamsMax: 4 })
  server.serve = ({ stream }) => {
    if (stream.id === 3) stream.resume()
  }
  server.receive(post(1), post(3))
  for (let i = 0; i < 3; i++) server.receive(data(1, 16_384), data(3, 16_384))
  const updates = server.frames().filter(({ type }) => type === WINDOW_UPDATE)
  expect(updates.map(({ stream }) => stream)).toEqual([3])
  server.streams[0]?.stream.resume()
  expect(server.frames().filter(({ stream }) => stream === 1).length).toBe(1)
  expect(server.streams[0]?.body.length).toBe(3 * 16_384)
})

test('§8.1: a response that is complete early ends the upload with NO_ERROR', () => {
  const server = startServer()
  server.serve = ({ stream }) => {
    stream.sendHead([':status', '413'], true)
    stream.discard()
  }
  server.receive(post(1), data(1, 100), data(1, 100))
  const sent = server.frames()
  expect(sent.map(({ type, flags }) => [type, flags])).toEqual([
    [HEADERS, END_HEADERS | END_STREAM],
    [RST_STREAM, 0],
  ])
  expect(resetOf(sent, 1)).toBe(NO_ERROR)
  expect(server.connection.openStreams).toBe(0)
})

test('§6.8: a drain serves what comes before the round trip is over, and nothing after', () => {
  const server = startServer()
  server.receive(request(1))
  server.connection.drain()
  const sent = server.frames()
  expect(sent.map(({ type }) => type)).toEqual([GOAWAY, PING])
  expect(sent[0]?.payload.readUInt32BE(0)).toBe(2 ** 31 - 1)
  server.receive(request(3))
  expect(server.streams.length).toBe(2)
  server.receive(frame(PING, ACK, 0, sent[1]?.payload ?? NOTHING), request(5), data(5, 10))
  const last = server.frames()
  expect(last.map(({ type, payload }) => [type, payload.readUInt32BE(0)])).toEqual([[GOAWAY, 3]])
  expect([server.streams.length, server.drained, server.connection.state]).toEqual([2, true, 'closing'])
  for (const { stream } of server.streams) stream.sendHead([':status', '204'], true)
  expect(server.closedIds).toEqual([1, 3])
  expect(server.error).toBeNull()
})

test('END_STREAM goes with the last frame of the turn, be it a head, data or trailers', () => {
  const server = startServer()
  server.receive(request(1), request(3), request(5), request(7))
  const blocks = new Blocks()
  const [one, three, five, seven] = server.streams.map(({ stream }) => stream)
  one?.sendHead([':status', '200'], false)
  one?.end()
  three?.sendHead([':status', '200'], false)
  three?.write(Buffer.from('body'), 0, 4)
  three?.end()
  five?.sendHead([':status', '200'], false)
  five?.write(Buffer.from('body'), 0, 4)
  five?.end(['x-sum', '1'])
  seven?.sendHead([':status', '200'], false)
  const sent = server.frames()
  seven?.end()
  sent.push(...server.frames())
  expect(sent.map(({ type, flags, stream }) => [type, flags, stream])).toEqual([
    [HEADERS, END_HEADERS | END_STREAM, 1],
    [HEADERS, END_HEADERS, 3],
    [DATA, END_STREAM, 3],
    [HEADERS, END_HEADERS, 5],
    [DATA, 0, 5],
    [HEADERS, END_HEADERS | END_STREAM, 5],
    [HEADERS, END_HEADERS, 7],
    [DATA, END_STREAM, 7],
  ])
  const heads = sent.filter(({ type }) => type === HEADERS).map(({ payload }) => blocks.read(payload))
  expect(heads[3]).toEqual(['x-sum', '1'])
  expect(server.closedIds).toEqual([1, 3, 5, 7])
})

test('a head longer than a frame goes in several', () => {
  const server = startServer({ headerListBytesMax: 100_000 })
  server.receive(request(1))
  const fields = [
    ':status',
    '200',
    ...Array.from({ length: 30 }, (_, i) => [`x-${i}`, '~'.repeat(2_000)]).flat(),
  ]
  server.streams[0]?.stream.sendHead(fields, true)
  const sent = server.frames()
  expect(sent.map(({ type }) => type)).toEqual([HEADERS, ...Array(sent.length - 1).fill(CONTINUATION)])
  expect(sent.every(({ payload }) => payload.length <= 16_384)).toBe(true)
  expect([sent[0]?.flags, sent.at(-1)?.flags]).toEqual([END_STREAM, END_HEADERS])
  expect(new Blocks().read(Buffer.concat(sent.map(({ payload }) => payload)))).toEqual(fields)
})

test('streams send in turn, and one without a window holds up no other', () => {
  const server = startServer()
  server.receive(frame(WINDOW_UPDATE, 0, 0, uint32(1_000_000)))
  server.receive(
    request(1),
    request(3),
    request(5),
    frame(WINDOW_UPDATE, 0, 3, uint32(500_000)),
    frame(WINDOW_UPDATE, 0, 5, uint32(500_000)),
  )
  server.answer = 2
  server.streams[0]?.stream.sendHead([':status', '200'], false)
  server.take()
  for (const { stream } of server.streams) expect(stream.write(Buffer.alloc(100_000), 0, 100_000)).toBe(2)
  server.answer = 0
  server.connection.resumeOutput()
  const ids = server
    .frames()
    .filter(({ type }) => type === DATA)
    .map(({ stream }) => stream)
  expect(ids.slice(0, 6)).toEqual([1, 3, 5, 1, 3, 5])
  expect(ids.filter((id) => id === 1).length).toBe(4)
  expect(server.streams.map(({ stream }) => stream.queuedBytes)).toEqual([100_000 - 65_535, 0, 0])
  expect(server.streams.map(({ drains }) => drains)).toEqual([0, 1, 1])
})

test('what comes to wait after a flush that found nothing is told of anew', () => {
  const server = startServer()
  server.receive(request(1))
  const stream = server.streams[0]?.stream
  stream?.sendHead([':status', '200'], false)
  stream?.write(Buffer.alloc(70_000), 0, 70_000)
  server.take()
  server.receive(frame(WINDOW_UPDATE, 0, 0, uint32(10)), frame(WINDOW_UPDATE, 0, 1, uint32(10)))
  expect(server.waiting).toBe(true)
  stream?.write(Buffer.alloc(20_000), 0, 20_000)
  expect(server.frames().length).toBe(1)
  server.take()
  server.receive(frame(WINDOW_UPDATE, 0, 0, uint32(10)), frame(WINDOW_UPDATE, 0, 1, uint32(10)))
  expect(server.waiting).toBe(true)
})

test('names of codes', () => {
  expect([errorName(CANCEL), errorName(99)]).toEqual(['CANCEL', 'code 99'])
  expect(ENHANCE_YOUR_CALM).toBe(11)
})
