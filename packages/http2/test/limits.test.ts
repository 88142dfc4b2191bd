import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  block,
  CONTINUATION,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  HEADERS,
  PING,
  PRIORITY,
  RST_STREAM,
  SETTINGS,
  settings,
  uint32,
  WINDOW_UPDATE,
} from '../../../scripts/test-support/http2-frames.ts'
import { ErrorCode, type Http2Options, resolveHttp2Options } from '../src/index.ts'
import { TokenBucket } from '../src/token-bucket.ts'
import { POST, REQUEST, request } from './support/frames.ts'
import { type End, goawayOf, startServer } from './support/server.ts'

const { ENHANCE_YOUR_CALM, CANCEL } = ErrorCode
const FEW: Http2Options = { resetBurstMax: 5, resetsPerSecondMax: 1, controlFramesPerSecondMax: 1 }

/** Does something `count` times; true when the connection has ended for it. */
function floods(server: End, count: number, act: (index: number) => Buffer): boolean {
  for (let i = 0; i < count; i++) {
    server.receive(act(i))
    server.take()
  }
  return server.error?.code === ENHANCE_YOUR_CALM
}

const id = (index: number): number => index * 2 + 1
const post = (index: number): Buffer => request(id(index), 0, POST)

test.each<[string, string, number, (index: number) => Buffer]>([
  [
    'CVE-2023-44487: streams that the client resets',
    'HTTP2_RESET_FLOOD',
    5,
    (i) => Buffer.concat([post(i), frame(RST_STREAM, 0, id(i), uint32(CANCEL))]),
  ],
  [
    'CVE-2025-8671: resets that it provokes',
    'HTTP2_RESET_FLOOD',
    5,
    (i) => Buffer.concat([post(i), frame(WINDOW_UPDATE, 0, id(i), uint32(0))]),
  ],
  [
    'data on streams that have ended',
    'HTTP2_RESET_FLOOD',
    5,
    (i) => Buffer.concat([request(id(i)), frame(DATA, 0, id(i))]),
  ],
  ['malformed requests', 'HTTP2_RESET_FLOOD', 5, (i) => request(id(i), END_STREAM, ['x', 'y'])],
  ['CVE-2019-9512: pings', 'HTTP2_CONTROL_FLOOD', 10, () => frame(PING, 0, 0, Buffer.alloc(8))],
  [
    'pings that nobody sent, acknowledged',
    'HTTP2_CONTROL_FLOOD',
    10,
    () => frame(PING, 1, 0, Buffer.alloc(8)),
  ],
  [
    'acknowledgements of a ping that was not repeated',
    'HTTP2_CONTROL_FLOOD',
    10,
    () => frame(PING, 1, 0, Buffer.from('6369727100000002', 'hex')),
  ],
  ['CVE-2019-9515: settings', 'HTTP2_CONTROL_FLOOD', 10, () => frame(SETTINGS, 0, 0, settings([4, 1]))],
  ['acknowledged settings', 'HTTP2_CONTROL_FLOOD', 10, () => frame(SETTINGS, 1, 0)],
  [
    'CVE-2019-9513: priorities',
    'HTTP2_CONTROL_FLOOD',
    10,
    (i) => frame(PRIORITY, 0, 1, Buffer.concat([uint32(id(i + 1)), Buffer.alloc(1)])),
  ],
  ['unknown frames', 'HTTP2_CONTROL_FLOOD', 10, () => frame(0x42, 0, 0)],
])('a flood of %s ends the connection, at n and not before', (_name, reason, count, act) => {
  const within = startServer(FEW)
  expect(floods(within, count, act)).toBe(false)
  const above = startServer(FEW)
  expect(floods(above, count + 1, act)).toBe(true)
  expect(above.error?.reason).toBe(reason)
})

test('CVE-2019-9518: empty DATA frames are counted, one that ends the stream is not', () => {
  for (const [count, ended] of [
    [10, false],
    [11, true],
  ] as const) {
    const server = startServer(FEW)
    server.receive(request(1, 0, POST))
    expect(floods(server, count, () => frame(DATA, 0, 1))).toBe(ended)
  }
  const server = startServer(FEW)
  expect(floods(server, 50, (i) => Buffer.concat([post(i), frame(DATA, END_STREAM, id(i))]))).toBe(false)
})

