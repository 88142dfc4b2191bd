import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import { HttpPeer } from '@cirque/core'
import { expect, test } from 'vitest'
import type { ProxyHttp } from '../../src/index.ts'
import { RawClient } from '../support/client.ts'
import { type RunningProxy, startProxy } from '../support/proxy.ts'
import { until } from '../support/waiting.ts'
import { Dice, runCount, runTimeout } from './support/dice.ts'
import { expectNoProcessFaults } from './support/process-faults.ts'
import { readResponses } from './support/readers.ts'
import { type Shot, shoot } from './support/requests.ts'
import { startTaggedOrigin, type TaggedOrigin, taggedBody, wishOf } from './support/tagged-origin.ts'

expectNoProcessFaults()

/** Connections of one app, each with up to six requests. */
const CONNECTIONS = runCount(360)
const AT_ONCE = 12

const wait = () => turn(undefined)
const APPS: Record<string, Partial<ProxyHttp>> = {
  'as it comes': {},
  'with fields edited and bodies filtered': {
    upstreamRequestFilter: (_session, request) => request.insertHeader('X-Seen', 'yes'),
    requestBodyFilter: () => undefined,
    responseFilter: (_session, response) => response.insertHeader('X-Seen', 'yes'),
    responseBodyFilter: () => undefined,
  },
  'with hooks that wait': {
    requestFilter: wait,
    connectedToUpstream: wait,
    upstreamRequestFilter: wait,
    requestBodyFilter: wait,
    responseFilter: wait,
    responseBodyFilter: wait,
  },
  'with bodies read ahead': {
    async requestFilter(session) {
      await session.bufferRequestBody({ maxBytes: 5_000, overflow: 'stream' })
    },
  },
}

/** What one client sent and got. */
interface Story {
  readonly shots: readonly Shot[]
  readonly client: RawClient
  /** It went away by itself. */
  readonly gone: boolean
}

async function play(port: number, dice: Dice, name: string): Promise<Story> {
  const shots = Array.from({ length: dice.integer(1, 6) }, (_, index) => shoot(dice, `${name}x${index}`))
  const client = new RawClient(port)
  const cut = dice.chance(0.06) ? dice.integer(0, 900) : Number.POSITIVE_INFINITY
  let sent = 0
  const send = async (text: string, pieces: number) => {
    for (let at = 0; at < text.length; ) {
      const size = Math.min(
        text.length - at,
        Math.max(1, Math.ceil((text.length / pieces) * 2 * dice.next())),
      )
      sent += size
      if (sent > cut) {
        client.socket.resetAndDestroy()
        return false
      }
      client.write(text.slice(at, at + size))
      at += size
      if (pieces > 1) await (dice.chance(0.1) ? sleep(1) : turn())
    }
    return true
  }
  const pieces = dice.pick([1, 1, 2, 5])
  let goingOn = true
  for (let i = 0; i < shots.length && goingOn; i++) {
    const { id, head, rest, waits } = shots[i] as Shot
    if (!waits) goingOn = await send(head + rest, pieces)
    else {
      const seen = client.received.length
      goingOn = await send(head, pieces)
      if (!goingOn) break
      // 100 or a final response: both are an answer to the head that waits. In a tunnel there is none.
      await until(
        () =>
          client.received.length > seen ||
          client.closed ||
          client.ended ||
          client.received.includes('HTTP/1.1 101'),
        `${name}: no answer to Expect`,
      )
      // Whoever gets the final response at once may keep the body to himself (RFC 9110 §10.1.1).
      const refused = new RegExp(`HTTP/1.1 2\\d\\d ${id}\\r`).test(client.received)
      if (refused && dice.chance(0.5)) continue
      goingOn = await send(rest, pieces)
    }
  }
  if (goingOn) await settled(client, shots, name)
  client.socket.destroy()
  return { shots, client, gone: !goingOn }
}

/** Waits until everything is answered or the connection has ended. */
function settled(client: RawClient, shots: readonly Shot[], name: string): Promise<void> {
  const methods = shots.map(({ method }) => method)
  return until(
    () => {
      if (client.closed || client.ended) return true
      const { responses, rest } = readResponses(client.received, methods, false)
      if (responses.at(-1)?.status === 101) return rest.endsWith('welcomes')
      return responses.length === shots.length && responses.at(-1)?.complete === true
    },
    `${name}: not settled: ${JSON.stringify(client.received.slice(-300))} of ${JSON.stringify(shots.at(-1)?.head)}`,
  )
}

