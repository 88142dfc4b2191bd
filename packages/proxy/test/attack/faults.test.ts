import { HttpPeer } from '@cirque/core'
import type { ProxyError } from '@cirque/error'
import { expect, test } from 'vitest'
import type { ProxyHttp } from '../../src/index.ts'
import { RawClient } from '../support/client.ts'
import { startProxy } from '../support/proxy.ts'
import { deadAddress } from '../support/upstream.ts'
import { until } from '../support/waiting.ts'
import { Dice, runCount, runTimeout } from './support/dice.ts'
import { type Fault, type Plan, startFaultLink } from './support/fault-link.ts'
import { expectNoProcessFaults } from './support/process-faults.ts'
import { readResponses } from './support/readers.ts'
import { type Shot, shoot } from './support/requests.ts'
import { startTaggedOrigin, taggedBody, wishOf } from './support/tagged-origin.ts'

expectNoProcessFaults()

const RUNS = runCount(400)
const AT_ONCE = 48
/** A client waits so long at most: more than all timeouts below together, with the retries. */
const DEADLINE_MS = 12_000
const ATTEMPTS_MAX = 3

const SERVER = {
  headTimeoutMs: 150,
  idleTimeoutMs: 200,
  bodyTimeoutMs: 150,
  writeTimeoutMs: 200,
  requestTimeoutMs: 1_000,
  lingerTimeoutMs: 50,
} as const
const PEER = {
  connectTimeoutMs: 100,
  totalConnectTimeoutMs: 150,
  readTimeoutMs: 150,
  writeTimeoutMs: 200,
  idleTimeoutMs: 300,
} as const
const NONE: Plan = { forth: null, back: null }
const KINDS: readonly Fault['kind'][] = ['delay', 'drip', 'stall', 'hole', 'half-close', 'end', 'reset']

function fault(dice: Dice): Fault | null {
  if (dice.chance(0.5)) return null
  const after = dice.chance(0.7) ? dice.integer(0, 300) : dice.integer(0, 150_000)
  return { after, kind: dice.pick(KINDS), ms: dice.integer(1, 60) }
}

interface Ctx {
  attempts: number
}

const wait = () => new Promise<undefined>((resolve) => setTimeout(resolve, 1, undefined))
const APPS: Record<string, Partial<ProxyHttp<Ctx>>> = {
  'as it comes': {},
  'with hooks that wait': {
    requestFilter: wait,
    connectedToUpstream: wait,
    upstreamRequestFilter: wait,
    requestBodyFilter: wait,
    upstreamResponseFilter: wait,
    responseFilter: wait,
    responseBodyFilter: wait,
    failToConnect: wait,
    failToProxy: wait,
  },
}

interface Run {
  readonly shot: Shot
  /** Where it may go wrong. */
  readonly side: 'client' | 'origin' | 'connect'
  readonly plan: Plan
}

function plan(seed: number): Run {
  const dice = new Dice(seed)
  let shot = shoot(dice, `r${seed}`)
  while (shot.kind !== 'good') shot = shoot(dice, `r${seed}`)
  const side = dice.pick(['client', 'origin', 'origin', 'connect'] as const)
  return { shot, side, plan: side === 'client' ? { forth: fault(dice), back: fault(dice) } : NONE }
}

/** Sends the request, and gives what came until the response was whole or the connection ended. */
async function request(
  port: number,
  { shot, plan }: Run,
  logged: () => boolean,
): Promise<{ client: RawClient; ms: number; late: boolean }> {
  const client = new RawClient(port)
  const started = performance.now()
  // A link that swallows what comes back leaves its client waiting: nobody else can end that.
  const swallowed = plan.back?.kind === 'stall' || plan.back?.kind === 'hole'
  const over = () =>
    (swallowed && logged()) ||
    client.closed ||
    client.ended ||
    performance.now() - started > DEADLINE_MS ||
    readResponses(client.received, [shot.method], false).responses.at(-1)?.complete === true
  client.write(shot.head)
  if (shot.waits) await until(() => client.received !== '' || over(), `${shot.id}: no answer to Expect`)
  client.write(shot.rest)
  await until(over, `${shot.id}: neither a response nor an end`)
  const ms = performance.now() - started
  return { client, ms, late: ms > DEADLINE_MS }
}

