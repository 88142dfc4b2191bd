import { expect, test, vi } from 'vitest'
import {
  block,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  GOAWAY,
  HEADERS,
  RST_STREAM,
  SETTINGS,
} from '../../../scripts/test-support/http2-frames.ts'
import { RememberedPeers } from '../src/http2/remembered-peers.ts'
import { Connector, type ConnectorOptions } from '../src/index.ts'
import { startHttp2Upstream } from './support/http2-upstream.ts'
import { fetchOver, type Recorder, send, startUpstream, type Upstream } from './support/upstream.ts'

/** An HTTP/2 upstream that answers every HEADERS with frames as given for its stream. */
function scripted(
  answer: (stream: number) => Buffer[],
  settings: Buffer = Buffer.alloc(0),
): Promise<Upstream> {
  return startHttp2Upstream(settings, (socket, stream) => socket.write(Buffer.concat(answer(stream))))
}

const head = (stream: number, fields: string[] = [], flags: number = END_HEADERS): Buffer =>
  frame(HEADERS, flags, stream, block([':status', '200', ...fields]))
const data = (stream: number, text: string, flags: number = 0): Buffer =>
  frame(DATA, flags, stream, Buffer.from(text))
const reset = (stream: number, code: number): Buffer => {
  const payload = Buffer.alloc(4)
  payload.writeUInt32BE(code)
  return frame(RST_STREAM, 0, stream, payload)
}

async function fetchFrom(answer: (stream: number) => Buffer[], method: string = 'GET'): Promise<Recorder> {
  await using upstream = await scripted(answer)
  const connector = new Connector()
  try {
    return await fetchOver(connector, upstream.peer({ httpVersion: 2, readTimeoutMs: 300 }), method)
  } finally {
    connector.close()
  }
}

test('a whole response, with and without trailers, with padding of empty frames', async () => {
  const plain = await fetchFrom((id) => [head(id), data(id, 'he'), data(id, ''), data(id, 'llo', END_STREAM)])
  expect([plain.body, plain.ended, plain.contentLength, plain.trailers]).toEqual(['hello', true, -1, null])
  const trailed = await fetchFrom((id) => [
    head(id),
    data(id, 'x'),
    frame(HEADERS, END_HEADERS | END_STREAM, id, block(['x-t', '1', 'age', '9'])),
  ])
  expect([trailed.body, trailed.trailers]).toEqual(['x', ['x-t', '1']])
})

test.each([0, 2, 8])('a reset with code %d within a body of unknown length is not its end', async (code) => {
  const seen = await fetchFrom((id) => [head(id), data(id, 'half'), reset(id, code)])
  expect(seen.ended).toBe(false)
  expect(seen.error).toMatchObject({ code: 'H2_ERROR', source: 'upstream', retry: 'never' })
})

test('RFC 9113 §8.1: a reset with NO_ERROR after END_STREAM takes nothing back', async () => {
  const seen = await fetchFrom((id) => [head(id), data(id, 'all', END_STREAM), reset(id, 0)])
  expect([seen.body, seen.ended, seen.error]).toEqual(['all', true, undefined])
})

test.each([
  [
    'shorter than its Content-Length',
    (id: number) => [head(id, ['content-length', '5']), data(id, '1234', END_STREAM)],
  ],
  [
    'longer than its Content-Length',
    (id: number) => [head(id, ['content-length', '5']), data(id, '123456', END_STREAM)],
  ],
  [
    'announced, and none comes',
    (id: number) => [head(id, ['content-length', '5'], END_HEADERS | END_STREAM)],
  ],
])('a body %s never counts as whole', async (_name, answer) => {
  const seen = await fetchFrom(answer)
  expect(seen.ended).toBe(false)
  expect(seen.error?.source).toBe('upstream')
})

test('a head and its length are told right: HEAD, 204, END_STREAM with the head', async () => {
  const headOnly = await fetchFrom(
    (id) => [head(id, ['content-length', '5'], END_HEADERS | END_STREAM)],
    'HEAD',
  )
  expect([headOnly.contentLength, headOnly.ended, headOnly.head?.get('content-length')]).toEqual([
    0,
    true,
    '5',
  ])
  const empty = await fetchFrom((id) => [head(id, [], END_HEADERS | END_STREAM)])
  expect([empty.contentLength, empty.ended]).toEqual([0, true])
})

