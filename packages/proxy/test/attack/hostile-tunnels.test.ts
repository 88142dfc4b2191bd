import { HttpPeer } from '@cirque/core'
import { expect, test } from 'vitest'
import { settings } from '../../../../scripts/test-support/http2-frames.ts'
import { startProxy } from '../support/proxy.ts'
import { startRawUpstream, type Upstream } from '../support/upstream.ts'
import { until } from '../support/waiting.ts'
import { type Tunnel, TunnelClient } from '../support/websocket.ts'
import { Dice, runCount, runTimeout } from './support/dice.ts'
import { H2Peer, type H2Stream, valuesOf } from './support/h2-wire.ts'
import { expectNoProcessFaults } from './support/process-faults.ts'
import { RequestReader } from './support/readers.ts'
import { acceptOfKey } from './support/tagged-origin.ts'
import { HTTP1_TUNNEL_TRICKS, HTTP2_TUNNEL_TRICKS, tunnelTextOf } from './support/tunnel-tricks.ts'

expectNoProcessFaults()

const RUNS = runCount(120)
const AT_ONCE = 8

/** An origin that plays with each handshake the trick that its target names; `/…?fair` gets a tunnel. */
interface Trickster extends Upstream {
  readonly names: readonly string[]
  /** What came out of each tunnel. */
  readonly carried: Map<string, () => string>
}

const wished = (target: string) => /^\/(\w+)\?(\w+)$/.exec(target)?.slice(1) ?? []

async function startHttp1(): Promise<Trickster> {
  const names = Object.keys(HTTP1_TUNNEL_TRICKS)
  const carried = new Map<string, () => string>()
  const upstream = await startRawUpstream((socket) => {
    const reader = new RequestReader(
      () => undefined,
      ({ target, fields }) => {
        const [id = '', index = ''] = wished(target)
        const key = fields.get('sec-websocket-key')?.[0] ?? ''
        reader.switchProtocols()
        carried.set(id, () => reader.tunnel ?? '')
        if (index !== 'fair') HTTP1_TUNNEL_TRICKS[names[Number(index)] as string]?.(socket, id, key)
        else {
          socket.write(
            `HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${acceptOfKey(key)}\r\n\r\n${tunnelTextOf(id)}`,
          )
        }
      },
    )
    socket.on('data', (data) => reader.feed(data.toString('latin1')))
    socket.on('end', () => socket.end())
  })
  return { ...upstream, names, carried }
}

async function startHttp2(): Promise<Trickster> {
  const names = Object.keys(HTTP2_TUNNEL_TRICKS)
  const carried = new Map<string, () => string>()
  const upstream = await startRawUpstream((socket) => {
    socket.setNoDelay(true)
    const fair = new Set<H2Stream>()
    const peer: H2Peer = new H2Peer(
      socket,
      'server',
      {
        onHead(stream, fields) {
          const [id = '', index = ''] = wished(valuesOf(fields, ':path')[0] ?? '')
          carried.set(id, () => stream.body)
          if (index !== 'fair') {
            HTTP2_TUNNEL_TRICKS[names[Number(index)] as string]?.play(peer, stream.id, id)
            return
          }
          fair.add(stream)
          peer.headers(stream.id, [':status', '200'], false)
          peer.data(stream.id, tunnelTextOf(id), false)
        },
        onEnd(stream) {
          if (fair.has(stream)) peer.data(stream.id, '', true)
        },
      },
      settings([3, 100], [8, 1]),
    )
    socket.on('end', () => socket.end())
  })
  return { ...upstream, names, carried }
}

/** What the client got: the tunnel, another status, or 0 for none. */
async function answered(tunnel: Tunnel): Promise<number | 'open'> {
  try {
    return await tunnel.answer()
  } catch (error) {
    expect(String(error)).toContain('The connection ended')
    return 0
  }
}

test.each([
  [1, 1],
  [1, 2],
  [2, 1],
  [2, 2],
] as const)(
  'h%i to h%i: what an origin does to a tunnel reaches nobody else, and each client gets its own bytes',
  async (down, up) => {
    await using upstream = await (up === 1 ? startHttp1() : startHttp2())
    let logged = 0
    await using proxy = await startProxy(
      {
        upstreamPeer: () =>
          new HttpPeer(upstream.address, { httpVersion: up, readTimeoutMs: 500, tunnelIdleTimeoutMs: 500 }),
        logging: () => void logged++,
      },
      { retryBudget: false, server: { h2c: true } },
    )
    const sent = new Map<string, string>()
    const play = async (seed: number) => {
      const dice = new Dice(seed)
      const id = `h${seed}`
      const trick = seed < upstream.names.length ? seed : dice.integer(0, upstream.names.length - 1)
      const isFair = seed >= upstream.names.length && dice.chance(0.5)
      const what = isFair ? 'a fair tunnel' : (upstream.names[trick] as string)
      const early = dice.chance(0.5) ? `early ${id} ` : ''
      const late = `late ${id}`
      sent.set(id, early + late)
      await using client = new TunnelClient(down, proxy.port)
      const tunnel = await client.open(`/${id}?${isFair ? 'fair' : trick}`, early)
      const answer = await answered(tunnel)
      if (answer === 'open') tunnel.write(late)
      if (answer === 'open' && isFair) {
        await until(
          () => tunnel.over || tunnel.received().length >= tunnelTextOf(id).length,
          `${what} of ${id} stalls`,
        )
      }
      tunnel.end()
      await until(() => tunnel.over, `${what} leaves its client waiting`)
      // A refusal's body may come in chunks.
      const received =
        answer === 'open' || down === 2
          ? tunnel.received()
          : tunnel.received().replace(/(?:^|\r\n)[0-9A-F]+\r\n(?:\r\n)?/g, '')
      expect(received, what).not.toContain('poison')
      expect(tunnelTextOf(id).startsWith(received), `${what} brought ${received}`).toBe(true)
      // Those of HTTP/2 share a connection with tricks that end it.
      if (isFair && up === 1)
        expect([answer, received.length], what).toEqual(['open', tunnelTextOf(id).length])
      if (answer !== 'open') expect([0, 200, 204, 205, 304, 403, 407, 501, 502, 504], what).toContain(answer)
    }
    let next = 0
    const worker = async () => {
      while (next < RUNS) await play(next++)
    }
    await Promise.all(Array.from({ length: AT_ONCE }, worker))
    await proxy.idle()
    expect(logged).toBe(RUNS)
    await until(() => upstream.connections.open === proxy.proxy.connector.stats().open, 'connections differ')
    for (const [id, text] of upstream.carried) {
      expect(sent.get(id)?.startsWith(text()), `the tunnel of ${id} carried ${text()}`).toBe(true)
    }
    // Those that were open and not cut carried something.
    expect([...upstream.carried.values()].filter((text) => text() !== '').length).toBeGreaterThan(RUNS / 8)
  },
  runTimeout(120),
)
