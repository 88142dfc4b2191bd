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
import { type TaggedOrigin, taggedBody, wishOf } from './tagged-origin.ts'

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
  socket.destroy()
  return { peer, shots, broken }
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
export function checkH2Client({ peer, shots, broken }: H2Story): void {
  expect(peer.violations).toEqual([])
  for (const { shot, stream } of shots) {
    if (stream === null) continue
    const { id, kind, target, method } = shot
    const final = stream.heads.find((fields) => Number(valuesOf(fields, ':status')[0]) >= 200) ?? []
    const status = Number(valuesOf(final, ':status')[0] ?? 0)
    const tags = stream.heads.flatMap((fields) => valuesOf(fields, 'x-tag'))
    const story = `${id}, ${kind}: ${JSON.stringify(shot.fields)} got ${JSON.stringify(stream.heads)} ${stream.reset}`
    expect(
      tags.every((tag) => tag === id),
      story,
    ).toBe(true)
    const ours = tags.length > 0
    const { framing, size, when } = wishOf(target)
    const tunnel = kind === 'tunnel'
    const body = tunnel
      ? `${id} welcomes`
      : method === 'HEAD' || framing === 'none'
        ? ''
        : taggedBody(id, size)
    // An answer without a switch of protocols would look like one.
    if (tunnel && status > 0 && !broken)
      expect([status, ours], story).toEqual(framing === 'length' ? [200, true] : [501, false])
    if (ours) expect(body.startsWith(stream.body), story).toBe(true)
    else expect(stream.body, story).toBe('')
    if (!ours && status > 0) expect([400, 405, 414, 417, 431, 501], story).toContain(status)
    if (kind === 'bad-head') expect(ours, story).toBe(false)
    if (kind === 'bad-body' && shot.body === null && when !== 'early') expect(ours, story).toBe(false)
    if (broken || (kind !== 'good' && !(tunnel && ours))) continue
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
export function checkH2Origin(origin: TaggedOrigin, stories: readonly H2Story[]): void {
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
      if (tunnel)
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
  checkTunnels(origin, stories)
}

/** A tunnel carries what its own client sent into it: all of that, if nobody broke it. */
function checkTunnels(origin: TaggedOrigin, stories: readonly H2Story[]): void {
  const carried = new Map<string, string>()
  for (const { tunnel, seen } of origin.readers) {
    if (tunnel !== null) carried.set(wishOf(seen.at(-1)?.target ?? '').id, tunnel)
  }
  for (const { shots, broken } of stories) {
    for (const { shot, stream } of shots) {
      const tunnel = carried.get(shot.id)
      carried.delete(shot.id)
      const story = `the tunnel of ${shot.id} carried ${JSON.stringify(tunnel)}`
      if (tunnel === undefined) continue
      expect(shot.kind, story).toBe('tunnel')
      const sent = (shot.parts ?? []).join('')
      if (stream?.ended === true && !broken) expect(tunnel, story).toBe(sent)
      else expect(sent.startsWith(tunnel), story).toBe(true)
    }
  }
  expect([...carried.keys()]).toEqual([])
}