test('a flood of informational responses fails the exchange, also 101', async () => {
  const early = (id: number, status: string): Buffer =>
    frame(HEADERS, END_HEADERS, id, block([':status', status]))
  const flooded = await fetchFrom((id) => Array.from({ length: 20 }, () => early(id, '103')))
  expect(flooded.informational.length).toBe(16)
  expect(flooded.error?.code).toBe('INVALID_HTTP_HEADER')
  const switched = await fetchFrom((id) => [early(id, '101')])
  expect(switched.error?.source).toBe('upstream')
})

test('the refusal of a stream says that nothing was done; another reset does not', async () => {
  await using upstream = await scripted((id) => [reset(id, id === 1 ? 7 : 2)])
  const connector = new Connector()
  const peer = upstream.peer({ httpVersion: 2 })
  const first = await connector.session(peer)
  const refused = await send(first, 'POST').done
  expect([refused.error?.retry, first.requestSent]).toEqual(['allowed', false])
  const second = await connector.session(peer)
  const failed = await send(second, 'POST').done
  expect([failed.error?.retry, second.requestSent]).toEqual(['never', true])
  connector.close()
})

test('GOAWAY with an error fails what was served, and allows what was not to be sent again', async () => {
  const goaway = Buffer.alloc(8)
  goaway.writeUInt32BE(1, 0)
  goaway.writeUInt32BE(11, 4)
  await using upstream = await scripted((id) => (id === 3 ? [frame(GOAWAY, 0, 0, goaway)] : []))
  const connector = new Connector()
  const peer = upstream.peer({ httpVersion: 2 })
  const session = await connector.session(peer)
  const first = send(session)
  const other = await connector.session(peer)
  const second = send(other)
  expect((await first.done).error).toMatchObject({ source: 'upstream' })
  expect(session.requestSent).toBe(true)
  expect((await second.done).error?.retry).toBe('allowed')
  expect(other.requestSent).toBe(false)
  connector.close()
})

test('a connection that closes before an answer allows a retry only when it was reused', async () => {
  await using upstream = await startUpstream((socket) => {
    socket.write(frame(SETTINGS, 0, 0))
    let reads = 0
    socket.on('data', () => {
      if (++reads > 1) socket.destroy()
    })
  })
  const connector = new Connector()
  const session = await connector.session(upstream.peer({ httpVersion: 2, readTimeoutMs: 500 }))
  const recorder = send(session)
  upstream.sockets[0]?.destroy()
  expect((await recorder.done).error).toMatchObject({ source: 'upstream', retry: 'if-reused' })
  expect(session.reused).toBe(false)
  connector.close()
})

test('connectionAgeMaxMs and requestsPerConnectionMax end its use; a clock that is set does not', async () => {
  await using upstream = await scripted((id) => [head(id, [], END_HEADERS | END_STREAM)])
  const fetches = async (count: number, options: ConnectorOptions, between: () => unknown) => {
    const connector = new Connector(options)
    const before = upstream.sockets.length
    for (let i = 0; i < count; i++) {
      await fetchOver(connector, upstream.peer({ httpVersion: 2 }))
      await between()
    }
    connector.close()
    return upstream.sockets.length - before
  }
  expect(await fetches(4, { requestsPerConnectionMax: 2 }, () => undefined)).toBe(2)
  const wait = () => new Promise((resolve) => setTimeout(resolve, 60))
  expect(await fetches(2, { connectionAgeMaxMs: 1 }, wait)).toBe(2)
  const set = vi.spyOn(Date, 'now')
  let time = Date.now()
  const tomorrow = () => {
    time += 86_400_000
    set.mockReturnValue(time)
  }
  expect(await fetches(3, {}, tomorrow)).toBe(1)
  set.mockRestore()
})

test('an upstream that speaks something else is told apart from one that is gone', async () => {
  await using upstream = await startUpstream((socket) => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'))
  const connector = new Connector()
  const session = await connector.session(upstream.peer({ httpVersion: 2, readTimeoutMs: 500 }))
  expect((await send(session).done).error).toMatchObject({ code: 'INVALID_H2', source: 'upstream' })
  connector.close()
})

test('peers that want HTTP/1.1 are remembered for ten minutes, 1,024 at most', () => {
  const memory = new RememberedPeers()
  memory.remember('a', 0)
  expect([memory.has('a', 599_999), memory.has('a', 600_000)]).toEqual([true, false])
  for (let i = 0; i < 1_025; i++) memory.remember(`${i}`, 0)
  expect([memory.has('0', 1), memory.has('1', 1), memory.has('1024', 1)]).toEqual([false, true, true])
})