test('WINDOW_UPDATEs beyond what our frames explain are counted', () => {
  const update = (): Buffer => frame(WINDOW_UPDATE, 0, 0, uint32(1))
  expect(floods(startServer(FEW), 1_010, update)).toBe(false)
  expect(floods(startServer(FEW), 1_011, update)).toBe(true)
  const server = startServer(FEW)
  server.receive(request(1))
  const stream = server.streams[0]?.stream
  stream?.sendHead([':status', '200'], false)
  for (let i = 0; i < 100; i++) stream?.write(Buffer.alloc(10), 0, 10)
  expect(floods(server, 1_010 + 404, update)).toBe(false)
})

test('resets of our own are not held against the client', () => {
  const server = startServer(FEW)
  server.serve = ({ stream }) => stream.reset(CANCEL)
  expect(floods(server, 100, post)).toBe(false)
})

test('refused streams are counted like resets', () => {
  const server = startServer({ ...FEW, streamsMax: 1 })
  server.receive(post(0))
  expect(floods(server, 5, (i) => post(i + 1))).toBe(false)
  expect(floods(server, 1, () => post(6))).toBe(true)
})

test('a stream whose last frame waits for the transport still counts as open', () => {
  const server = startServer({ streamsMax: 2 })
  server.serve = ({ stream }) => stream.sendHead([':status', '204'], true)
  server.answer = 2
  server.receive(request(1))
  server.take()
  server.receive(request(3), request(5), request(7))
  expect(server.streams.length).toBe(3)
  server.answer = 0
  server.connection.resumeOutput()
  server.receive(request(9))
  expect(server.streams.length).toBe(4)
})

test('what a peer makes us answer and does not read is bounded', () => {
  const ping = (): Buffer => frame(PING, 0, 0, Buffer.alloc(8))
  for (const [count, ended] of [
    [100, false],
    [101, true],
  ] as const) {
    const server = startServer({ replyBytesMax: 1_700 })
    server.answer = 2
    server.receive(ping())
    server.take()
    expect(floods(server, count, ping)).toBe(ended)
    expect(server.connection.outputBytes).toBeLessThan(2_000)
  }
})

test('continuationsMax: so many frames, and no more, of whatever size', () => {
  const server = (frames: number): End => {
    const end = startServer({ continuationsMax: 3 })
    end.receive(frame(HEADERS, END_STREAM, 1, block(REQUEST)))
    for (let i = 1; i < frames; i++) end.receive(frame(CONTINUATION, 0, 1))
    return end.receive(frame(CONTINUATION, END_HEADERS, 1))
  }
  expect(server(3).streams.length).toBe(1)
  expect(server(4).error).toEqual({ code: ENHANCE_YOUR_CALM, reason: 'HTTP2_CONTINUATION_FLOOD' })
})

test('CVE-2024-27316: a block that does not end is cut off by its bytes', () => {
  const server = startServer({ headerListBytesMax: 10_000 })
  server.receive(frame(HEADERS, END_STREAM, 1, Buffer.alloc(16_384, block(['x', 'y']))))
  server.receive(frame(CONTINUATION, 0, 1, Buffer.alloc(10_000, block(['x', 'y']))))
  expect(server.error).toBeNull()
  server.receive(frame(CONTINUATION, 0, 1, Buffer.alloc(1)))
  expect(server.error?.reason).toBe('HTTP2_FIELD_BLOCK_BYTES')
})

test.each<[string, Http2Options, string[], string[]]>([
  ['fieldsMax', { fieldsMax: 5 }, ['x', '1'], ['x', '1', 'y', '2']],
  ['headerListBytesMax', { headerListBytesMax: 4 * 42 + 100 }, ['x', 'y'.repeat(60)], ['x', 'y'.repeat(100)]],
])('%s: a head over it is answered, and the connection goes on', (_name, options, within, above) => {
  const server = startServer(options)
  server.receive(request(1, 0, [...POST, ...within]), request(3, 0, [...POST, ...above]), request(5))
  expect(server.streams.map(({ stream }) => stream.id)).toEqual([1, 5])
  expect(server.refused).toEqual(['HTTP2_HEAD_BYTES'])
  expect(goawayOf(server.frames())).toBe(-1)
})

