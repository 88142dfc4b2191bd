import { once } from 'node:events'
import { createConnection } from 'node:net'
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { expect } from 'vitest'
import { block, frame, settings } from '../../../../../scripts/test-support/http2-frames.ts'
import { AS_LOCALHOST } from '../../support/certificate.ts'
import { until } from '../../support/waiting.ts'
import type { Dice } from './dice.ts'
import { type H2Shot, shootH2 } from './h2-shots.ts'
import { H2Peer, type H2Stream, valuesOf } from './h2-wire.ts'
import { type TaggedOrigin, taggedBody, tunnelText, wishOf } from './tagged-origin.ts'
import { checkTunnels } from './tunnels.ts'

/** What one client sent and got. */
export interface H2Story {
  readonly peer: H2Peer
  readonly shots: readonly { readonly shot: H2Shot; readonly stream: H2Stream | null }[]
  /** It broke the connection, or went away by itself: what was under way may have got lost. */
  readonly broken: boolean
}

export interface H2PlayOptions {
  readonly tls?: boolean
  /** Some requests ask for a WebSocket. */
  readonly tunnels?: boolean
}

/** One client that has up to eight requests under way at once, all according to the dice. */
export async function playH2(
  port: number,
  dice: Dice,
  name: string,
  { tls = false, tunnels = false }: H2PlayOptions = {},
): Promise<H2Story> {
  const to = { port, host: '127.0.0.1', noDelay: true }
  const socket = tls ? connectTls({ ...to, ...AS_LOCALHOST, ALPNProtocols: ['h2'] }) : createConnection(to)
  await once(socket, tls ? 'secureConnect' : 'connect')
  socket.setNoDelay(true)
  const small = dice.chance(0.3)
  // A small window makes the responses stop and go.
  const peer = new H2Peer(socket, 'client', {}, small ? settings([4, 3_000]) : settings())
  const shots: { shot: H2Shot; stream: H2Stream | null }[] = []
  let nextId = 1
  let broken = false
  let remembered = ''
  const leaves = dice.chance(0.05)
  const play = async (shot: H2Shot) => {
    const id = nextId
    nextId += 2
    const entry = { shot, stream: null as H2Stream | null }
    shots.push(entry)
    if (shot.raw !== null) {
      broken = true
      for (const [type, flags, stream, payload] of shot.raw(id)) {
        peer.send(frame(type, flags, stream, Buffer.from(payload, 'latin1')))
      }
      return
    }
    const stream = peer.stream(id)
    entry.stream = stream
    // What one request leaves in the table of names and values, the next one may refer to: also when it is refused.
    const parts = [block(shot.fields)]
    if (shot.kind === 'good' && remembered !== '')
      parts.push(Buffer.from([0x80 | 62]), block(['x-expects', remembered]))
    if (dice.chance(0.3)) {
      remembered = shot.id
      parts.push(block(['x-remembered', remembered], true))
    }
    const fields = Buffer.concat(parts)
    const cut = dice.chance(0.2) ? Math.ceil(fields.length / dice.integer(2, 6)) : 16_384
    peer.headers(id, fields, shot.parts === null, cut)
    if (shot.kind === 'tunnel') {
      await playTunnel(peer, stream, shot, dice)
      return
    }
    const bytes = shot.parts ?? []
    for (const [index, part] of bytes.entries()) {
      if (dice.chance(0.5)) await (dice.chance(0.1) ? sleep(1) : turn())
      const last = index === bytes.length - 1
      peer.data(id, part, last && shot.trailers === null && shot.finish === 'end')
    }
    if (shot.finish === 'reset') {
      await turn()
      peer.reset(id, dice.pick([0, 8]))
    } else if (shot.trailers !== null) {
      await until(() => peer.sent(id) || peer.closed, `${shot.id}: the body does not go out`)
      peer.headers(id, shot.trailers, true)
    }
  }
  const count = dice.integer(1, 8)
  const playing: Promise<void>[] = []
  for (let i = 0; i < count && !broken; i++) {
    playing.push(play(shootH2(dice, `${name}x${i}`, tunnels)))
    if (dice.chance(0.5)) await turn()
    if (leaves && dice.chance(0.3)) {
      broken = true
      socket.destroy()
    }
  }
  await Promise.all(playing)
  const over = ({ shot, stream }: (typeof shots)[number]) =>
    stream === null || shot.finish === 'reset' || stream.ended || stream.reset >= 0
  await until(
    () => peer.closed || socket.readableEnded || shots.every(over),
    `${name}: not settled: ${storyOf(shots)}`,
  )
  // What was sent last is on its way: whoever leaves sooner may cut it off.
  if (!broken && !peer.closed) {
    peer.ping()
    await until(() => peer.pongs > 0 || peer.closed || socket.readableEnded, `${name}: no answer to PING`)
  }
  socket.destroy()
  return { peer, shots, broken: broken || peer.pongs === 0 }
}

