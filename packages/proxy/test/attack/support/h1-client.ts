import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import { TLSSocket } from 'node:tls'
import { expect } from 'vitest'
import { RawClient } from '../../support/client.ts'
import { until } from '../../support/waiting.ts'
import type { Dice } from './dice.ts'
import { readResponses, type SeenResponse } from './readers.ts'
import { type Shot, shoot } from './requests.ts'
import { acceptOfKey, taggedBody, tunnelText, wishOf } from './tagged-origin.ts'
import type { TunnelStory } from './tunnels.ts'

/** What one client sent and got. */
export interface Story {
  readonly shots: readonly Shot[]
  readonly client: RawClient
  /** It went away by itself. */
  readonly gone: boolean
  /** What it did with the tunnel that it got. */
  readonly tunnel: TunnelStory | null
}

export interface PlayOptions {
  /** To an origin of HTTP/2 nothing but WebSockets is tunnelled. */
  readonly onlyWebSockets?: boolean
  readonly tls?: boolean
}

/** One client with up to six requests, all according to the dice. */
export async function play(
  port: number,
  dice: Dice,
  name: string,
  { onlyWebSockets = false, tls = false }: PlayOptions = {},
): Promise<Story> {
  const shots = Array.from({ length: dice.integer(1, 6) }, (_, index) => {
    const shot = shoot(dice, `${name}x${index}`)
    const refused = onlyWebSockets && shot.kind === 'tunnel' && shot.key === ''
    return refused ? { ...shot, kind: 'refused' as const } : shot
  })
  const client = new RawClient(port, true, tls)
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
        if (tls) client.socket.destroy()
        else client.socket.resetAndDestroy()
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
      const refused = new RegExp(`\\nx-tag: ${id}\\r`, 'i').test(client.received)
      if (refused && dice.chance(0.5)) continue
      goingOn = await send(rest, pieces)
    }
  }
  if (goingOn) await settled(client, shots, name)
  const tunnel = await leaveTunnel(client, shots, goingOn, dice)
  client.socket.destroy()
  return { shots, client, gone: !goingOn, tunnel }
}

/** In the tunnel that it got, if it did, a client goes on, and ends it in one of three ways. */
async function leaveTunnel(
  client: RawClient,
  shots: readonly Shot[],
  goesOn: boolean,
  dice: Dice,
): Promise<TunnelStory | null> {
  const at = shots.findIndex(({ kind }) => kind === 'tunnel')
  const shot = shots[at]
  if (shot === undefined) return null
  const wish = wishOf(targetOf(shot))
  const said =
    shot.rest +
    shots
      .slice(at + 1)
      .map(({ head, rest }) => head + rest)
      .join('')
  const { responses } = readResponses(
    client.received,
    shots.map(({ method }) => method),
    client.ended,
  )
  if (!goesOn || responses.at(-1)?.status !== 101 || client.closed) return { wish, sent: said, whole: false }
  const more = ` and ${wish.id} goes on`
  client.write(more)
  const sent = said + more
  const how = dice.pick(['end', 'end', 'end', 'destroy', 'reset'])
  if (how === 'destroy') client.socket.destroy()
  else if (how === 'reset' && !(client.socket instanceof TLSSocket)) client.socket.resetAndDestroy()
  else {
    client.socket.end()
    // Where the other side ended first, what was said last is still on its way.
    await until(
      () => client.closed || (client.ended && client.socket.writableFinished),
      `${wish.id}: its tunnel does not end`,
    )
    return { wish, sent, whole: client.error === null }
  }
  return { wish, sent, whole: false }
}

