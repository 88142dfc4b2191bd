import { createConnection } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { HttpPeer, type HttpPeerOptions } from '@cirque/core'
import type { ProxyError } from '@cirque/error'
import { sharedWheel } from '@cirque/timeout'
import { expect, test } from 'vitest'
import type { ProxyHttp } from '../../src/index.ts'
import { AS_LOCALHOST, CERTIFICATE, CERTIFICATE_FILES } from '../support/certificate.ts'
import { RawClient } from '../support/client.ts'
import { startProxy } from '../support/proxy.ts'
import { deadAddress } from '../support/upstream.ts'
import { until } from '../support/waiting.ts'
import { Dice, runCount, runTimeout } from './support/dice.ts'
import { type Fault, type Plan, startFaultLink } from './support/fault-link.ts'
import { startTaggedH2Origin } from './support/h2-origin.ts'
import { H2Peer, valuesOf } from './support/h2-wire.ts'
import { expectNoProcessFaults } from './support/process-faults.ts'
import { readResponses } from './support/readers.ts'
import { type Shot, shoot } from './support/requests.ts'
import { startTaggedOrigin, taggedBody, wishOf } from './support/tagged-origin.ts'

expectNoProcessFaults()

const RUNS = runCount(400)
const AT_ONCE = 48
/** A client waits so long at most: more than all timeouts below together, with the retries. */
const DEADLINE_MS = 12_000
/** More than all timeouts below together, on a machine that has nothing else to do. */
const ALL_TIMEOUTS_MS = 3_000
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
/** For a peer that does nothing wrong: a busy machine is no fault of it. */
const PATIENT = {
  connectTimeoutMs: 5_000,
  totalConnectTimeoutMs: 5_000,
  readTimeoutMs: 5_000,
  writeTimeoutMs: 5_000,
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

/** What a client got for its only request. */
interface Got {
  /** 0 for none. */
  readonly status: number
  readonly tag: string | undefined
  readonly body: string
  readonly complete: boolean
  /** Where it ends with the connection, or may: an early end looks like any other. */
  readonly unframed: boolean
}

interface Pending {
  /** What has come so far; null for a clean connection that has brought nothing. */
  got(): Got | null
  /** Something has come. */
  heard(): boolean
  /** The connection has ended. */
  over(): boolean
  rest(text: string): void
  destroy(): void
}

function sendH1(port: number, { shot }: Run, tls: boolean): Pending {
  const client = new RawClient(port, true, tls)
  client.write(shot.head)
  const { framing } = wishOf(targetOf(shot))
  return {
    got() {
      const { responses, rest } = readResponses(client.received, [shot.method], client.ended)
      const [response] = responses
      if (response === undefined) return null
      expect(rest, `${shot.id}: surplus`).toBe('')
      const { status, body, complete, fields } = response
      const unframed = framing === 'close' || fields['connection'] === 'close'
      return { status, tag: fields['x-tag'], body, complete, unframed }
    },
    heard: () => client.received !== '',
    over: () => client.closed || client.ended,
    rest: (text) => void client.write(text),
    destroy: () => void client.socket.destroy(),
  }
}

function sendH2(port: number, { shot }: Run, tls: boolean): Pending {
  const to = { port, host: '127.0.0.1', noDelay: true }
  const socket = tls ? connectTls({ ...to, ...AS_LOCALHOST, ALPNProtocols: ['h2'] }) : createConnection(to)
  const peer = new H2Peer(socket, 'client')
  const expects = shot.waits ? ['expect', '100-continue'] : []
  const pseudo = [':method', shot.method, ':scheme', 'http', ':path', targetOf(shot), ':authority', 'a']
  peer.headers(1, [...pseudo, ...expects], shot.rest === '')
  const stream = peer.stream(1)
  // An origin of HTTP/1 that ends its response with its connection: nobody can tell an early end.
  const unframed = wishOf(targetOf(shot)).framing === 'close'
  return {
    got() {
      const final = stream.heads.find((fields) => Number(valuesOf(fields, ':status')[0]) >= 200)
      if (final === undefined) return null
      const [status] = valuesOf(final, ':status')
      const [tag] = valuesOf(final, 'x-tag')
      return { status: Number(status), tag, body: stream.body, complete: stream.ended, unframed }
    },
    heard: () => stream.heads.length > 0 || stream.reset >= 0,
    over: () => peer.closed || socket.readableEnded || stream.reset >= 0,
    // Its own framing: what the chunks of HTTP/1 hold.
    rest: () => (shot.rest === '' ? undefined : peer.data(1, shot.body, true)),
    destroy: () => void socket.destroy(),
  }
}

const targetOf = ({ head }: Shot) => head.slice(head.indexOf('/r'), head.indexOf(' HTTP'))

/** Sends the request, and waits until the response is whole or the connection has ended. */
async function request(pending: Pending, { shot, plan }: Run, logged: () => boolean): Promise<boolean> {
  const started = performance.now()
  // A link that swallows what comes back leaves its client waiting: nobody else can end that.
  const swallowed = plan.back?.kind === 'stall' || plan.back?.kind === 'hole'
  const over = () =>
    (swallowed && (logged() || performance.now() - started > ALL_TIMEOUTS_MS)) ||
    pending.over() ||
    performance.now() - started > DEADLINE_MS ||
    pending.got()?.complete === true
  if (shot.waits) await until(() => pending.heard() || over(), `${shot.id}: no answer to Expect`)
  pending.rest(shot.rest)
  await until(over, `${shot.id}: neither a response nor an end`)
  return performance.now() - started > DEADLINE_MS
}

/** The right answer, a right error, or a cut that the client can see. */
function check({ shot, side }: Run, got: Got | null): 'answered' | 'failed' | 'cut' {
  if (got === null) return 'cut'
  const story = `${shot.id} (${side}): ${got.status} ${got.tag}`
  if (got.tag !== shot.id) {
    expect(got.tag, story).toBeUndefined()
    expect([400, 408, 502, 504], story).toContain(got.status)
    expect(got.body, story).toBe('')
    return 'failed'
  }
  if (shot.method !== 'HEAD') {
    const { size } = wishOf(targetOf(shot))
    const body = taggedBody(shot.id, size)
    if (got.complete && !got.unframed) expect(got.body === body, story).toBe(true)
    else expect(body.startsWith(got.body), story).toBe(true)
  }
  return got.complete ? 'answered' : 'cut'
}

interface Arrangement {
  readonly client: 1 | 2
  readonly origin: 1 | 2
  readonly tls: boolean
  readonly app: keyof typeof APPS
  readonly runs: number
}

/** Of CIRQUE_ATTACK_RUNS, or of the usual number, each arrangement makes its share. */
const ARRANGEMENTS: Record<string, Arrangement> = {
  'h1 to h1': { client: 1, origin: 1, tls: false, app: 'as it comes', runs: RUNS },
  'h1 to h1, with hooks that wait': {
    client: 1,
    origin: 1,
    tls: false,
    app: 'with hooks that wait',
    runs: RUNS,
  },
  'h1 to h1 over TLS': { client: 1, origin: 1, tls: true, app: 'as it comes', runs: RUNS >> 2 },
  'h1 to h2': { client: 1, origin: 2, tls: false, app: 'as it comes', runs: RUNS >> 2 },
  'h2 to h1': { client: 2, origin: 1, tls: false, app: 'as it comes', runs: RUNS >> 2 },
  'h2 to h2, with hooks that wait': {
    client: 2,
    origin: 2,
    tls: false,
    app: 'with hooks that wait',
    runs: RUNS >> 2,
  },
  'h2 to h2 over TLS': { client: 2, origin: 2, tls: true, app: 'as it comes', runs: RUNS >> 2 },
}

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void
/** Memory that is kept for the next reads. */
const SPARE_BYTES = 4 * 1_048_576

/** Bytes in buffers that somebody still has, what is kept for the next reads included. */
function bufferBytes(): number {
  collect()
  return process.memoryUsage().arrayBuffers
}

/** What this process holds: sockets, and timers of the proxy. */
function held() {
  const sockets = process.getActiveResourcesInfo().filter((name) => /TCPSocket|TLSWrap/.test(name)).length
  return { sockets, timers: sharedWheel.armedCount }
}

/** Both ends of each socket that is open, for whoever has to find out whose it is. */
function openSockets(): string {
  const { libuv } = process.report.getReport() as { libuv: { type: string }[] }
  return JSON.stringify(libuv.filter(({ type }) => type === 'tcp'))
}

test.each(Object.entries(ARRANGEMENTS))(
  '%s: whatever breaks, each request ends in time and in truth, is logged once, and nothing is left',
  async (_name, arrangement) => {
    const before = held()
    const buffersMax = bufferBytes() + SPARE_BYTES
    await attack(arrangement)
    await until(() => held().sockets <= before.sockets, 'a socket is left').catch((error: Error) => {
      throw new Error(`${error.message}: ${openSockets()}`, { cause: error })
    })
    await until(() => held().timers <= before.timers, 'a timer is left')
    await until(() => bufferBytes() <= buffersMax, 'buffers are left')
  },
  runTimeout(400),
)

async function attack({
  client: version,
  origin: spoken,
  tls,
  app,
  runs: count,
}: Arrangement): Promise<void> {
  const runs = new Map<string, Run>()
  await using origin = await (spoken === 1 ? startTaggedOrigin(tls) : startTaggedH2Origin(tls))
  const toOrigin: HttpPeerOptions = {
    ...PEER,
    ...(spoken === 2 ? { httpVersion: 2, http2StreamsMax: 2 } : {}),
    ...(tls ? { tls: true, sni: 'localhost', ca: CERTIFICATE.cert } : {}),
  }
  const innocent = new HttpPeer(origin.address, { ...toOrigin, ...PATIENT })
  let links = 0
  await using broken = await startFaultLink(origin.port, () => {
    const dice = new Dice(1_000_000 + links++)
    for (;;) {
      const given = { forth: fault(dice), back: fault(dice) }
      // A sound connection of HTTP/2 would carry everything.
      if (spoken === 1 || given.forth !== null || given.back !== null) return given
    }
  })
  const dead = await deadAddress()
  /** What would count against the health of an upstream that has done nothing wrong. */
  const blamed: string[] = []
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
        if (side === 'client') return innocent
        return new HttpPeer(`127.0.0.1:${broken.port}`, toOrigin)
      },
      logging(session, error) {
        const { id } = wishOf(session.request.target.replace('http://a', ''))
        logged.set(id, [...(logged.get(id) ?? []), error])
        for (const attempt of session.record.attempts) {
          if (attempt.peer !== innocent || attempt.error?.source !== 'upstream') continue
          blamed.push(`${id}: ${attempt.error.message}`)
        }
      },
      ...APPS[app],
    },
    { server: { ...SERVER, h2c: version === 2 && !tls }, maxRetries: ATTEMPTS_MAX, retryBudget: false },
    tls ? { ...CERTIFICATE_FILES, handshakeTimeoutMs: 500 } : undefined,
  )
  // A link for each client, with the fault of its run.
  const counts = { answered: 0, failed: 0, cut: 0 }
  const go = async (seed: number) => {
    const run = plan(seed)
    runs.set(run.shot.id, run)
    const faulty = run.side === 'client'
    await using link = await startFaultLink(faulty ? proxy.port : 9, () => run.plan)
    const ended = () => logged.has(run.shot.id)
    const pending = (version === 1 ? sendH1 : sendH2)(faulty ? link.port : proxy.port, run, tls)
    const late = await request(pending, run, ended)
    expect(late, `${run.shot.id} is late`).toBe(false)
    counts[check(run, pending.got())]++
    pending.destroy()
  }
  let next = 0
  const worker = async () => {
    while (next < count) await go(next++)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))

  await proxy.idle()
  await until(() => proxy.proxy.serverApp.stats().connections === 0, 'a connection of a client stays open')
  const upstreams = () => proxy.proxy.connector.stats()
  // A broken connection of HTTP/2 takes its time to close.
  if (spoken === 2) await until(() => upstreams().open === upstreams().idle, 'a connection is left')
  expect(upstreams().open).toBe(upstreams().idle)
  await until(() => proxy.proxy.connector.stats().open === 0, 'idle connections outlive their timeout')
  expect([...logged.values()].filter((errors) => errors.length > 1)).toEqual([])
  expect(logged.size).toBe(proxy.proxy.stats().requests)
  for (const [id, [error]] of logged) {
    if ((runs.get(id) as Run).side === 'client') expect(error?.source ?? 'downstream', id).toBe('downstream')
  }
  expect(origin.violations).toEqual([])
  expect(blamed).toEqual([])
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
  expect(counts.answered).toBeGreaterThan(count / 3)
  // The faults have done something. Retries make up for most of what an upstream of HTTP/2 breaks.
  expect(counts.failed + counts.cut).toBeGreaterThan(count / 50)
  if (spoken === 1 && count >= 100) expect(counts.failed).toBeGreaterThan(0)
}