/** Sends what it has at once, and the rest when the tunnel stands: if it does. */
async function playTunnel(peer: H2Peer, stream: H2Stream, shot: H2Shot, dice: Dice): Promise<void> {
  const send = async (parts: readonly string[]) => {
    for (const part of parts) {
      if (dice.chance(0.5)) await (dice.chance(0.1) ? sleep(1) : turn())
      peer.data(stream.id, part, false)
    }
  }
  await send(shot.parts ?? [])
  if (shot.late !== null) {
    await until(
      () => peer.closed || peer.socket.readableEnded || stream.reset >= 0 || statusOf(stream) >= 200,
      `${shot.id}: no answer to what asks for a tunnel`,
    )
    if (statusOf(stream) === 200) await send(shot.late)
    if (shot.finish === 'reset') {
      await turn()
      peer.reset(stream.id, dice.pick([0, 8]))
      return
    }
  }
  peer.data(stream.id, '', true)
}

/** Of its final response; 0 for none. */
function statusOf({ heads }: H2Stream): number {
  return Number(
    heads.map((fields) => valuesOf(fields, ':status')[0]).find((status) => Number(status) >= 200) ?? 0,
  )
}

function storyOf(shots: readonly { shot: H2Shot; stream: H2Stream | null }[]): string {
  return JSON.stringify(
    shots.map(({ shot, stream }) => [
      shot.kind,
      shot.fields,
      stream?.heads,
      stream?.body.length,
      stream?.ended,
      stream?.reset,
    ]),
  )
}

/** Each stream has its own response, whole; nothing of another's. */
export function checkH2Client({ peer, shots, broken }: H2Story, origin: 1 | 2, secure: boolean): void {
  expect(peer.violations).toEqual([])
  for (const { shot, stream } of shots) {
    if (stream === null) continue
    const { id, kind, target, method } = shot
    const status = statusOf(stream)
    const tags = stream.heads.flatMap((fields) => valuesOf(fields, 'x-tag'))
    const story = `${id}, ${kind}: ${JSON.stringify(shot.fields)} got ${JSON.stringify(stream.heads)} ${stream.reset}`
    expect(
      tags.every((tag) => tag === id),
      story,
    ).toBe(true)
    const ours = tags.length > 0
    const wish = wishOf(target)
    const { framing, size, when } = wish
    const tunnel = kind === 'tunnel'
    const opened = tunnel && status === 200
    const body = opened
      ? tunnelText(wish)
      : method === 'HEAD' || framing === 'none'
        ? ''
        : taggedBody(id, size)
    // An origin of HTTP/1 that answers without a switch of protocols would seem to open the tunnel.
    const refusal = origin === 1 ? [501, false] : [403, true]
    // Where it is reset before its head has passed all hooks, nobody has seen more than that.
    const cutShort = framing === 'length' && wish.resets && status === 502
    if (tunnel && status > 0 && !broken && !cutShort)
      expect([status, ours], story).toEqual(framing === 'length' ? [200, true] : refusal)
    // A cut is none that looks like an end; but Node.js takes any end of TLS for a proper one.
    if (opened && wish.resets && !(secure && origin === 1)) expect(stream.ended, story).toBe(false)
    if (ours) expect(body.startsWith(stream.body), story).toBe(true)
    else expect(stream.body, story).toBe('')
    if (!ours && status > 0 && !(tunnel && cutShort))
      expect([400, 405, 414, 417, 431, 501], story).toContain(status)
    if (kind === 'bad-head') expect(ours, story).toBe(false)
    if (kind === 'bad-body' && shot.body === null && when !== 'early') expect(ours, story).toBe(false)
    if (broken || (kind !== 'good' && !(tunnel && ours && shot.finish === 'end'))) continue
    if (opened && wish.resets) continue
    expect(ours, story).toBe(true)
    expect([stream.ended, stream.body.length], story).toEqual([true, body.length])
  }
}