test('settingsPerFrameMax', () => {
  const many = (count: number): Buffer =>
    frame(SETTINGS, 0, 0, settings(...Array.from({ length: count }, () => [4, 65_535] as const)))
  expect(floods(startServer({ settingsPerFrameMax: 4 }), 1, () => many(4))).toBe(false)
  expect(floods(startServer({ settingsPerFrameMax: 4 }), 1, () => many(5))).toBe(true)
})

test('tiny pieces that wait for their reader hold little more than their bytes', () => {
  const server = startServer({ windowBytes: 65_535 })
  server.serve = () => undefined
  server.receive(request(1, 0, POST))
  const tiny = Buffer.concat(Array.from({ length: 1_000 }, () => frame(DATA, 0, 1, Buffer.from('x'))))
  for (let i = 0; i < 60; i++) server.receive(tiny)
  expect(server.streams[0]?.stream.received?.length).toBeLessThan(10)
  server.streams[0]?.stream.resume()
  expect(server.streams[0]?.body.equals(Buffer.alloc(60_000, 'x'))).toBe(true)
})

test('a writer is told to stop at streamQueueBytesMax, and again once half of it is gone', () => {
  const server = startServer({ streamQueueBytesMax: 1_000 })
  server.receive(frame(SETTINGS, 0, 0, settings([4, 0])), request(1))
  const [record] = server.streams
  record?.stream.sendHead([':status', '200'], false)
  const write = (size: number) => record?.stream.write(Buffer.alloc(size), 0, size)
  expect([write(999), write(1), write(1)]).toEqual([0, 2, 2])
  server.receive(frame(WINDOW_UPDATE, 0, 1, uint32(500)))
  server.take()
  expect(record?.drains).toBe(0)
  server.receive(frame(WINDOW_UPDATE, 0, 1, uint32(1)))
  server.take()
  expect(record?.drains).toBe(1)
})

test('options are checked', () => {
  expect(() => resolveHttp2Options({ streams: 1 } as Http2Options)).toThrow('Unknown HTTP/2 option "streams"')
  expect(() => resolveHttp2Options({ streamsMax: '1' as unknown as number })).toThrow(TypeError)
  for (const options of [
    { streamsMax: 0 },
    { windowBytes: 2 ** 31 },
    { frameBytesMax: 16_383 },
    { frameBytesMax: 2 ** 24 },
  ]) {
    expect(() => resolveHttp2Options(options)).toThrow(RangeError)
  }
  expect(resolveHttp2Options({ streamsMax: 10, windowBytes: 100_000 }).connectionWindowBytes).toBe(1_000_000)
  expect(resolveHttp2Options({ streamsMax: 2 ** 20, windowBytes: 2 ** 20 }).connectionWindowBytes).toBe(
    2 ** 31 - 1,
  )
  const resolved = resolveHttp2Options({})
  expect(resolveHttp2Options(resolved)).toBe(resolved)
})

test('a token bucket never lets more through than its burst and its rate', () => {
  const steps = fc.array(fc.nat(500), { maxLength: 200 })
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 1, max: 100 }),
      steps,
      (burst, rate, waits) => {
        const bucket = new TokenBucket(burst, rate, 0)
        let now = 0
        let taken = 0
        for (const wait of waits) {
          now += wait
          if (bucket.take(now)) taken++
          expect(taken).toBeLessThanOrEqual(burst + (now / 1_000) * rate + 1e-6)
        }
      },
    ),
  )
})

/** `count` DATA frames of stream 1 with the given text each. */
const dripped = (count: number, text = 'x'): Buffer =>
  Buffer.concat(Array.from({ length: count }, () => frame(DATA, 0, 1, Buffer.from(text))))

