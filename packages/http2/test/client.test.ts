import { expect, test } from 'vitest'
import {
  block,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  GOAWAY,
  HEADERS,
  PING,
  PREFACE,
  PUSH_PROMISE,
  RST_STREAM,
  SETTINGS,
  settings,
  uint32,
} from '../../../scripts/test-support/http2-frames.ts'
import { ErrorCode } from '../src/index.ts'
import { framesOf, POST, REQUEST } from './support/frames.ts'
import { End, goawayOf, resetOf } from './support/server.ts'

const { PROTOCOL_ERROR, REFUSED_STREAM, CANCEL, NO_ERROR, STREAM_CLOSED } = ErrorCode

function startClient(theirs: Buffer = Buffer.alloc(0)): End {
  const client = new End('client', { windowBytes: 1_048_576, frameBytesMax: 65_536 })
  client.receive(frame(SETTINGS, 0, 0, theirs), frame(SETTINGS, 1, 0))
  const sent = client.take()
  expect(sent.subarray(0, PREFACE.length).equals(PREFACE)).toBe(true)
  expect(framesOf(sent.subarray(PREFACE.length))[0]?.type).toBe(SETTINGS)
  return client
}
const head = (id: number, status: number, more: string[] = [], flags = 0): Buffer =>
  frame(HEADERS, flags | END_HEADERS, id, block([':status', `${status}`, ...more]))

test('a request and its response, with early hints and trailers', () => {
  const client = startClient()
  const get = client.open(REQUEST, true)
  expect(client.frames().map(({ type, flags, stream }) => [type, flags, stream])).toEqual([
    [HEADERS, END_HEADERS | END_STREAM, 1],
  ])
  client.receive(
    head(1, 103, ['link', '</a>']),
    head(1, 200, ['x', 'y']),
    frame(DATA, 0, 1, Buffer.from('body')),
  )
  client.receive(frame(HEADERS, END_HEADERS | END_STREAM, 1, block(['x-sum', '1'])))
  expect(get.responses.map(({ status }) => status)).toEqual([103, 200])
  expect([get.body.toString(), get.ended, get.trailers]).toEqual(['body', true, ['x-sum', '1']])
  expect(client.closedIds).toEqual([1])
})

test.each<[string, number, (id: number) => Buffer[]]>([
  ['no head before its data', PROTOCOL_ERROR, (id) => [frame(DATA, 0, id, Buffer.from('x'))]],
  ['a malformed head', PROTOCOL_ERROR, (id) => [head(id, 999)]],
  ['101', PROTOCOL_ERROR, (id) => [head(id, 101)]],
  ['an informational head that ends it', PROTOCOL_ERROR, (id) => [head(id, 103, [], END_STREAM)]],
  ['a length and no body', PROTOCOL_ERROR, (id) => [head(id, 200, ['content-length', '4'], END_STREAM)]],
  [
    'a body longer than its length',
    PROTOCOL_ERROR,
    (id) => [head(id, 200, ['content-length', '1']), frame(DATA, 0, id, Buffer.from('xy'))],
  ],
  [
    'a body shorter than its length',
    PROTOCOL_ERROR,
    (id) => [head(id, 200, ['content-length', '3']), frame(DATA, END_STREAM, id, Buffer.from('xy'))],
  ],
  [
    'a body after 204',
    PROTOCOL_ERROR,
    (id) => [head(id, 204), frame(DATA, END_STREAM, id, Buffer.from('xy'))],
  ],
  ['a second head', PROTOCOL_ERROR, (id) => [head(id, 200), head(id, 200)]],
])('a response with %s resets its stream only', (_name, code, answer) => {
  const client = startClient()
  const one = client.open(POST, false)
  const other = client.open(REQUEST, true)
  client.receive(...answer(1), head(3, 200, [], END_STREAM))
  expect(resetOf(client.frames(), 1)).toBe(code)
  expect(one.reset).toEqual({ code, origin: 'rules' })
  expect(other.ended).toBe(true)
})

test('HEAD, 204 and 304 may tell a length without a body', () => {
  const client = startClient()
  const asked = client.open([':method', 'HEAD', ...REQUEST.slice(2)], true)
  const unchanged = client.open(REQUEST, true)
  client.receive(
    head(1, 200, ['content-length', '4'], END_STREAM),
    head(3, 304, ['content-length', '4'], END_STREAM),
  )
  expect([asked.ended, unchanged.ended]).toEqual([true, true])
})

