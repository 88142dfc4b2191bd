import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  ACK,
  CONTINUATION,
  END_HEADERS,
  END_STREAM,
  GOAWAY,
  HEADERS,
  PING,
  SETTINGS,
} from '../../../scripts/test-support/http2-frames.ts'
import { HpackDecoder, HpackEncoder } from '../src/index.ts'
import { HEADER_TABLE_SIZE, RawClient, startServer } from './raw-http2.ts'

// The second opinion: nghttp2, which node:http2 is built on, at the other end of a socket.

const token = fc.string({
  unit: fc.constantFrom(...'abcdefghijklmnopqrstuvwxyz0123456789-_'),
  minLength: 1,
  maxLength: 20,
})
const names = fc.oneof(
  fc.constantFrom(
    'date',
    'server',
    'vary',
    'x-a',
    'x-b',
    'content-type',
    'accept',
    'user-agent',
    'etag',
    'cookie',
  ),
  token.map((name) => `x-${name}`),
)
/** What nghttp2 lets through in a value: no controls, no white space at the ends. */
const values = fc.oneof(
  fc.constantFrom('', 'a', 'gzip, deflate', 'text/html', 'Fri, 27 Nov 2026 10:00:00 GMT'),
  fc
    .string({
      unit: fc.integer({ min: 0x20, max: 0xff }).map((code) => String.fromCharCode(code)),
      maxLength: 60,
    })
    .map((value) => value.replaceAll('\x7f', '~').trim())
    .filter((value) => !/^[\x85\xa0]|[\x85\xa0]$/.test(value)),
  fc.string({ unit: fc.constantFrom('a', '~', 'ÿ', 'Z'), minLength: 100, maxLength: 2000 }),
)
const fieldLists = fc.array(fc.tuple(names, values), { maxLength: 15 }).map((fields) => fields.flat())
const tableSizes = fc.constantFrom(0, 40, 200, 1000, 4096, 16_384)
const SEED = 7541

const REQUEST = [':method', 'POST', ':scheme', 'http', ':authority', 'a.example', ':path', '/some/where?x=1']

test('nghttp2 decodes what the encoder writes, through changes of the size of the table', async () => {
  const sizes = fc.sample(tableSizes, { numRuns: 6, seed: SEED })
  const lists = fc.sample(fieldLists, { numRuns: 300, seed: SEED })
  const received: string[][] = []
  await using server = await startServer(
    {
      settings: { headerTableSize: sizes[0] as number, maxHeaderListSize: 65_536 },
      maxHeaderListPairs: 1000,
    },
    (stream, rawHeaders, session) => {
      received.push(rawHeaders)
      if (received.length % 50 === 0)
        session.settings({ headerTableSize: sizes[received.length / 50] as number })
      stream.respond({ ':status': 204 }, { endStream: true })
    },
  )
  await using client = new RawClient(server.port)
  client.send(SETTINGS, 0, 0, Buffer.alloc(0))
  const encoder = new HpackEncoder({ tableBytesMax: 8192 })
  let settings = 0
  const next = async (): Promise<void> => {
    for (let answered = false; !answered; ) {
      const frame = await client.frame()
      if (frame === null || frame.type === GOAWAY) throw new Error(`Gone: ${frame?.payload.toString('hex')}`)
      answered = frame.type === HEADERS
      if (frame.type !== SETTINGS || frame.flags === ACK) continue
      settings++
      for (let at = 0; at < frame.payload.length; at += 6) {
        if (frame.payload.readUInt16BE(at) === HEADER_TABLE_SIZE)
          encoder.setPeerTableBytes(frame.payload.readUInt32BE(at + 2))
      }
      client.send(SETTINGS, ACK, 0, Buffer.alloc(0))
    }
  }
  let sent = 0
  for (const list of lists) {
    const fields = [...REQUEST, ...list]
    const into = Buffer.alloc(encoder.boundOf(fields))
    client.sendBlock(sent * 2 + 1, into.subarray(0, encoder.encode(fields, into, 0)), END_STREAM)
    sent++
    await next()
    expect(received.at(-1)).toEqual(fields)
  }
  expect(settings).toBeGreaterThanOrEqual(sizes.length - 1)
})

