import { expect, test } from 'vitest'
import {
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  HEADERS,
  PADDED,
} from '../../../scripts/test-support/http2-frames.ts'
import { ErrorCode } from '../src/index.ts'
import { POST, request } from './support/frames.ts'
import { startServer } from './support/server.ts'

const empty = (id: number, flags: number = END_STREAM): Buffer => frame(DATA, flags, id)

/** A server, and for each request whether it was told that there is no body. */
function start() {
  const server = startServer()
  const told: boolean[] = []
  server.serve = ({ stream }, endOfStream) => {
    told.push(endOfStream)
    stream.resume()
  }
  return { server, told, send: (...frames: Buffer[]) => server.receive(...frames) }
}

const bodyOf = (length: number): readonly string[] => [...POST, 'content-length', `${length}`]

test('a request whose end comes right behind its head, alone, has no body', () => {
  const { server, send, told } = start()
  send(request(1, 0), empty(1), request(3, 0, POST), empty(3), request(5, 0, bodyOf(0)), empty(5))
  expect(told).toEqual([true, true, true])
  for (const { stream, reset } of server.streams) expect([stream.receiveEnded, reset]).toEqual([true, null])
  expect(server.error).toBeNull()
})

test.each<[what: string, frames: Buffer[]]>([
  ['in another read', []],
  ['behind something else', [frame(6, 0, 0, Buffer.alloc(8)), empty(1)]],
  ['that does not end it', [empty(1, 0)]],
  ['with padding', [frame(DATA, END_STREAM | PADDED, 1, Buffer.from([0]))]],
  ['with a byte', [frame(DATA, END_STREAM, 1, Buffer.alloc(1))]],
  ['that is cut', [empty(1).subarray(0, 8)]],
])('DATA %s is a body, however empty', (_what, frames) => {
  const { server, send, told } = start()
  send(Buffer.concat([request(1, 0), ...frames]))
  expect(told).toEqual([false])
  expect(server.error).toBeNull()
})

test('the end of another stream is left to that one', () => {
  const { server, send, told } = start()
  send(Buffer.concat([request(1, 0, POST), request(3, 0, POST), empty(1), empty(3)]))
  expect(told).toEqual([false, false])
  expect(server.streams.map(({ ended }) => ended)).toEqual([true, true])
})

test('a body that was announced and does not come is malformed as before', () => {
  const { server, send, told } = start()
  send(Buffer.concat([request(1, 0, bodyOf(5)), empty(1)]))
  expect(told).toEqual([false])
  expect(server.streams[0]?.reset?.code).toBe(ErrorCode.PROTOCOL_ERROR)
})

test('a head in pieces has its end behind the last one', () => {
  const { server, send, told } = start()
  const whole = request(1, 0)
  const block = whole.subarray(9)
  const pieces = [frame(HEADERS, 0, 1, block.subarray(0, 3)), frame(9, END_HEADERS, 1, block.subarray(3))]
  send(Buffer.concat([...pieces, empty(1)]))
  expect(told).toEqual([true])
  expect(server.error).toBeNull()
})
