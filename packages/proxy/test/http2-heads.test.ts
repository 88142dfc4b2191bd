import type { Socket } from 'node:net'
import { HttpPeer } from '@cirque/core'
import { HpackDecoder } from '@cirque/hpack'
import { expect, test } from 'vitest'
import {
  block,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  HEADERS,
  neverIndexed,
  PREFACE,
  RST_STREAM,
  SETTINGS,
  settings,
  splitFrames,
  uint32,
} from '../../../scripts/test-support/http2-frames.ts'
import { connectRawHttp2, request } from '../../core/test/support/raw-http2.ts'
import { startProxy } from './support/proxy.ts'
import { startRawUpstream } from './support/upstream.ts'

const HEADER_LIST = 6
const H2C = { server: { h2c: true } }

/** An HTTP/2 origin that answers each head of a request with frames, and keeps the heads as they came. */
async function startH2Origin(answer: (stream: number) => readonly Buffer[], given = settings()) {
  const blocks: Buffer[] = []
  const upstream = await startRawUpstream((socket: Socket) => {
    let bytes: Buffer = Buffer.alloc(0)
    let skip = PREFACE.length
    socket.on('error', () => undefined)
    socket.on('end', () => socket.end())
    socket.write(frame(SETTINGS, 0, 0, given))
    socket.on('data', (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk])
      if (bytes.length < skip) return
      const { frames, rest } = splitFrames(bytes.subarray(skip))
      skip = 0
      bytes = rest
      for (const { type, stream, payload } of frames) {
        if (type !== HEADERS) continue
        blocks.push(payload)
        socket.write(Buffer.concat(answer(stream)))
      }
    })
  })
  return { ...upstream, blocks }
}

const answerOf = (stream: number, fields: Buffer, body = 'ok'): Buffer[] => [
  frame(HEADERS, END_HEADERS, stream, Buffer.concat([block([':status', '200']), fields])),
  frame(DATA, END_STREAM, stream, Buffer.from(body)),
]
/** What a block says, by the decoder that reads all blocks of its connection. */
function read(decoder: HpackDecoder, bytes: Buffer) {
  const list = decoder.decode(bytes, 0, bytes.length) ?? []
  return {
    fields: new Map(list.flatMap((name, i) => (i % 2 === 0 ? [[name, list[i + 1]]] : []))),
    never: decoder.neverIndexed,
  }
}

test('RFC 7541 §6.2.3: what may never be indexed is passed on as such, both ways, and nothing else is', async () => {
  await using origin = await startH2Origin((stream) =>
    answerOf(stream, Buffer.concat([block(['x-open', 'b']), neverIndexed(['x-token', 'short-lived'])])),
  )
  await using proxy = await startProxy(
    { upstreamPeer: () => new HttpPeer(origin.address, { httpVersion: 2 }) },
    H2C,
  )
  await using client = await connectRawHttp2(proxy.port)
  const [towardsOrigin, towardsClient] = [new HpackDecoder(), new HpackDecoder()]
  // A field that was open before, and whose very value the tables hold, is protected from then on, and open again.
  for (const [stream, secret] of [
    [1, false],
    [3, true],
    [5, false],
  ] as const) {
    const key = ['x-key', 'hunter2']
    const fields = Buffer.concat([request('/', ['x-plain', 'a']), secret ? neverIndexed(key) : block(key)])
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, fields))
    const { payload } = await client.see(HEADERS, (seen) => seen.stream === stream)
    const asked = read(towardsOrigin, origin.blocks.at(-1) as Buffer)
    expect([asked.fields.get('x-key'), asked.fields.get('x-plain')]).toEqual(['hunter2', 'a'])
    expect(asked.never).toEqual(secret ? new Set(['x-key']) : null)
    const answered = read(towardsClient, payload)
    expect([answered.fields.get('x-token'), answered.fields.get('x-open')]).toEqual(['short-lived', 'b'])
    expect(answered.never).toEqual(new Set(['x-token']))
  }
})

