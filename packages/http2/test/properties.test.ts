import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  block,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  HEADERS,
  PADDED,
  PING,
  PREFACE,
  RST_STREAM,
  SETTINGS,
  settings,
  uint32,
  WINDOW_UPDATE,
} from '../../../scripts/test-support/http2-frames.ts'
import {
  type Http2Options,
  WRITE_DONE,
  WRITE_FULL,
  WRITE_PAUSE,
  WRITE_RETAINED,
  type WriteResult,
} from '../src/index.ts'
import { POST, request } from './support/frames.ts'
import { End, type StreamRecord } from './support/server.ts'

/** All kinds of frames, one after the other. */
const CONVERSATION: Buffer = Buffer.concat([
  PREFACE,
  frame(SETTINGS, 0, 0, settings([4, 100_000], [1, 0])),
  frame(WINDOW_UPDATE, 0, 0, uint32(5)),
  request(1, 0, [...POST, 'content-length', '5']),
  frame(DATA, PADDED, 1, Buffer.from('\x03he\0\0\0', 'latin1')),
  frame(PING, 0, 0, Buffer.from('12345678')),
  frame(HEADERS, END_STREAM, 3, block(POST).subarray(0, 20)),
  frame(9, END_HEADERS, 3, block(POST).subarray(20)),
  frame(DATA, END_STREAM, 1, Buffer.from('llo')),
  request(5, 0, POST),
  frame(DATA, 0, 5, Buffer.alloc(0)),
  frame(RST_STREAM, 0, 5, uint32(8)),
  request(7, 0, POST),
  frame(HEADERS, END_STREAM | END_HEADERS, 7, block(['x', 'y'])),
  frame(SETTINGS, 1, 0),
  request(9, END_STREAM, ['broken', '']),
  frame(PING, 0, 0, Buffer.alloc(7)),
])

function story(server: End): unknown {
  return {
    sent: server.take().toString('hex'),
    error: server.error,
    refused: server.refused,
    closed: server.closedIds,
    streams: server.streams.map(({ body, ended, trailers, reset, request: asked }) => [
      body.toString('latin1'),
      ended,
      trailers,
      reset,
      asked,
    ]),
  }
}

test('a conversation means the same wherever its reads end', () => {
  const whole = story(new End('server').receive(CONVERSATION))
  for (let cut = 1; cut < CONVERSATION.length; cut++) {
    const server = new End('server')
    expect(story(server.receive(CONVERSATION.subarray(0, cut)).receive(CONVERSATION.subarray(cut)))).toEqual(
      whole,
    )
  }
  const dripped = new End('server')
  for (const byte of CONVERSATION) dripped.receive(Buffer.from([byte]))
  expect(story(dripped)).toEqual(whole)
})

test('no bytes make a connection throw or go on after its end', () => {
  const piece = fc.oneof(
    fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
    fc
      .tuple(fc.nat(10), fc.nat(255), fc.nat(8), fc.uint8Array({ maxLength: 30 }))
      .map(([type, flags, id, payload]) => frame(type, flags, id, Buffer.from(payload))),
    fc.nat(8).map((id) => request(id * 2 + 1, 0, POST)),
    fc.nat(8).map((id) => request(id * 2 + 1)),
  )
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 20 }), fc.boolean(), (pieces, flowing) => {
      const server = new End('server')
      server.serve = ({ stream }) => {
        if (flowing) stream.resume()
        if (stream.id % 4 === 1) stream.sendHead([':status', '200'], stream.id % 8 === 1)
      }
      server.receive(PREFACE, frame(SETTINGS, 0, 0))
      for (const bytes of pieces) server.receive(bytes)
      if (server.error !== null) {
        const before = server.streams.length
        server.receive(request(99))
        expect(server.streams.length).toBe(before)
        expect(server.connection.openStreams).toBe(0)
      }
      server.frames()
    }),
    { numRuns: 500 },
  )
})

interface Plan {
  readonly up: number[]
  readonly down: number[]
  readonly trailers: boolean
  /** Reads are held back by so many steps now and then. */
  readonly pauses: number
}

