import type { Socket } from 'node:net'
import { createConnection } from 'node:net'
import { frame, PREFACE, SETTINGS } from '../../../../../scripts/test-support/http2-frames.ts'

export const KIB = 1_024
export const MIB: number = 1_024 * KIB

/** The ports of the proxy. */
export interface Target {
  readonly port: number
  readonly tlsPort: number
}

/** One kind of attack: so many clients at once, each of which comes back when it was thrown out. */
export interface Attack {
  readonly clients: number
  /** What one client may cost, in bytes. */
  readonly bytesMax: number
  /** Comes back so soon, in milliseconds. */
  readonly backMs: number
  /** No timeout has a reason to end it. */
  readonly endless: boolean
  /** Opens one client, which does its worst until its socket is closed. */
  readonly open: (target: Target, index: number) => Socket
}

const NOTHING = Buffer.alloc(0)

/** What a client over plain TCP does. */
export interface Talk {
  readonly clients?: number
  readonly bytesMax: number
  readonly backMs?: number
  /** What it sends at once. */
  readonly opening?: string | Buffer | ((index: number) => string | Buffer)
  /** What it sends every 100 ms from then on. */
  readonly drip?: string
  /** What it sends from then on, as fast as it is taken; `round` counts from 0, `index` is the client's. */
  readonly next?: (round: number, index: number) => string | Buffer
  /** So many rounds, and no more. */
  readonly rounds?: number
  /** It takes no responses. */
  readonly deaf?: boolean
  readonly endless?: boolean
  /** It leaves after so many milliseconds. */
  readonly leaveMs?: number
}

/** An attack that is told by what its clients send. */
export function talk(given: Talk): Attack {
  const { clients = 100, bytesMax, backMs = 200, endless = false } = given
  const open = ({ port }: Target, index: number) => {
    const socket = createConnection({ port, host: '127.0.0.1', noDelay: true })
    speak(socket, given, index)
    return socket
  }
  return { clients, bytesMax, backMs, endless, open }
}

/** Sends over a socket what an attack says. */
export function speak(socket: Socket, given: Talk, index: number): void {
  const { opening = NOTHING, drip, next, rounds = Number.POSITIVE_INFINITY, deaf = false, leaveMs } = given
  socket.on('error', () => undefined)
  socket.on('end', () => socket.destroy())
  if (deaf) socket.pause()
  else socket.resume()
  socket.write(typeof opening === 'function' ? opening(index) : opening)
  if (drip !== undefined) {
    const timer = setInterval(() => socket.writable && socket.write(drip), 100)
    socket.on('close', () => clearInterval(timer))
  }
  if (leaveMs !== undefined) setTimeout(() => socket.destroy(), leaveMs)
  if (next === undefined) return
  let round = 0
  const pour = () => {
    // Others on this machine want to live too: a round per turn.
    if (round >= rounds || !socket.writable) return
    if (socket.write(next(round++, index))) setTimeout(pour, 2)
    else socket.once('drain', pour)
  }
  pour()
}

/** An attack over HTTP/2: the same behind the preface. */
export function talkHttp2(given: Talk & { readonly opening?: Buffer }): Attack {
  const opening = Buffer.concat([PREFACE, frame(SETTINGS, 0, 0), given.opening ?? NOTHING])
  return talk({ clients: 20, ...given, opening })
}

/** Keeps an attack up until it is stopped. */
export function wage(attack: Attack, target: Target): { connects(): number; stop(): void } {
  const sockets = new Set<Socket>()
  let stopped = false
  let connects = 0
  const connect = (index: number) => {
    if (stopped) return
    connects++
    const socket = attack.open(target, index)
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('close', () => {
      sockets.delete(socket)
      setTimeout(connect, attack.backMs, index)
    })
  }
  for (let i = 0; i < attack.clients; i++) connect(i)
  return {
    connects: () => connects,
    stop() {
      stopped = true
      for (const socket of sockets) socket.destroy()
    },
  }
}