const USUAL = new Set([
  'host',
  'content-length',
  'transfer-encoding',
  'x-check',
  'x-expects',
  'x-remembered',
  'cookie',
  'te',
  'expect',
  'x-seen',
  'x-content-length',
])

const OF_TUNNELS = new Set(['upgrade', 'sec-websocket-key'])

/** The origin has seen what was plainly said, once, and nothing else. */
export async function checkH2Origin(
  origin: TaggedOrigin,
  stories: readonly H2Story[],
  version: 1 | 2,
): Promise<void> {
  expect(origin.violations).toEqual([])
  const all = origin.readers.flatMap(({ seen }) => seen)
  const seen = new Map(all.map((one) => [wishOf(one.target).id, one]))
  expect(seen.size, 'a request arrived twice').toBe(all.length)
  for (const { shots, broken } of stories) {
    for (const { shot, stream } of shots) {
      const request = seen.get(shot.id)
      seen.delete(shot.id)
      const story = `${shot.kind} ${JSON.stringify(shot.fields)} arrived as ${JSON.stringify(request?.method)} ${request?.body.slice(0, 200)}`
      if (shot.kind === 'bad-head' || shot.kind === 'fatal') expect(request, story).toBeUndefined()
      if (request === undefined) {
        if ((shot.kind === 'good' || shot.kind === 'tunnel') && !broken) expect.unreachable(`${story}: lost`)
        continue
      }
      expect(request.method, story).toBe(shot.method)
      expect(request.target, story).toBe(shot.target)
      const { connection, ...fields } = Object.fromEntries(request.fields)
      const tunnel = shot.kind === 'tunnel'
      if (tunnel && version === 1)
        expect([connection?.join(), fields['upgrade']?.join()], story).toEqual(['upgrade', 'websocket'])
      else if (connection !== undefined) expect(connection.join().toLowerCase(), story).toBe('te')
      expect(
        Object.keys(fields).filter((name) => !USUAL.has(name) && !(tunnel && OF_TUNNELS.has(name))),
        story,
      ).toEqual([])
      if (shot.kind === 'good') expect(fields['x-check'], story).toEqual([shot.id])
      // A table out of step would give another's.
      expect(fields['x-remembered']?.[0] ?? fields['x-expects']?.[0], story).toBeOneOf([
        fields['x-expects']?.[0],
        shot.id,
      ])
      expect(
        request.trailers.filter((name) => name !== 'x-trailer'),
        story,
      ).toEqual([])
      if (request.complete) expect(request.body === shot.body, story).toBe(true)
      else expect((shot.parts ?? []).join('').startsWith(request.body), story).toBe(true)
      const early = wishOf(shot.target).when === 'early'
      if (shot.kind === 'good' && !broken && !early && stream?.ended === true)
        expect(request.complete, story).toBe(true)
    }
  }
  expect([...seen.keys()]).toEqual([])
  await checkTunnels(
    origin.tunnels,
    stories.flatMap(({ shots, broken }) =>
      shots
        .filter(({ shot }) => shot.kind === 'tunnel')
        .map(({ shot, stream }) => ({
          wish: wishOf(shot.target),
          sent: [...(shot.parts ?? []), ...(shot.late ?? [])].join(''),
          whole: !broken && shot.finish === 'end' && stream?.ended === true,
        })),
    ),
  )
}