test('frames that no server may send end the connection', () => {
  for (const [bytes, code] of [
    [head(1, 200), PROTOCOL_ERROR],
    [head(2, 200), PROTOCOL_ERROR],
    [frame(PUSH_PROMISE, END_HEADERS, 1, uint32(2)), PROTOCOL_ERROR],
    [frame(SETTINGS, 0, 0, settings([2, 1])), PROTOCOL_ERROR],
    [frame(RST_STREAM, 0, 1, uint32(CANCEL)), PROTOCOL_ERROR],
  ] as const) {
    const client = startClient()
    client.receive(bytes)
    expect(goawayOf(client.frames())).toBe(code)
  }
  const late = startClient()
  late.open(REQUEST, true)
  late.receive(head(1, 200, [], END_STREAM), head(1, 200))
  expect(goawayOf(late.frames())).toBe(STREAM_CLOSED)
})

test('§8.1: a reset after the whole response takes nothing back, though nobody has read it yet', () => {
  const client = startClient()
  const early = client.open(POST, false)
  early.stream.pause()
  client.receive(
    head(1, 413),
    frame(DATA, END_STREAM, 1, Buffer.from('too large')),
    frame(RST_STREAM, 0, 1, uint32(NO_ERROR)),
  )
  expect([client.closedIds, early.reset, early.ended]).toEqual([[1], null, false])
  expect(early.stream.write(Buffer.alloc(100), 0, 100)).toBe(0)
  early.stream.end()
  early.stream.resume()
  expect([early.body.toString(), early.ended, early.reset]).toEqual(['too large', true, null])
  expect(client.frames().some(({ type, stream }) => stream === 1 && type !== HEADERS)).toBe(false)
})

test('a reset within a response, also with NO_ERROR, is not its end', () => {
  const client = startClient()
  const cut = client.open(REQUEST, true)
  client.receive(
    head(1, 200),
    frame(DATA, 0, 1, Buffer.from('half')),
    frame(RST_STREAM, 0, 1, uint32(NO_ERROR)),
  )
  expect([cut.ended, cut.reset]).toEqual([false, { code: NO_ERROR, origin: 'peer' }])
})

test('§6.8: GOAWAY frees the streams above its id, and the others go on', () => {
  const client = startClient()
  const [one, two, three] = [client.open(REQUEST, true), client.open(REQUEST, true), client.open(POST, false)]
  client.receive(frame(GOAWAY, 0, 0, uint32(2 ** 31 - 1, NO_ERROR)))
  expect([client.connection.available, client.connection.openStreams]).toEqual([true, 3])
  client.receive(frame(GOAWAY, 0, 0, uint32(1, NO_ERROR)))
  expect(client.connection.available).toBe(false)
  expect([one.reset, two.reset?.origin, three.reset?.origin]).toEqual([null, 'unprocessed', 'unprocessed'])
  client.receive(head(1, 200, [], END_STREAM))
  expect(one.ended).toBe(true)
  expect(client.goaways.map(({ lastStreamId }) => lastStreamId)).toEqual([2 ** 31 - 1, 1])
})

test('the peer’s limit of streams is kept', () => {
  const client = startClient(settings([3, 1], [8, 1]))
  expect([client.connection.peerConnectProtocol, client.connection.settingsReceived]).toEqual([true, true])
  client.open(REQUEST, true)
  expect([
    client.connection.available,
    client.connection.open(REQUEST, true, client.streams[0] as never),
  ]).toEqual([false, null])
  client.receive(frame(RST_STREAM, 0, 1, uint32(REFUSED_STREAM)))
  expect(client.streams[0]?.reset).toEqual({ code: REFUSED_STREAM, origin: 'peer' })
  expect(client.connection.available).toBe(true)
})

test('a ping is answered', () => {
  const client = startClient()
  client.connection.ping()
  const [ping] = client.frames()
  client.receive(frame(PING, 1, 0, ping?.payload ?? Buffer.alloc(0)))
  expect(client.pongs).toBe(1)
})

test('the end of the transport ends every stream, once', () => {
  const client = startClient()
  const open = client.open(POST, false)
  open.stream.write(Buffer.alloc(2_000_000), 0, 2_000_000)
  client.connection.close()
  client.connection.close()
  expect(open.reset).toEqual({ code: NO_ERROR, origin: 'connection' })
  expect([client.connection.openStreams, client.connection.outputBytes, open.stream.queuedBytes]).toEqual([
    0, 0, 0,
  ])
  expect(open.stream.write(Buffer.alloc(1), 0, 1)).toBe(0)
})