test('the decoder reads what nghttp2 writes, through changes of the size of the table', async () => {
  const sizes = fc.sample(tableSizes, { numRuns: 6, seed: SEED + 1 })
  // The respond() of node:http2 takes an object, in which a name comes once and `cookie` means nothing.
  const objects = fc
    .sample(fieldLists, { numRuns: 300, seed: SEED + 1 })
    .map((list) =>
      Object.fromEntries(
        list.flatMap((name, index) => (index % 2 === 0 ? [[name, list[index + 1] as string]] : [])),
      ),
    )
  let answered = 0
  await using server = await startServer({ maxDeflateDynamicTableSize: 16_384 }, (stream) => {
    stream.respond({ ':status': 200, date: 'today', ...objects[answered++] }, { endStream: true })
  })
  await using client = new RawClient(server.port)
  client.sendTableSize(4096)
  const encoder = new HpackEncoder()
  const decoder = new HpackDecoder()
  const pending: number[] = [4096]
  const block = async (): Promise<Buffer> => {
    const parts: Buffer[] = []
    for (;;) {
      const frame = await client.frame()
      if (frame === null || frame.type === GOAWAY) throw new Error(`Gone: ${frame?.payload.toString('hex')}`)
      if (frame.type === SETTINGS && frame.flags === ACK) decoder.setTableBytesMax(pending.shift() as number)
      else if (frame.type === SETTINGS) client.send(SETTINGS, ACK, 0, Buffer.alloc(0))
      if (frame.type !== HEADERS && frame.type !== CONTINUATION) continue
      parts.push(frame.payload)
      if ((frame.flags & END_HEADERS) !== 0) return Buffer.concat(parts)
    }
  }
  for (const [index, object] of objects.entries()) {
    if (index % 50 === 49) {
      const size = sizes[(index - 49) / 50] as number
      pending.push(size)
      client.sendTableSize(size)
    }
    const into = Buffer.alloc(encoder.boundOf(REQUEST))
    client.sendBlock(index * 2 + 1, into.subarray(0, encoder.encode(REQUEST, into, 0)), END_STREAM)
    const received = await block()
    const fields = decoder.decode(received, 0, received.length)
    expect(decoder.failure).toBeNull()
    expect(fields).toEqual([':status', '200', ...Object.entries({ date: 'today', ...object }).flat()])
    expect(decoder.malformed).toBe(false)
  }
  expect(pending).toEqual([])
})

test('nghttp2 and the decoder find the same blocks wrong', async () => {
  const cases = fc.sample(
    fc.tuple(
      fieldLists,
      fc.nat(),
      fc.integer({ min: 0, max: 255 }),
      fc.constantFrom('change', 'insert', 'cut'),
    ),
    { numRuns: 150, seed: SEED + 2 },
  )
  await using server = await startServer({}, (stream) =>
    stream.respond({ ':status': 204 }, { endStream: true }),
  )
  let wrong = 0
  for (const [list, where, octet, kind] of cases) {
    const fields = [...REQUEST, ...list.filter((_, index) => list[index - (index % 2)] !== 'cookie')]
    const encoder = new HpackEncoder()
    const into = Buffer.alloc(encoder.boundOf(fields))
    const block = into.subarray(0, encoder.encode(fields, into, 0))
    const at = where % block.length
    const rest = block.subarray(kind === 'insert' ? at : at + 1)
    const mutated = Buffer.concat([
      block.subarray(0, at),
      ...(kind === 'cut' ? [] : [Buffer.from([octet]), rest]),
    ])

    const decoder = new HpackDecoder()
    decoder.decode(mutated, 0, mutated.length)
    await using client = new RawClient(server.port)
    client.send(SETTINGS, 0, 0, Buffer.alloc(0))
    client.sendBlock(1, mutated, END_STREAM)
    client.send(PING, 0, 0, Buffer.alloc(8))
    let error = 0
    for (let frame = await client.frame(); frame !== null; frame = await client.frame()) {
      if (frame.type === GOAWAY) error = frame.payload.readUInt32BE(4)
      if (frame.type === GOAWAY || (frame.type === PING && frame.flags === ACK)) break
    }
    const COMPRESSION_ERROR = 9
    expect([mutated.toString('hex'), error === COMPRESSION_ERROR]).toEqual([
      mutated.toString('hex'),
      decoder.failure === 'COMPRESSION_ERROR',
    ])
    if (error === COMPRESSION_ERROR) wrong++
  }
  expect(wrong).toBeGreaterThan(20)
  expect(wrong).toBeLessThan(cases.length - 20)
})
