import type { Socket } from 'node:net'
import {
  block,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  GOAWAY,
  HEADERS,
  PUSH_PROMISE,
  RST_STREAM,
  SETTINGS,
  settings,
  uint32,
  WINDOW_UPDATE,
} from '../../../../../scripts/test-support/http2-frames.ts'
import type { H2Peer } from './h2-wire.ts'
import { acceptOfKey, taggedBody } from './tagged-origin.ts'

/** What a fair origin says in the tunnel of `id`, and what a trick says some of. */
export function tunnelTextOf(id: string): string {
  return `${id} welcomes ${taggedBody(id, 600)}`
}

export const POISON = 'HTTP/1.1 200 poison\r\nContent-Length: 6\r\n\r\npoison'
const poison = Buffer.from(POISON, 'latin1')

/** What an origin of HTTP/1 does with the handshake of `id`. */
export type Http1Trick = (socket: Socket, id: string, key: string) => void

const accepted = (key: string) => `Sec-WebSocket-Accept: ${acceptOfKey(key)}\r\n`
const switching = (fields: string, status = 'HTTP/1.1 101 Yes') =>
  `${status}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n${fields}\r\n`
const says =
  (text: (id: string, key: string) => string): Http1Trick =>
  (socket, id, key) =>
    void socket.write(text(id, key), 'latin1')
const half = (id: string) => tunnelTextOf(id).slice(0, 300)

export const HTTP1_TUNNEL_TRICKS: Readonly<Record<string, Http1Trick>> = {
  'a 101 without an answer to the key': says((id) => switching('') + half(id)),
  'a 101 that answers another key': says((id) => switching(accepted('other')) + half(id)),
  'a 101 for another protocol': says(
    (id, key) => `HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: raw\r\n${accepted(key)}\r\n${half(id)}`,
  ),
  'a 101 that names no protocol': says((id, key) => `HTTP/1.1 101 Yes\r\n${accepted(key)}\r\n${half(id)}`),
  'a 101 with a length': says((id, key) => switching(`${accepted(key)}Content-Length: 5\r\n`) + half(id)),
  'a 101 with chunks': says(
    (id, key) => switching(`${accepted(key)}Transfer-Encoding: chunked\r\n`) + half(id),
  ),
  'a 101 of HTTP/1.0': says((id, key) => switching(accepted(key), 'HTTP/1.0 101 Yes') + half(id)),
  'a 101 behind too many 1xx': says(
    (id, key) => 'HTTP/1.1 103 No\r\n\r\n'.repeat(17) + switching(accepted(key)) + half(id),
  ),
  'half a 101': (socket, _id, key) => void socket.end(switching(accepted(key)).slice(0, -20)),
  'a 101, and a reset': (socket, id, key) =>
    void socket.write(switching(accepted(key)) + half(id), () => socket.resetAndDestroy()),
  'a 101, and an end': (socket, id, key) => void socket.end(switching(accepted(key)) + half(id)),
  'a 101, and a cut': (socket, id, key) =>
    void socket.write(switching(accepted(key)) + half(id), () => socket.destroy()),
  'a 200, and surplus': says(
    (id) => `HTTP/1.1 200 ${id}\r\nContent-Length: 3\r\n\r\n${half(id).slice(0, 3)}${POISON}`,
  ),
  'a 204, and surplus': says((id) => `HTTP/1.1 204 ${id}\r\n\r\n${POISON}`),
  'a 403, and surplus': says((id) => `HTTP/1.1 403 ${id}\r\nContent-Length: 0\r\n\r\n${POISON}`),
  'a 200 until the end': (socket, id) => void socket.end(`HTTP/1.1 200 ${id}\r\n\r\n${half(id)}`),
  'two framings': says(
    () => `HTTP/1.1 403 No\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n${POISON}`,
  ),
  'nothing at all': () => undefined,
  'an end at once': (socket) => void socket.end(),
  'a reset at once': (socket) => void socket.resetAndDestroy(),
}

/** What an origin of HTTP/2 does with the extended CONNECT of `id`. */
export interface Http2Trick {
  /** The connection may end with it. */
  readonly fatal: boolean
  readonly play: (peer: H2Peer, stream: number, id: string) => void
}

const bad = (play: Http2Trick['play']): Http2Trick => ({ fatal: false, play })
const fatal = (play: Http2Trick['play']): Http2Trick => ({ fatal: true, play })
const status = (given: string, end: boolean, ...more: readonly string[]) =>
  bad((peer, stream) => peer.headers(stream, block([':status', given, ...more]), end))