const sizes = fc.array(fc.oneof(fc.nat(50), fc.nat(20_000), fc.nat(90_000)), { maxLength: 6 })
const plans = fc.array(fc.record({ up: sizes, down: sizes, trailers: fc.boolean(), pauses: fc.nat(3) }), {
  minLength: 1,
  maxLength: 6,
})
const options: fc.Arbitrary<Http2Options> = fc.record({
  windowBytes: fc.integer({ min: 1_000, max: 100_000 }),
  frameBytesMax: fc.integer({ min: 16_384, max: 70_000 }),
  streamQueueBytesMax: fc.integer({ min: 1, max: 100_000 }),
})

/** Writes pieces until told to stop, and goes on when drained. */
class Writer {
  readonly #record: StreamRecord
  readonly #pieces: Buffer[]
  readonly #trailers: readonly string[] | null
  #done = false
  constructor(record: StreamRecord, sizesOf: readonly number[], trailers: boolean) {
    this.#record = record
    this.#pieces = sizesOf.map((size, index) => Buffer.alloc(size, index + 97))
    this.#trailers = trailers ? ['x-end', '1'] : null
    record.onMore = () => this.go()
    this.go()
  }
  go(): void {
    for (;;) {
      const piece = this.#pieces.shift()
      if (piece === undefined) break
      const result = this.#record.stream.write(piece, 0, piece.length)
      // Whoever may use the memory again does.
      if ((result & WRITE_RETAINED) === 0) piece.fill(0)
      if (result >= WRITE_PAUSE) return
    }
    if (this.#done) return
    this.#done = true
    this.#record.stream.end(this.#trailers)
  }
}

const bytesOf = (list: readonly number[]): string =>
  Buffer.concat(list.map((size, index) => Buffer.alloc(size, index + 97))).toString('latin1')

test('two engines deliver exactly what was sent, however bytes are cut and turns fall', () => {
  fc.assert(
    fc.property(
      plans,
      options,
      options,
      fc.array(fc.nat(40_000), { maxLength: 30 }),
      fc.array(fc.constantFrom<WriteResult>(WRITE_DONE, WRITE_RETAINED, WRITE_PAUSE, WRITE_FULL), {
        minLength: 1,
      }),
      (all, ours, theirs, cuts, answers) => {
        const server = new End('server', theirs)
        const client = new End('client', ours)
        server.answers = answers
        client.answers = answers
        const paused: { record: StreamRecord; turns: number }[] = []
        server.serve = (record) => {
          const plan = all[(record.stream.id - 1) / 2] as Plan
          record.stream.sendHead([':status', '200'], false)
          new Writer(record, plan.down, plan.trailers)
          paused.push({ record, turns: plan.pauses })
        }
        for (const plan of all) {
          const record = client.open(POST, false)
          if (plan.pauses > 0) {
            record.stream.pause()
            paused.push({ record, turns: plan.pauses * 2 })
          }
          new Writer(record, plan.up, plan.trailers)
        }
        let step = 0
        const wires: [End, End, Buffer[]][] = [
          [client, server, []],
          [server, client, []],
        ]
        for (let idle = 0; idle < 12; idle++) {
          for (const [from, to, wire] of wires) {
            wire.push(from.take())
            const bytes = Buffer.concat(wire.splice(0))
            const count = Math.min(bytes.length, 1 + (cuts[step++ % (cuts.length || 1)] ?? 50_000))
            to.receive(bytes.subarray(0, count))
            if (count < bytes.length) wire.push(bytes.subarray(count))
            if (bytes.length > 0) idle = 0
          }
          for (const wait of paused) if (--wait.turns <= 0) wait.record.stream.resume()
        }
        expect([client.error, server.error]).toEqual([null, null])
        all.forEach((plan, index) => {
          const [asked, served] = [client.streams[index], server.streams[index]]
          expect([served?.body.toString('latin1') === bytesOf(plan.up), served?.ended]).toEqual([true, true])
          expect([asked?.body.toString('latin1') === bytesOf(plan.down), asked?.ended]).toEqual([true, true])
          expect(asked?.trailers).toEqual(plan.trailers ? ['x-end', '1'] : null)
        })
        for (const [one, other] of [
          [client, server],
          [server, client],
        ] as const) {
          expect(one.connection.openStreams).toBe(0)
          // What one side may send is what the other would take, less what is not announced yet.
          expect(one.connection.sender.window).toBe(other.connection.data.window)
        }
      },
    ),
    { numRuns: 20 },
  )
}, 30_000)
