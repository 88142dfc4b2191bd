import { createConnection, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import {
  block,
  CONTINUATION,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  HEADERS,
  PING,
  PREFACE,
  PRIORITY,
  RST_STREAM,
  SETTINGS,
  settings,
  uint32,
  WINDOW_UPDATE,
} from '../../../../scripts/test-support/http2-frames.ts'
import {
  attacked,
  fairWait,
  givenBack,
  KIB,
  MIB,
  TIMEOUT_MS,
  usage,
  withAttackedProxy,
} from './support/attacked-proxy.ts'

withAttackedProxy()

const CLIENTS = 20

interface Flood {
  /** What comes first, behind the preface. */
  readonly opening?: Buffer
  /** The next frames; `round` counts from 0. */
  readonly next: (round: number) => Buffer
  /** Sends so many rounds and no more, then takes nothing. */
  readonly rounds?: number
  /** What one client may cost, in bytes. */
  readonly bytesMax: number
}

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

const FLOODS: Record<string, Flood> = {
  'rapid resets': {
    next: (round) =>
      fifty(round, (stream) => [
        frame(HEADERS, END_HEADERS | END_STREAM, stream, request('/silent')),
        frame(RST_STREAM, 0, stream, uint32(8)),
      ]),
    bytesMax: 800 * KIB,
  },
  'requests that provoke resets': {
    next: (round) =>
      fifty(round, (stream) => [
        frame(HEADERS, END_HEADERS | END_STREAM, stream, request('/silent')),
        frame(WINDOW_UPDATE, 0, stream, uint32(0)),
      ]),
    bytesMax: 800 * KIB,
  },
  'a block of fields without end': {
    opening: frame(HEADERS, 0, 1, request('/silent')),
    next: () => many(frame(CONTINUATION, 0, 1, block(['x', 'y'.repeat(20)]))),
    bytesMax: 400 * KIB,
  },
  'empty CONTINUATION frames': {
    opening: frame(HEADERS, 0, 1, request('/silent')),
    next: () => many(frame(CONTINUATION, 0, 1)),
    bytesMax: 400 * KIB,
  },
  'SETTINGS frames': { next: () => many(frame(SETTINGS, 0, 0, settings([4, 1_000]))), bytesMax: 400 * KIB },
  'PING frames': { next: () => many(frame(PING, 0, 0, Buffer.alloc(8))), bytesMax: 400 * KIB },
  'PRIORITY frames': {
    next: () => many(frame(PRIORITY, 0, 1, Buffer.from([0, 0, 0, 3, 16]))),
    bytesMax: 400 * KIB,
  },
  'empty DATA frames': { opening: opened, next: () => many(frame(DATA, 0, 1)), bytesMax: 400 * KIB },
  'bodies in DATA frames of one byte': {
    opening: opened,
    next: () => many(frame(DATA, 0, 1, Buffer.of(120))),
    bytesMax: 800 * KIB,
  },
  'windows of one byte more': {
    opening: opened,
    next: () => many(frame(WINDOW_UPDATE, 0, 1, uint32(1))),
    bytesMax: 400 * KIB,
  },
  'fields that grow a thousandfold': {
    next: (round) => frame(HEADERS, END_HEADERS | END_STREAM, 2 * round + 1, bomb),
    bytesMax: 800 * KIB,
  },
  'a hundred responses, and no window for any': {
    opening: frame(SETTINGS, 0, 0, settings([4, 0])),
    next: (round) =>
      fifty(round, (stream) => [frame(HEADERS, END_HEADERS | END_STREAM, stream, request('/endless'))]),
    rounds: 2,
    // Each stream has a read of its origin's in hand; all of them end with the write timeout.
    bytesMax: 100 * 400 * KIB,
  },
  'a hundred bodies that never come': {
    next: (round) => fifty(round, (stream) => [frame(HEADERS, END_HEADERS, stream, post)]),
    rounds: 2,
    bytesMax: 100 * 40 * KIB,
  },
}

/** Keeps a flood up until it is stopped: whoever is thrown out comes back. */
function startFlood({ opening, next, rounds = Number.POSITIVE_INFINITY }: Flood, clients: number) {
  const sockets = new Set<Socket>()
  let stopped = false
  let connects = 0
  const connect = () => {
    if (stopped) return
    connects++
    const socket = createConnection({ port: attacked.port, host: '127.0.0.1', noDelay: true })
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('end', () => socket.destroy())
    socket.on('close', () => {
      sockets.delete(socket)
      setTimeout(connect, 200)
    })
    socket.resume()
    socket.write(Buffer.concat([PREFACE, frame(SETTINGS, 0, 0), opening ?? Buffer.alloc(0)]))
    let round = 0
    const pour = () => {
      // Others on this machine want to live too: a round per turn.
      if (stopped || round >= rounds || !socket.writable) return
      if (socket.write(next(round++))) setTimeout(pour, 2)
      else socket.once('drain', pour)
    }
    pour()
  }
  for (let i = 0; i < clients; i++) connect()
  return {
    connects: () => connects,
    stop() {
      stopped = true
      for (const socket of sockets) socket.destroy()
    },
  }
}

test.each(Object.entries(FLOODS))(
  '%s: memory stays bounded and is given back, and others are served',
  async (_name, flood) => {
    const clients = flood.rounds === undefined ? CLIENTS : 2
    const attack = startFlood(flood, clients)
    try {
      await sleep(200)
      const wait = await fairWait()
      const during = await usage()
      expect(attacked.exited).toBeNull()
      expect(during.bytes - attacked.quiet.bytes).toBeLessThan(clients * flood.bytesMax + 8 * MIB)
      expect(wait).toBeLessThan(Math.max(150, 5 * attacked.quietWait))
    } finally {
      attack.stop()
    }
    const after = await givenBack()
    expect(after).toMatchObject({ active: 0, connections: 0, upstreams: 0 })
    expect(after.bytes - attacked.quiet.bytes).toBeLessThan(16 * MIB)
  },
  TIMEOUT_MS,
)