test('RFC 9113 §10.5.1: a request that its upstream does not take gets 431 and is not sent', async () => {
  await using origin = await startH2Origin(
    (stream) => answerOf(stream, block([])),
    settings([HEADER_LIST, 1_000]),
  )
  await using proxy = await startProxy(
    { upstreamPeer: () => new HttpPeer(origin.address, { httpVersion: 2 }) },
    H2C,
  )
  await using client = await connectRawHttp2(proxy.port)
  const decoder = new HpackDecoder()
  const ask = async (stream: number, bytes: number) => {
    const fields = request('/', ['x-long', 'y'.repeat(bytes)])
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, fields))
    const { payload } = await client.see(HEADERS, (seen) => seen.stream === stream)
    return read(decoder, payload).fields.get(':status')
  }
  // The first one is sent before the upstream's settings can have come.
  expect(await ask(1, 0)).toBe('200')
  const { fields } = read(new HpackDecoder(), origin.blocks[0] as Buffer)
  const rest = [...fields].reduce((sum, [name, value]) => sum + name.length + (value ?? '').length + 32, 0)
  expect(await ask(3, 1_000 - rest)).toBe('200')
  expect(await ask(5, 1_001 - rest)).toBe('431')
  expect(await ask(7, 0)).toBe('200')
  expect(origin.blocks.length).toBe(3)
  expect(origin.connections.accepted).toBe(1)
  expect(proxy.errors()).toEqual(['ProxyError: Request head is larger than the upstream takes'])
})

test('a response that its client does not take becomes 502, or a reset, and counts against no upstream', async () => {
  const failures: unknown[] = []
  await using origin = await startH2Origin((stream) =>
    answerOf(stream, block(['x-long', 'y'.repeat(2_000)]), 'z'.repeat(10_000)),
  )
  await using proxy = await startProxy(
    {
      upstreamPeer: () => new HttpPeer(origin.address, { httpVersion: 2 }),
      logging: (_session, error) => void failures.push([error?.code, error?.source]),
    },
    H2C,
  )
  await using client = await connectRawHttp2(proxy.port, settings([HEADER_LIST, 1_000]))
  const decoder = new HpackDecoder()
  for (const stream of [1, 3]) {
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, request('/')))
    const { flags, payload } = await client.see(HEADERS, (seen) => seen.stream === stream)
    expect(read(decoder, payload).fields.get(':status')).toBe('502')
    expect(flags & END_STREAM).toBe(END_STREAM)
  }
  await using narrow = await connectRawHttp2(proxy.port, settings([HEADER_LIST, 10]))
  narrow.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, request('/')))
  expect((await narrow.see(RST_STREAM)).payload).toEqual(uint32(2))
  await proxy.idle()
  expect(failures).toEqual(Array(3).fill(['RESPONSE_TOO_LARGE', 'downstream']))
  expect(client.frames.some(({ type }) => type === DATA || type === RST_STREAM)).toBe(false)
})

test('a reset with ENHANCE_YOUR_CALM sends a GET again, and no POST', async () => {
  const ENHANCE_YOUR_CALM = 11
  const calm = new Set([3, 7])
  await using origin = await startH2Origin((stream) =>
    calm.has(stream)
      ? [frame(RST_STREAM, 0, stream, uint32(ENHANCE_YOUR_CALM))]
      : answerOf(stream, block([])),
  )
  await using proxy = await startProxy(
    { upstreamPeer: () => new HttpPeer(origin.address, { httpVersion: 2 }) },
    H2C,
  )
  await using client = await connectRawHttp2(proxy.port)
  const decoder = new HpackDecoder()
  for (const [stream, method, status, asked] of [
    [1, 'GET', '200', 1],
    [3, 'GET', '200', 3],
    [5, 'POST', '502', 4],
  ] as const) {
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, request('/', [], method)))
    const { payload } = await client.see(HEADERS, (seen) => seen.stream === stream)
    expect([read(decoder, payload).fields.get(':status'), origin.blocks.length]).toEqual([status, asked])
  }
})
