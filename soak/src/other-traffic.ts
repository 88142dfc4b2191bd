import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect as connectHttp2,
  constants,
} from 'node:http2'
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import WebSocket from 'ws'
import { expect, type Kind, type Place } from './traffic.ts'

const TIMEOUT_MS = 45_000
const STREAMS_PER_SESSION = 50

/** HTTP/2 sessions that are used again, by gateway. */
const sessions: Map<number, { session: ClientHttp2Session; streams: number }> = new Map()

/** Ends the connections that are kept. */
export function closeOthers(): void {
  for (const { session } of sessions.values()) session.destroy()
  sessions.clear()
}

function sessionOf(place: Place): ClientHttp2Session {
  const { https } = place.ports
  const known = sessions.get(https)
  if (
    known !== undefined &&
    known.streams < STREAMS_PER_SESSION &&
    !known.session.closed &&
    !known.session.destroyed
  ) {
    known.streams += 1
    return known.session
  }
  known?.session.close()
  const session = connectHttp2(`https://127.0.0.1:${https}`, { rejectUnauthorized: false })
  session.on('error', () => {})
  sessions.set(https, { session, streams: 1 })
  return session
}

/** What came of a stream: its body and its trailers. An upgraded server may refuse it: it is sent once more. */
async function exchange(
  place: Place,
  headers: Record<string, string>,
  body: Buffer | undefined,
): Promise<{ body: Buffer; trailers: Record<string, unknown> }> {
  for (let attempt = 0; ; attempt += 1) {
    const stream = sessionOf(place).request(headers, { endStream: body === undefined })
    if (body !== undefined) stream.end(body)
    const chunks: Buffer[] = []
    let trailers: Record<string, unknown> = {}
    stream.on('trailers', (received: Record<string, unknown>) => {
      trailers = received
    })
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    const code = await closed(stream)
    if (code === 0) return { body: Buffer.concat(chunks), trailers }
    if (code !== constants.NGHTTP2_REFUSED_STREAM || attempt > 2)
      throw new Error(`An HTTP/2 stream was reset with ${code}`)
  }
}

async function closed(stream: ClientHttp2Stream): Promise<number> {
  let failure: Error | undefined
  stream.on('error', (error) => {
    failure = error
  })
  stream.setTimeout(TIMEOUT_MS, () => stream.close(constants.NGHTTP2_CANCEL))
  await new Promise<void>((resolve) => stream.on('close', () => resolve()))
  if (failure !== undefined && stream.rstCode === 0) throw failure
  return stream.rstCode ?? 0
}

async function http2(place: Place): Promise<void> {
  const { body } = await exchange(place, { ':path': '/hello' }, undefined)
  expect('body over HTTP/2', body.toString(), 'hello /hello')
}

async function http2Upload(place: Place): Promise<void> {
  const { body } = await exchange(place, { ':path': '/echo', ':method': 'POST' }, Buffer.alloc(100_000, 'z'))
  expect('echoed bytes over HTTP/2', body.length, 100_000)
}

async function http2Reset(place: Place): Promise<void> {
  const stream = sessionOf(place).request({ ':path': '/download?bytes=3000000' })
  stream.on('error', () => {})
  await new Promise<void>((resolve) => {
    stream.once('data', () => resolve())
    stream.once('close', () => resolve())
  })
  stream.close(constants.NGHTTP2_CANCEL)
}

async function grpc(place: Place): Promise<void> {
  const message = Buffer.from('\0\0\0\0\x05hello', 'latin1')
  const headers = {
    ':method': 'POST',
    ':path': '/soak.Echo/unary',
    'content-type': 'application/grpc',
    te: 'trailers',
  }
  const { body, trailers } = await exchange(place, headers, message)
  expect('gRPC message', body.equals(message), true)
  expect('gRPC status', trailers['grpc-status'], '0')
}

async function webSocket(place: Place): Promise<void> {
  const socket = new WebSocket(`ws://127.0.0.1:${place.ports.http}/socket`)
  try {
    await once(socket, 'open')
    for (const size of [1, 1_000, 100_000]) {
      const echoed = once(socket, 'message')
      socket.send(Buffer.alloc(size, 'w'))
      const [data] = (await echoed) as [Buffer]
      expect('echoed bytes of a WebSocket', data.length, size)
    }
    const end = once(socket, 'close')
    socket.close()
    await end
  } finally {
    socket.terminate()
  }
}

