import type { ConnectionCounters, ConnectorStats, HttpServerStats, TlsStats } from '@cirque/core'
import { BoundedNames } from './bounded-names.ts'
import type { Reading } from './readings.ts'

/** What of an `HttpProxyService` is read at each scrape. */
export interface WatchedService {
  readonly name: string
  readonly counters: ConnectionCounters
  tlsStats(): TlsStats
  readonly proxy: {
    readonly connector: { stats(): ConnectorStats }
    readonly serverApp: { stats(): HttpServerStats }
  }
}

/** What of a `LoadBalancer` is read at each scrape, and listened to. */
export interface WatchedBalancer {
  summary(): {
    readonly name: string
    readonly waitingCount: number
    readonly backends: readonly {
      readonly address: string
      readonly healthy: boolean
      readonly eligible: boolean
      readonly ejected?: boolean
      readonly inFlight: number
    }[]
  }
  subscribe?(listener: (event: { readonly type: string }) => void): unknown
}

/** What of a `ConcurrencyLimit` is read at each scrape. */
export interface WatchedLimit {
  /** How many hold it. */
  readonly active: number
  /** How many wait for it. */
  readonly queued: number
}

/** The numbers of a service that others keep: nothing is done between scrapes. */
export function readService(service: WatchedService): Reading[] {
  const { name, counters, proxy } = service
  const readings: Reading[] = []
  const add = (metric: string, value: number, labels?: Readonly<Record<string, string>>) => {
    readings.push({ metric, labels: { service: name, ...labels }, value })
  }
  add('downstream_connections', counters.openCount)
  add('downstream_connections_total', counters.acceptedCount)
  add('downstream_connections_refused_total', counters.refusedCount)
  add('downstream_accept_errors_total', counters.acceptErrorCount)
  add('downstream_proxy_headers_failed_total', counters.proxyHeaderFailedCount)
  add('downstream_tls_handshakes_failed_total', counters.handshakeFailedCount)
  const { versions, resumedCount } = service.tlsStats()
  for (const [version, count] of Object.entries(versions)) {
    add('downstream_tls_handshakes_total', count, { version })
  }
  add('downstream_tls_resumed_total', resumedCount)
  const { refusedHeads, http2, broken } = proxy.serverApp.stats()
  for (const [code, count] of Object.entries(refusedHeads)) add('http_refused_heads_total', count, { code })
  add('http2_connections_total', http2.connections)
  add('http2_requests_total', http2.requests)
  add('http2_resets_total', http2.resets)
  add('http2_goaways_total', http2.goAways)
  add('http2_floods_total', http2.floods)
  const pool = proxy.connector.stats()
  add('upstream_connections', pool.open)
  add('upstream_connections_idle', pool.idle)
  add('upstream_connections_opened_total', pool.opened)
  add('upstream_connections_reused_total', pool.reused)
  add('upstream_connections_failed_total', pool.failed)
  add('upstream_unexpected_data_total', pool.unexpectedData)
  add('invariants_broken_total', broken, { side: 'downstream' })
  add('invariants_broken_total', pool.broken, { side: 'upstream' })
  for (const [reason, count] of Object.entries(pool.evictions)) {
    add('upstream_connections_evicted_total', count, { reason })
  }
  return readings
}

/** The backends of balancers, and what has happened to them. */
export class BalancerReader {
  readonly #backendsMax: number
  readonly #events: Map<WatchedBalancer, Map<string, number>> = new Map()

  constructor(backendsMax: number) {
    this.#backendsMax = backendsMax
  }

  add(balancer: WatchedBalancer): void {
    if (this.#events.has(balancer)) return
    const counts = new Map<string, number>()
    this.#events.set(balancer, counts)
    const kinds = new BoundedNames(EVENTS_MAX)
    balancer.subscribe?.(({ type }) => {
      const kind = kinds.label(type)
      counts.set(kind, (counts.get(kind) ?? 0) + 1)
    })
  }

  read(): Reading[] {
    const readings: Reading[] = []
    for (const [watched, events] of this.#events) {
      const { name: balancer, waitingCount, backends } = watched.summary()
      readings.push({ metric: 'balancer_waiting', labels: { balancer }, value: waitingCount })
      for (const [event, value] of events) {
        readings.push({ metric: 'balancer_events_total', labels: { balancer, event }, value })
      }
      for (const { address, healthy, eligible, ejected, inFlight } of backends.slice(0, this.#backendsMax)) {
        const labels = { balancer, backend: address }
        readings.push({ metric: 'backend_healthy', labels, value: Number(healthy) })
        readings.push({ metric: 'backend_eligible', labels, value: Number(eligible) })
        readings.push({ metric: 'backend_ejected', labels, value: Number(ejected === true) })
        readings.push({ metric: 'backend_in_flight', labels, value: inFlight })
      }
    }
    return readings
  }
}

/** Kinds of events, of which balancers have ten. */
const EVENTS_MAX = 32