/** No byte of another's response, in order, whole, and an end only where there is a reason for one. */
function checkClient({ shots, client, gone }: Story): void {
  const methods = shots.map(({ method }) => method)
  const { responses, rest } = readResponses(client.received, methods, client.ended)
  responses.forEach((response, index) => {
    const { id, kind, head } = shots[index] as Shot
    const { framing, size } = wishOf(/ (?:http:\/\/a)?(\/\S*)/.exec(head)?.[1] ?? '')
    const ours = response.reason === id
    const story = `${JSON.stringify(head)} got ${response.status} ${response.reason}`
    if (kind === 'good' || kind === 'tunnel') expect(ours, story).toBe(true)
    else if (!ours) expect([400, 501, 505].includes(response.status), story).toBe(true)
    if (kind === 'bad-head') expect(ours, story).toBe(false)
    if (!ours) expect(response.body, story).toBe('')
    else if (response.status === 200 && methods[index] !== 'HEAD') {
      const body = taggedBody(id, size)
      if (response.complete && (framing !== 'close' || kind !== 'bad-body'))
        expect(response.body, story).toBe(body)
      else expect(body.startsWith(response.body), story).toBe(true)
    }
  })
  const final = responses.at(-1)
  const ends = final?.fields['connection'] === 'close' || final?.complete === false || final?.status === 101
  if (gone) return
  if (final?.status === 101) expect(rest).toBe(`${shots[responses.length - 1]?.id} welcomes`)
  else expect(rest).toBe('')
  if (responses.length < shots.length && !ends) {
    // Cut without a word: only after a body that cannot be answered any more.
    const { id = '', head, kind } = shots[responses.length] ?? {}
    const how = client.error ?? (client.ended ? 'an end' : client.closed ? 'a close' : 'open')
    expect(kind, `${id}, ${head}: ${how} after ${client.received.slice(-300)}`).toBe('bad-body')
  }
  responses.slice(0, -1).forEach((response, index) => {
    expect(response.fields['connection'], shots[index]?.head).not.toBe('close')
  })
  for (const shot of shots.slice(0, responses.length - 1)) expect(shot.last, shot.head).toBe(false)
}

/** The origin has seen what was plainly said, once, in order, and nothing else. */
function checkOrigin(origin: TaggedOrigin, stories: readonly Story[]): void {
  expect(origin.violations).toEqual([])
  const seen = new Map(
    origin.readers.flatMap(({ seen: requests }) => requests.map((one) => [wishOf(one.target).id, one])),
  )
  expect(seen.size).toBe(origin.readers.reduce((sum, reader) => sum + reader.seen.length, 0))
  for (const { shots, client, gone } of stories) {
    const { responses } = readResponses(
      client.received,
      shots.map(({ method }) => method),
      client.ended,
    )
    let dead = false
    shots.forEach((shot, index) => {
      const request = seen.get(shot.id)
      seen.delete(shot.id)
      const story = `${JSON.stringify(shot.head)} arrived as ${JSON.stringify(request?.method)} ${request?.body.slice(0, 200)}`
      if (dead || shot.kind === 'bad-head') expect(request, story).toBeUndefined()
      if (request !== undefined) {
        expect(request.method, story).toBe(shot.method)
        if (request.complete) {
          expect(shot.kind, story).not.toBe('bad-body')
          expect(request.body, story).toBe(shot.body)
        } else expect(shot.body.startsWith(request.body), story).toBe(true)
      } else if (index < responses.length) expect(responses[index]?.reason, story).not.toBe(shot.id)
      if (!gone && shot.kind === 'good' && responses[index]?.complete === true) {
        const early = wishOf(request?.target ?? '').when === 'early'
        if (!early) expect(request?.complete, story).toBe(true)
      }
      dead ||= shot.last
    })
  }
  expect([...seen.keys()]).toEqual([])
  checkTunnels(origin, stories)
}

/** After 101 everything that the client sends is the tunnel's, and before it nothing is. */
function checkTunnels(origin: TaggedOrigin, stories: readonly Story[]): void {
  const raw = new Map<string, string>()
  for (const { shots } of stories) {
    shots.forEach((shot, index) => {
      const after = shots.slice(index + 1).map(({ head, rest }) => head + rest)
      if (shot.kind === 'tunnel') raw.set(shot.id, shot.rest + after.join(''))
    })
  }
  for (const { tunnel, seen } of origin.readers) {
    if (tunnel === null) continue
    const sent = raw.get(wishOf(seen.at(-1)?.target ?? '').id)
    expect(sent?.startsWith(tunnel), `a tunnel carried ${JSON.stringify(tunnel)}`).toBe(true)
  }
}

async function nothingLeft(proxy: RunningProxy<unknown>, logged: () => number): Promise<void> {
  await proxy.idle()
  await until(() => proxy.proxy.serverApp.stats().connections === 0, 'a connection of a client stays open')
  expect(logged()).toBe(proxy.proxy.stats().requests)
  const { open, idle } = proxy.proxy.connector.stats()
  expect(open).toBe(idle)
}

test.each(Object.keys(APPS))(
  '%s: the origin sees what clients plainly say, and each client its own responses',
  async (name) => {
    await using origin = await startTaggedOrigin()
    let logged = 0
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer(origin.address),
      logging: () => void logged++,
      ...APPS[name],
    })
    const stories: Story[] = []
    let next = 0
    const worker = async () => {
      while (next < CONNECTIONS) {
        const seed = next++
        const story = await play(proxy.port, new Dice(seed), `c${seed}`)
        checkClient(story)
        stories.push(story)
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, worker))
    await nothingLeft(proxy as RunningProxy<unknown>, () => logged)
    checkOrigin(origin, stories)
  },
  runTimeout(360),
)