const opens = (peer: H2Peer, stream: number, id: string, ...more: readonly string[]) => {
  peer.headers(stream, [':status', '200', ...more], false)
  peer.data(stream, half(id), false)
}

export const HTTP2_TUNNEL_TRICKS: Readonly<Record<string, Http2Trick>> = {
  'status 101': status('101', false),
  'status 204': status('204', true),
  'status 205': status('205', true),
  'status 304': status('304', true),
  'status 407': status('407', true),
  'no status': bad((peer, stream) => peer.headers(stream, block(['x', 'y']), false)),
  'a 200 that ends the stream': status('200', true),
  'a 200 with fields of connections': status('200', false, 'connection', 'upgrade', 'upgrade', 'websocket'),
  'a 200 with a length': bad((peer, stream, id) => opens(peer, stream, id, 'content-length', '5')),
  'too many 1xx': bad((peer, stream) => {
    for (let i = 0; i < 17; i++) peer.headers(stream, [':status', '103'], false)
  }),
  'bytes before the answer': bad((peer, stream) => peer.send(frame(DATA, 0, stream, poison))),
  'trailers in the tunnel': bad((peer, stream, id) => {
    opens(peer, stream, id)
    peer.headers(stream, ['x-trailer', 'poison'], true)
  }),
  'trailers that do not end it': bad((peer, stream, id) => {
    opens(peer, stream, id)
    peer.headers(stream, ['x-trailer', 'poison'], false)
  }),
  'another head in the tunnel': bad((peer, stream, id) => {
    opens(peer, stream, id)
    peer.headers(stream, [':status', '200', 'x', 'poison'], false)
  }),
  'a reset at once': bad((peer, stream) => peer.reset(stream, 8)),
  'a reset without an error in the tunnel': bad((peer, stream, id) => {
    opens(peer, stream, id)
    peer.reset(stream, 0)
  }),
  'a reset in the tunnel': bad((peer, stream, id) => {
    opens(peer, stream, id)
    peer.reset(stream, 2)
  }),
  'bytes behind its end': fatal((peer, stream, id) => {
    opens(peer, stream, id)
    peer.data(stream, '', true)
    peer.send(frame(DATA, END_STREAM, stream, poison))
  }),
  'bytes on a stream of its own': fatal((peer, stream, id) => {
    opens(peer, stream, id)
    peer.send(frame(HEADERS, END_HEADERS, 2, block([':status', '200'])), frame(DATA, 0, 2, poison))
  }),
  'bytes on a stream that nobody opened': fatal((peer, stream, id) => {
    opens(peer, stream, id)
    peer.send(frame(DATA, 0, stream + 1_000, poison))
  }),
  'a push in the tunnel': fatal((peer, stream, id) => {
    opens(peer, stream, id)
    const head = block([':method', 'GET', ':path', '/', ':scheme', 'http', ':authority', 'a'])
    peer.send(frame(PUSH_PROMISE, END_HEADERS, stream, Buffer.concat([uint32(2), head])))
  }),
  'tunnels offered no more': fatal((peer, stream, id) => {
    opens(peer, stream, id)
    peer.send(frame(SETTINGS, 0, 0, settings([8, 0])))
  }),
  'a window beyond all bounds': fatal((peer, stream, id) => {
    opens(peer, stream, id)
    peer.send(frame(WINDOW_UPDATE, 0, stream, uint32(0x7fffffff)))
  }),
  'a reset of nothing': fatal((peer, stream, id) => {
    opens(peer, stream, id)
    peer.send(frame(RST_STREAM, 0, stream + 2_000, uint32(8)))
  }),
  'GOAWAY in the tunnel': fatal((peer, stream, id) => {
    opens(peer, stream, id)
    peer.send(frame(GOAWAY, 0, 0, Buffer.concat([uint32(0x7fffffff), uint32(0)])))
    peer.data(stream, '', true)
  }),
  'GOAWAY below the tunnel': fatal((peer, stream, id) => {
    opens(peer, stream, id)
    peer.send(frame(GOAWAY, 0, 0, Buffer.concat([uint32(Math.max(0, stream - 2)), uint32(0)])))
  }),
  'a cut in the tunnel': fatal((peer, stream, id) => {
    opens(peer, stream, id)
    peer.socket.destroy()
  }),
}