async function webSocketCut(place: Place): Promise<void> {
  const socket = new WebSocket(`ws://127.0.0.1:${place.ports.http}/socket`)
  socket.on('error', () => {})
  await once(socket, 'open')
  socket.send(Buffer.alloc(50_000))
  socket.terminate()
}

async function tcp(place: Place): Promise<void> {
  const socket = await dial(place.ports.tcp)
  const sent = Buffer.alloc(100_000, 't')
  socket.end(sent)
  let bytes = 0
  for await (const chunk of socket) bytes += (chunk as Buffer).length
  expect('echoed bytes over TCP', bytes, sent.length)
}

async function tcpReset(place: Place): Promise<void> {
  const socket = await dial(place.ports.tcp)
  socket.on('error', () => {})
  socket.write(Buffer.alloc(100_000))
  await once(socket, 'data')
  socket.resetAndDestroy()
}

async function udp(place: Place): Promise<void> {
  const socket = createSocket('udp4')
  try {
    const answer = once(socket, 'message', { signal: AbortSignal.timeout(TIMEOUT_MS) })
    // A datagram may get lost, as on any network.
    const again = setInterval(() => socket.send('datagram', place.ports.udp, '127.0.0.1'), 1_000)
    socket.send('datagram', place.ports.udp, '127.0.0.1')
    try {
      expect('a datagram', String((await answer)[0]), 'datagram')
    } finally {
      clearInterval(again)
    }
  } finally {
    socket.close()
  }
}

/** Bytes that are no request are answered with 400, and the connection ends. */
async function malformed(place: Place): Promise<void> {
  const socket = await dial(place.ports.http)
  socket.write(
    'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  )
  let text = ''
  for await (const chunk of socket) text += String(chunk)
  expect('answer to an ambiguous request', text.slice(0, 12), 'HTTP/1.1 400')
}

async function pipelined(place: Place): Promise<void> {
  const socket = await dial(place.ports.http)
  socket.write('GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  let text = ''
  for await (const chunk of socket) text += String(chunk)
  expect('answers in order', text.match(/hello \/\w/g)?.join(), 'hello /a,hello /b')
}

async function noHandshake(place: Place): Promise<void> {
  const socket = await dial(place.ports.https)
  socket.on('error', () => {})
  socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  socket.resume()
  await once(socket, 'close')
}

async function idle(place: Place): Promise<void> {
  const socket = await dial(place.ports.http)
  socket.on('error', () => {})
  await delay(2_000)
  socket.destroy()
}

async function dial(port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error(`Nothing for ${TIMEOUT_MS} ms`)))
  socket.on('end', () => socket.end())
  await once(socket, 'connect')
  return socket
}

/** Everything but HTTP/1. */
export const OTHER_KINDS: readonly Kind[] = [
  { name: 'HTTP/2', weight: 8, run: http2 },
  { name: 'HTTP/2 upload', weight: 2, run: http2Upload },
  { name: 'HTTP/2, reset by the client', weight: 2, run: http2Reset },
  { name: 'gRPC', weight: 4, run: grpc },
  { name: 'WebSocket', weight: 2, run: webSocket },
  { name: 'WebSocket, cut', weight: 1, run: webSocketCut },
  { name: 'TCP proxy', weight: 3, run: tcp },
  { name: 'TCP proxy, reset by the client', weight: 2, run: tcpReset },
  { name: 'UDP proxy', weight: 4, run: udp },
  { name: 'ambiguous request: 400', weight: 2, run: malformed },
  { name: 'pipelined requests', weight: 2, run: pipelined },
  { name: 'no TLS where TLS is due', weight: 1, run: noHandshake },
  { name: 'idle connection', weight: 1, run: idle },
]

/** What must not notice that a gateway is replaced. */
export const UPGRADE_KINDS: readonly Kind[] = [
  { name: 'HTTP/2 through upgrades', weight: 4, run: http2 },
  { name: 'WebSocket through upgrades', weight: 1, run: webSocket },
  { name: 'TCP proxy through upgrades', weight: 2, run: tcp },
]