test('framesAtOnceMax: after so many frames, over several reads too, the rest waits for another turn', () => {
  const server = startServer({ framesAtOnceMax: 100 })
  const { connection } = server
  const post = Buffer.concat([request(1, 0, POST), dripped(60)])
  // Settings and acknowledgement came before, and HEADERS counts as eight: ten frames of the first hundred.
  expect(connection.receive(post, 0, post.length)).toBe(true)
  const more = Buffer.concat([dripped(200), frame(DATA, END_STREAM, 1, Buffer.from('end'))])
  const seen = (): number => server.streams[0]?.body.length ?? 0
  expect(connection.receive(more, 0, more.length)).toBe(false)
  expect([seen(), connection.inputWaiting]).toEqual([90, true])
  // What is read all the same comes behind it.
  const next = request(3)
  expect(connection.receive(next, 0, next.length)).toBe(false)
  next.fill(0)
  expect(connection.resumeInput()).toBe(false)
  expect(seen()).toBe(190)
  expect(connection.resumeInput()).toBe(true)
  expect([connection.inputWaiting, connection.resumeInput()]).toEqual([false, true])
  expect(server.streams.map(({ body, ended }) => [body.toString(), ended])).toEqual([
    [`${'x'.repeat(260)}end`, true],
    ['', true],
  ])
})

test('what waits for another turn is dropped when the connection ends', () => {
  const server = startServer({ framesAtOnceMax: 10 })
  const bytes = Buffer.concat([request(1, 0, POST), dripped(30), request(3)])
  expect(server.connection.receive(bytes, 0, bytes.length)).toBe(false)
  server.connection.close()
  expect([server.connection.inputWaiting, server.connection.resumeInput()]).toEqual([false, true])
  expect(server.streams.length).toBe(1)
})

test('many short runs of data in one read are handed over together, long ones as they come', () => {
  const server = startServer({ framesAtOnceMax: 100_000, windowBytes: 1_000_000 })
  server.receive(request(1, 0, POST), request(3, 0, POST))
  const calls: number[] = []
  for (const record of server.streams) {
    const take = record.onData.bind(record)
    record.onData = (buffer, start, end) => {
      calls.push(record.stream.id)
      take(buffer, start, end)
    }
  }
  const text = Array.from({ length: 3_000 }, (_, index) => String.fromCharCode(97 + (index % 26))).join('')
  const mixed = [...text].flatMap((one) => [
    frame(DATA, 0, 1, Buffer.from(one)),
    frame(DATA, 0, 3, Buffer.from(one)),
  ])
  const long = Buffer.alloc(16_000, 'z')
  server.receive(...mixed, frame(DATA, 0, 3, long), frame(DATA, END_STREAM, 1, Buffer.from('.')))
  expect(calls.length).toBeLessThan(75)
  expect(server.streams.map(({ body }) => body.toString())).toEqual([`${text}.`, `${text}${long}`])
  expect(server.streams.map(({ ended }) => ended)).toEqual([true, false])
  const early = calls.length
  server.receive(...mixed.slice(0, 10))
  expect(calls.length).toBe(early + 5)
})

test('gathered data comes before the reset, or the fault, that follows it in the same read', () => {
  const bytes = [request(1, 0, POST), dripped(500)]
  const reset = startServer().receive(...bytes, frame(RST_STREAM, 0, 1, uint32(CANCEL)))
  const broken = startServer().receive(...bytes, frame(PING, 0, 1))
  for (const { streams } of [reset, broken]) {
    expect(streams[0]?.body.length).toBe(500)
    expect(streams[0]?.reset).not.toBeNull()
  }
})

test('one short run for each of many streams has nothing to be gathered with', () => {
  const server = startServer({ framesAtOnceMax: 100_000 })
  const calls: number[] = []
  server.serve = (record) => {
    record.stream.resume()
    record.onData = (buffer) => void calls.push(buffer.length)
  }
  const bytes = Buffer.concat(
    Array.from({ length: 90 }, (_, i) => [post(i), frame(DATA, END_STREAM, id(i), Buffer.from('x'))]).flat(),
  )
  server.receive(bytes)
  expect(calls).toEqual(Array(90).fill(bytes.length))
})