/** Waits until everything is answered or the connection has ended. */
function settled(client: RawClient, shots: readonly Shot[], name: string): Promise<void> {
  const methods = shots.map(({ method }) => method)
  return until(
    () => {
      if (client.closed || client.ended) return true
      const { responses, rest } = readResponses(client.received, methods, false)
      if (responses.at(-1)?.status === 101) {
        const wish = wishOf(targetOf(shots[responses.length - 1] as Shot))
        return rest.length >= tunnelText(wish).length
      }
      return responses.length === shots.length && responses.at(-1)?.complete === true
    },
    `${name}: not settled: ${JSON.stringify(client.received.slice(-300))} of ${JSON.stringify(shots.at(-1)?.head)}`,
  )
}

/** No byte of another's response, in order, whole, and an end only where there is a reason for one. */
export function checkClient({ shots, client, gone }: Story): void {
  const methods = shots.map(({ method }) => method)
  const { responses, rest } = readResponses(client.received, methods, client.ended)
  responses.forEach((response, index) => {
    const { id, kind, head } = shots[index] as Shot
    const { framing, size, resets } = wishOf(targetOf(shots[index] as Shot))
    const ours = isOf(response, id)
    const story = `${JSON.stringify(head)} got ${response.status} ${response.fields['x-tag']}`
    // Where it is reset before its head has passed all hooks, nobody has seen more than that.
    const cutShort = kind === 'tunnel' && resets && response.status === 502
    if (kind === 'good' || (kind === 'tunnel' && !cutShort)) expect(ours, story).toBe(true)
    else if (!ours && !cutShort) expect([400, 501, 505].includes(response.status), story).toBe(true)
    if (kind === 'bad-head') expect(ours, story).toBe(false)
    if (kind === 'refused') expect(response.status, story).not.toBe(101)
    const { key } = shots[index] as Shot
    if (response.status === 101 && key !== '')
      expect(response.fields['sec-websocket-accept'], story).toBe(acceptOfKey(key))
    if (!ours) expect(response.body, story).toBe('')
    else if ((response.status === 200 || response.status === 403) && methods[index] !== 'HEAD') {
      const body = taggedBody(id, size)
      if (response.complete && (framing !== 'close' || kind !== 'bad-body'))
        expect(response.body, story).toBe(body)
      else expect(body.startsWith(response.body), story).toBe(true)
    }
  })
  const final = responses.at(-1)
  const ends = final?.fields['connection'] === 'close' || final?.complete === false || final?.status === 101
  if (gone) return
  if (final?.status === 101) {
    const wish = wishOf(targetOf(shots[responses.length - 1] as Shot))
    const text = tunnelText(wish)
    const story = `${wish.id}: its tunnel brought ${rest.length} bytes, ${JSON.stringify(rest.slice(-300))}, ${client.error}`
    expect(wish.resets ? text.startsWith(rest) && rest.length < text.length : rest === text, story).toBe(true)
    // TLS says by itself that it was cut.
    if (wish.resets && !(client.socket instanceof TLSSocket)) expect(client.ended, story).toBe(false)
  } else expect(rest).toBe('')
  if (responses.length < shots.length && !ends) {
    // Cut without a word: only after a body that cannot be answered any more, or by a reset that overtook the word.
    const shot = shots[responses.length] as Shot
    const { id, head, kind } = shot
    const overtaken = kind === 'tunnel' && wishOf(targetOf(shot)).resets
    const how = client.error ?? (client.ended ? 'an end' : client.closed ? 'a close' : 'open')
    if (!overtaken)
      expect(kind, `${id}, ${head}: ${how} after ${client.received.slice(-300)}`).toBe('bad-body')
  }
  responses.slice(0, -1).forEach((response, index) => {
    expect(response.fields['connection'], shots[index]?.head).not.toBe('close')
  })
  for (const shot of shots.slice(0, Math.max(0, responses.length - 1)))
    expect(shot.last, shot.head).toBe(false)
}

function targetOf({ head }: Shot): string {
  return / (?:http:\/\/a)?(\/\S*)/.exec(head)?.[1] ?? ''
}

/** The response is the origin's to this request. */
export function isOf(response: SeenResponse | undefined, id: string): boolean {
  return response?.fields['x-tag'] === id
}