/** The right answer, a right error, or a cut that the client can see. */
function check({ shot, side }: Run, client: RawClient): 'answered' | 'failed' | 'cut' {
  const { responses, rest } = readResponses(client.received, [shot.method], client.ended)
  const [response] = responses
  expect(rest === '' || response === undefined, `${shot.id}: surplus ${rest.slice(0, 200)}`).toBe(true)
  if (response === undefined) return 'cut'
  const story = `${shot.id} (${side}): ${response.status} ${response.reason}`
  if (response.reason !== shot.id) {
    expect([400, 408, 502, 504], story).toContain(response.status)
    expect(response.body, story).toBe('')
    return 'failed'
  }
  const { framing, size } = wishOf(shot.head.slice(shot.head.indexOf('/r'), shot.head.indexOf(' HTTP')))
  if (shot.method !== 'HEAD') {
    const body = taggedBody(shot.id, size)
    // An early end of what only ends with its connection looks like any other; so it does for HTTP/1.0 clients.
    const framed = framing !== 'close' && response.fields['connection'] !== 'close'
    if (response.complete && framed) expect(response.body === body, story).toBe(true)
    else expect(body.startsWith(response.body), story).toBe(true)
  }
  return response.complete ? 'answered' : 'cut'
}

test.each(Object.keys(APPS))(
  '%s: whatever breaks, each request ends in time and in truth, is logged once, and nothing is left',
  async (name) => {
    const runs = new Map<string, Run>()
    await using origin = await startTaggedOrigin()
    let links = 0
    await using broken = await startFaultLink(origin.port, () => {
      const dice = new Dice(1_000_000 + links++)
      return { forth: fault(dice), back: fault(dice) }
    })
    const dead = await deadAddress()
    const logged = new Map<string, (ProxyError | undefined)[]>()
    const runOf = (target: string) => runs.get(wishOf(target).id) as Run
    await using proxy = await startProxy<Ctx>(
      {
        newCtx: () => ({ attempts: 0 }),
        upstreamPeer(session, ctx) {
          const { side } = runOf(session.request.target.replace('http://a', ''))
          if (side === 'connect' && ctx.attempts++ === 0) {
            if (session.request.target.length % 3 > 0) return new HttpPeer(dead, PEER)
            // A black hole: the connection never stands.
            return new HttpPeer(dead, { ...PEER, connect: () => new Promise(() => undefined) })
          }
          if (side === 'client') return new HttpPeer(origin.address, { ...PEER, readTimeoutMs: 2_000 })
          return new HttpPeer(`127.0.0.1:${broken.port}`, PEER)
        },
        logging(session, error) {
          const { id } = wishOf(session.request.target.replace('http://a', ''))
          logged.set(id, [...(logged.get(id) ?? []), error])
        },
        ...APPS[name],
      },
      { server: SERVER, maxRetries: ATTEMPTS_MAX, retryBudget: false },
    )
    // A link for each client, with the fault of its run.
    const counts = { answered: 0, failed: 0, cut: 0 }
    const go = async (seed: number) => {
      const run = plan(seed)
      runs.set(run.shot.id, run)
      const faulty = run.side === 'client'
      await using link = await startFaultLink(faulty ? proxy.port : 9, () => run.plan)
      const ended = () => logged.has(run.shot.id)
      const { client, late } = await request(faulty ? link.port : proxy.port, run, ended)
      expect(late, `${run.shot.id} is late`).toBe(false)
      counts[check(run, client)]++
      client.socket.destroy()
    }
    let next = 0
    const worker = async () => {
      while (next < RUNS) await go(next++)
    }
    await Promise.all(Array.from({ length: AT_ONCE }, worker))

    await proxy.idle()
    await until(() => proxy.proxy.serverApp.stats().connections === 0, 'a connection of a client stays open')
    const { open, idle } = proxy.proxy.connector.stats()
    expect(open).toBe(idle)
    await until(() => proxy.proxy.connector.stats().open === 0, 'idle connections outlive their timeout')
    expect([...logged.values()].filter((errors) => errors.length > 1)).toEqual([])
    expect(logged.size).toBe(proxy.proxy.stats().requests)
    for (const [id, [error]] of logged) {
      if ((runs.get(id) as Run).side === 'client')
        expect(error?.source ?? 'downstream', id).toBe('downstream')
    }
    expect(origin.violations).toEqual([])
    const arrivals = new Map<string, number>()
    for (const { seen } of origin.readers) {
      for (const { target } of seen) {
        const { id } = wishOf(target)
        arrivals.set(id, (arrivals.get(id) ?? 0) + 1)
      }
    }
    for (const [id, times] of arrivals) {
      const { method, body } = (runs.get(id) as Run).shot
      const safe = ['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'].includes(method)
      expect(times, `${id}: ${method} arrived ${times} times`).toBeLessThanOrEqual(safe ? ATTEMPTS_MAX : 1)
      for (const { seen } of origin.readers) {
        for (const one of seen.filter(({ target }) => wishOf(target).id === id)) {
          expect(one.complete ? one.body === body : body.startsWith(one.body), id).toBe(true)
        }
      }
    }
    expect(counts.answered).toBeGreaterThan(RUNS / 3)
    expect(counts.failed).toBeGreaterThan(RUNS / 50)
    expect(counts.cut).toBeGreaterThan(RUNS / 100)
  },
  runTimeout(400),
)
