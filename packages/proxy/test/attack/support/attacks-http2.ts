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
} from '../../../../../scripts/test-support/http2-frames.ts'
import { type Attack, KIB, talkHttp2 } from './attack.ts'

const request = (path: string) =>
  block([':method', 'GET', ':scheme', 'http', ':path', path, ':authority', 'a'])
const post = block([':method', 'POST', ':scheme', 'http', ':path', '/silent', ':authority', 'a'])
const streamOf = (round: number, index: number) => 2 * (round * 50 + index) + 1
const fifty = (round: number, frames: (stream: number) => readonly Buffer[]) =>
  Buffer.concat(Array.from({ length: 50 }, (_, index) => frames(streamOf(round, index))).flat())
const many = (one: Buffer) => Buffer.concat(Array.from({ length: 500 }, () => one))
const opened = frame(HEADERS, END_HEADERS, 1, post)
/** One entry of 4,000 bytes in the table, and what refers to it 4,000 times. */
const bomb = Buffer.concat([block(['x-bomb', 'y'.repeat(4_000)], true), Buffer.alloc(4_000, 0x80 | 62)])

/** What clients of HTTP/2 may do. */
export const HTTP2_ATTACKS: Readonly<Record<string, Attack>> = {
  'rapid resets': talkHttp2({
    next: (round) =>
      fifty(round, (stream) => [
        frame(HEADERS, END_HEADERS | END_STREAM, stream, request('/silent')),
        frame(RST_STREAM, 0, stream, uint32(8)),
      ]),
    bytesMax: 800 * KIB,
  }),
  'requests that provoke resets': talkHttp2({
    next: (round) =>
      fifty(round, (stream) => [
        frame(HEADERS, END_HEADERS | END_STREAM, stream, request('/silent')),
        frame(WINDOW_UPDATE, 0, stream, uint32(0)),
      ]),
    bytesMax: 800 * KIB,
  }),
  'a block of fields without end': talkHttp2({
    opening: frame(HEADERS, 0, 1, request('/silent')),
    next: () => many(frame(CONTINUATION, 0, 1, block(['x', 'y'.repeat(20)]))),
    bytesMax: 400 * KIB,
  }),
  'empty CONTINUATION frames': talkHttp2({
    opening: frame(HEADERS, 0, 1, request('/silent')),
    next: () => many(frame(CONTINUATION, 0, 1)),
    bytesMax: 400 * KIB,
  }),
  'SETTINGS frames': talkHttp2({
    next: () => many(frame(SETTINGS, 0, 0, settings([4, 1_000]))),
    bytesMax: 400 * KIB,
  }),
  // Ten thousand may be answered in a burst, and each answer waits with its account.
  'PING frames': talkHttp2({ next: () => many(frame(PING, 0, 0, Buffer.alloc(8))), bytesMax: 1_200 * KIB }),
  'PRIORITY frames': talkHttp2({
    next: () => many(frame(PRIORITY, 0, 1, Buffer.from([0, 0, 0, 3, 16]))),
    bytesMax: 400 * KIB,
  }),
  'empty DATA frames': talkHttp2({
    opening: opened,
    next: () => many(frame(DATA, 0, 1)),
    bytesMax: 400 * KIB,
  }),
  'bodies in DATA frames of one byte': talkHttp2({
    opening: opened,
    next: () => many(frame(DATA, 0, 1, Buffer.of(120))),
    bytesMax: 800 * KIB,
  }),
  'windows of one byte more': talkHttp2({
    opening: opened,
    next: () => many(frame(WINDOW_UPDATE, 0, 1, uint32(1))),
    bytesMax: 400 * KIB,
  }),
  'fields that grow a thousandfold': talkHttp2({
    next: (round) => frame(HEADERS, END_HEADERS | END_STREAM, 2 * round + 1, bomb),
    bytesMax: 800 * KIB,
  }),
  'a hundred responses, and no window for any': talkHttp2({
    opening: frame(SETTINGS, 0, 0, settings([4, 0])),
    next: (round) =>
      fifty(round, (stream) => [frame(HEADERS, END_HEADERS | END_STREAM, stream, request('/endless'))]),
    clients: 2,
    rounds: 2,
    // Each stream has a read of its origin's in hand; all of them end with the write timeout.
    bytesMax: 100 * 400 * KIB,
  }),
  'a hundred bodies that never come': talkHttp2({
    next: (round) => fifty(round, (stream) => [frame(HEADERS, END_HEADERS, stream, post)]),
    clients: 2,
    rounds: 2,
    bytesMax: 100 * 40 * KIB,
  }),
}
