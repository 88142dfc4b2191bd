import fc from 'fast-check'
import { framesOf, POST, REQUEST } from '../../../packages/http2/test/support/frames.ts'
import { End } from '../../../packages/http2/test/support/server.ts'
import {
  block,
  frame,
  PREFACE,
  SETTINGS,
  settings,
  uint32,
} from '../../../scripts/test-support/http2-frames.ts'
import { cutsOf, holds, same } from '../check.ts'
import type { Target } from '../target.ts'

/** A frame of the input: type, flags, stream and length of the payload, a byte each, and the payload. */
function record(type: number, flags: number, id: number, payload: Buffer): Buffer {
  const taken = payload.subarray(0, 255)
  return Buffer.concat([Buffer.of(type, flags, id, taken.length), taken])
}

const id = fc.constantFrom(0, 1, 1, 3, 3, 5, 2)
const payload = fc.oneof(
  fc.constantFrom(
    block(REQUEST),
    block(POST),
    block(['x', 'y']),
    block([':status', '200']),
    uint32(1),
    uint32(8),
    uint32(0x7f_ff_ff_ff),
  ),
  fc.constantFrom(
    settings([4, 100], [1, 0]),
    settings([5, 16_384]),
    Buffer.alloc(8),
    Buffer.alloc(0),
    Buffer.from('\x02he\0\0', 'latin1'),
  ),
  fc.uint8Array({ maxLength: 12 }).map((bytes) => Buffer.from(bytes)),
)
const one = fc
  .tuple(
    fc.constantFrom(0, 0, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10),
    fc.constantFrom(0, 1, 4, 5, 8, 0x2c, 255),
    id,
    payload,
  )
  .map((parts) => record(...parts))

/** The bytes of a connection. Records of a type above 127 are not made into frames: their content is taken as it is. */
function bytesOf(input: Buffer): Buffer {
  const parts: Buffer[] = [PREFACE, frame(SETTINGS, 0, 0)]
  for (let at = 0; at + 3 < input.length; ) {
    const [type = 0, flags = 0, stream = 0, length = 0] = input.subarray(at, at + 4)
    const content = input.subarray(at + 4, at + 4 + length)
    parts.push(type > 127 ? content : frame(type, flags, stream, content))
    at += 4 + length
  }
  return wholeFrames(Buffer.concat(parts))
}

/** Without a frame at the end that is cut off: when its fault is told depends on how much of it has come. */
function wholeFrames(bytes: Buffer): Buffer {
  let end = PREFACE.length
  while (end + 9 <= bytes.length && end + 9 + bytes.readUIntBE(end, 3) <= bytes.length) {
    end += 9 + bytes.readUIntBE(end, 3)
  }
  return bytes.subarray(0, end)
}

function serve(bytes: Buffer, cuts: readonly number[], framesAtOnceMax = 256): unknown {
  const server = new End('server', { framesAtOnceMax })
  server.serve = ({ stream }) => {
    if (stream.id % 4 === 1) stream.resume()
    if (stream.id % 8 === 3) stream.sendHead([':status', '200'], true)
  }
  let start = 0
  for (const cut of [...cuts, bytes.length]) {
    server.receive(bytes.subarray(start, cut))
    start = cut
  }
  const sent = server.take()
  same('no state is broken', server.broken.length, 0)
  holds('what is sent is whole frames', framesOf(sent).length > 0)
  if (server.error !== null) same('an ended connection has no streams', server.connection.openStreams, 0)
  return {
    sent: sent.toString('hex'),
    error: server.error,
    refused: server.refused,
    closed: server.closedIds,
    streams: server.streams.map(({ body, ended, trailers, reset, request }) => [
      body.toString('hex'),
      ended,
      trailers,
      reset,
      request,
    ]),
  }
}

/** The frames of a client: no throw, no broken state, no event twice or after an end, and the same wherever reads and turns end. */
export const target: Target = {
  name: 'http2',
  seeds: [
    Buffer.concat([record(1, 5, 1, block(REQUEST)), record(6, 0, 0, Buffer.alloc(8))]),
    Buffer.concat([
      record(1, 4, 1, block(POST)),
      record(0, 8, 1, Buffer.from('\x02he\0\0', 'latin1')),
      record(0, 1, 1, Buffer.from('llo')),
    ]),
    Buffer.concat([
      record(1, 0, 3, block(POST)),
      record(9, 4, 3, block(['x', 'y'])),
      record(3, 0, 3, uint32(8)),
      record(8, 0, 0, uint32(9)),
    ]),
  ],
  bytesMax: 2_048,
  inputs: fc.array(one, { maxLength: 12 }).map((parts) => Buffer.concat(parts)),
  run(input) {
    const bytes = bytesOf(input)
    const whole = serve(bytes, [])
    same('the same in pieces', serve(bytes, cutsOf(bytes)), whole)
    same('the same in many turns', serve(bytes, [], 2), whole)
    if (bytes.length <= 300) same('the same byte by byte', serve(bytes, [...bytes.keys()].slice(1)), whole)
  },
}
