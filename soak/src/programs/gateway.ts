// A gateway out of the packages, as a user would write one, that also tells about itself. Prints its ports as JSON.
import { readdirSync } from 'node:fs'
import {
  type HttpModules,
  HttpPeer,
  ListeningService,
  responseCompression,
  Server,
  serveHttp,
} from '@cirque/core'
import { httpProxyService, type ProxyHttp, type Session } from '@cirque/proxy'
import { StreamPeer, tcpProxyService, udpProxyService } from '@cirque/stream-proxy'
import type { OriginPorts } from './origin.ts'

/** Where everything listens, on 127.0.0.1. */
export interface GatewayPorts {
  readonly http: number
  readonly https: number
  readonly tcp: number
  readonly udp: number
  readonly admin: number
}

/** What the gateway says of itself at one moment. */
export interface GatewayState {
  readonly pid: number
  readonly rssBytes: number
  readonly heapBytes: number
  readonly externalBytes: number
  /** All that keeps the event loop busy: sockets, timers, requests to the system. */
  readonly handles: number
  readonly sockets: number
  /** Undefined where there is no `/proc`. */
  readonly descriptors: number | undefined
  readonly connections: number
  readonly active: number
  /** Broken invariants, of exchanges and of connections. */
  readonly broken: number
  readonly upstreamOpen: number
  readonly upstreamIdle: number
  readonly tcpOpen: number
  readonly udpOpen: number
  /** The collector has just run, so that the bytes are those in use. */
  readonly collected: boolean
}

const { SOAK_ORIGIN = '{}', SOAK_CERT = '', SOAK_KEY = '', SOAK_THREADS = '1' } = process.env
const origin = JSON.parse(SOAK_ORIGIN) as OriginPorts
const at = (port: number): string => `127.0.0.1:${port}`

interface Ctx {
  attempts: number
}

class Gateway implements ProxyHttp<Ctx> {
  newCtx(): Ctx {
    return { attempts: 0 }
  }

  initDownstreamModules(modules: HttpModules): void {
    modules.add(responseCompression())
  }

  requestFilter(session: Session): boolean {
    if (session.request.path !== '/own') return false
    session.respond(200, { body: 'own' })
    return true
  }

  upstreamPeer(session: Session, ctx: Ctx): HttpPeer {
    ctx.attempts += 1
    switch (session.request.path) {
      case '/hang':
        return new HttpPeer(at(origin.http), { readTimeoutMs: 500 })
      case '/dead':
        return new HttpPeer(at(origin.dead))
      case '/retry':
        return new HttpPeer(at(ctx.attempts === 1 ? origin.dead : origin.http))
      case '/reset':
      case '/garbage':
      case '/short':
        return new HttpPeer(at(origin.broken))
      case '/soak.Echo/unary':
      case '/two':
        return new HttpPeer(at(origin.http2), { httpVersion: 2 })
      default:
        return new HttpPeer(at(origin.http), { idleTimeoutMs: 5_000 })
    }
  }

  suppressErrorLog(): boolean {
    return true
  }
}

const server = new Server()
const options = {
  server: { h2c: true, idleTimeoutMs: 8_000, headTimeoutMs: 5_000 },
  connector: { keepalivePoolSize: 64 },
  forwarding: { xForwarded: true, requestId: 'X-Request-Id' },
  listening: { threads: Number(SOAK_THREADS) },
}
const http = httpProxyService(server.configuration, new Gateway(), options)
http.addTcp(at(0))
http.addTls(at(0), { certFile: SOAK_CERT, keyFile: SOAK_KEY })
const tcp = tcpProxyService(server.configuration, { upstreamPeer: () => new StreamPeer(at(origin.tcp)) })
tcp.addTcp(at(0))
const udp = udpProxyService(
  { upstreamPeer: () => at(origin.udp) },
  { idleTimeoutMs: 3_000, responsesPerDatagram: 1 },
)
udp.addUdp(at(0))

/** What a thread says of itself: the part of a state that is the sum over all threads. */
async function ofThread(collect: boolean) {
  if (collect) await globalThis.gc?.({ type: 'major', execution: 'async' })
  const { heapUsed, external } = process.memoryUsage()
  const resources = process.getActiveResourcesInfo()
  const pool = http.proxy.connector.stats()
  return {
    heapBytes: heapUsed,
    externalBytes: external,
    handles: resources.length,
    sockets: resources.filter((kind) => kind === 'TCPSocketWrap').length,
    active: http.proxy.stats().active,
    broken: http.proxy.stats().broken + http.proxy.serverApp.stats().broken + pool.broken,
    upstreamOpen: pool.open,
    upstreamIdle: pool.idle,
    tcpOpen: tcp.stats().open,
    udpOpen: udp.stats().open,
  }
}

async function state(collect: boolean): Promise<GatewayState> {
  const workers = await server.shared.askWorkers('state', collect)
  const sum = await ofThread(collect)
  for (const { answer } of workers) {
    for (const [name, count] of Object.entries(answer as typeof sum)) sum[name as keyof typeof sum] += count
  }
  return {
    ...sum,
    pid: process.pid,
    rssBytes: process.memoryUsage.rss(),
    descriptors: descriptors(),
    connections: http.counters.openCount,
    collected: collect,
  }
}

function descriptors(): number | undefined {
  try {
    return readdirSync('/proc/self/fd').length
  } catch {
    return undefined
  }
}

const admin = new ListeningService(
  'admin',
  serveHttp(async (session) => {
    const body = JSON.stringify(await state(session.request.path === '/collected'))
    session.respond(200, { headers: { 'Content-Type': 'application/json' }, body })
  }),
)
admin.addTcp(at(0))
for (const service of [http, tcp, udp, admin]) server.addService(service)
server.shared.answer('state', (collect) => ofThread(collect === true))

server.onPhase((phase) => {
  if (phase !== 'running' || server.thread !== 0) return
  const [cleartext, tls] = http.endpoints()
  const ports: GatewayPorts = {
    http: portOf(cleartext),
    https: portOf(tls),
    tcp: portOf(tcp.endpoints()[0]),
    udp: portOf(udp.endpoints()[0]),
    admin: portOf(admin.endpoints()[0]),
  }
  process.stdout.write(`${JSON.stringify(ports)}\n`)
})
await server.runForever()

function portOf(address: { readonly kind: string; readonly port?: number } | undefined): number {
  return address?.port ?? 0
}
