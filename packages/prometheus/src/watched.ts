import type { ConnectionCounters, ConnectorStats, HttpServerStats } from '@cirque/core'
import { Counter, Gauge, type Registry } from 'prom-client'

/** What of an `HttpProxyService` is read at each scrape. */
export interface WatchedService {
  readonly name: string
  readonly counters: ConnectionCounters
  readonly proxy: {
    readonly connector: { stats(): ConnectorStats }
    readonly serverApp: { stats(): HttpServerStats }
  }
}

/** What of a `LoadBalancer` is read at each scrape. */
export interface WatchedBalancer {
  summary(): {
    readonly name: string
    readonly waitingCount: number
    readonly backends: readonly {
      readonly address: string
      readonly healthy: boolean
      readonly eligible: boolean
      readonly inFlight: number
    }[]
  }
}

/** Metrics of services that others keep the numbers of: nothing is done between scrapes. */
export class ServiceMetrics {
  readonly #services: Set<WatchedService> = new Set()

  constructor(registry: Registry, prefix: string) {
    const read = (
      kind: 'counter' | 'gauge',
      name: string,
      help: string,
      value: (service: WatchedService) => number,
    ) => {
      const services = this.#services
      const options = { name: prefix + name, help, labelNames: ['service'], registers: [registry] }
      if (kind === 'gauge') {
        new Gauge({
          ...options,
          collect() {
            for (const service of services) this.set({ service: service.name }, value(service))
          },
        })
        return
      }
      new Counter({
        ...options,
        collect() {
          this.reset()
          for (const service of services) this.inc({ service: service.name }, value(service))
        },
      })
    }
    const stats = (service: WatchedService) => service.proxy.connector.stats()
    read(
      'gauge',
      'downstream_connections',
      'Open connections of clients',
      ({ counters }) => counters.openCount,
    )
    read(
      'counter',
      'downstream_connections_total',
      'Connections of clients that were accepted',
      ({ counters }) => counters.acceptedCount,
    )
    read(
      'counter',
      'downstream_connections_refused_total',
      'Connections refused by a limit or a filter',
      ({ counters }) => counters.refusedCount,
    )
    read(
      'counter',
      'downstream_tls_handshakes_failed_total',
      'TLS handshakes with clients that failed',
      ({ counters }) => counters.handshakeFailedCount,
    )
    read(
      'gauge',
      'upstream_connections_idle',
      'Connections to upstreams in the pool',
      (service) => stats(service).idle,
    )
    read('gauge', 'upstream_connections', 'Open connections to upstreams', (service) => stats(service).open)
    read(
      'counter',
      'upstream_connections_opened_total',
      'Connections to upstreams that were made',
      (service) => stats(service).opened,
    )
    read(
      'counter',
      'upstream_connections_reused_total',
      'Times that a connection was taken from the pool',
      (service) => stats(service).reused,
    )
    read(
      'counter',
      'upstream_connections_failed_total',
      'Connections to upstreams that could not be made',
      (service) => stats(service).failed,
    )
    const services = this.#services
    new Counter({
      name: `${prefix}http_refused_heads_total`,
      help: 'Request heads that were refused before they became requests',
      labelNames: ['service', 'code'],
      registers: [registry],
      collect() {
        this.reset()
        for (const service of services) {
          const { refusedHeads } = service.proxy.serverApp.stats()
          for (const [code, count] of Object.entries(refusedHeads)) {
            this.inc({ service: service.name, code }, count)
          }
        }
      },
    })
  }

  add(service: WatchedService): void {
    for (const { name } of this.#services) {
      if (name === service.name) throw new Error(`A service named "${name}" is watched already`)
    }
    this.#services.add(service)
  }
}

/** Metrics of load balancers. */
export class BalancerMetrics {
  readonly #balancers: Set<WatchedBalancer> = new Set()

  constructor(registry: Registry, prefix: string, backendsMax: number) {
    const read = (
      name: string,
      help: string,
      value: (backend: ReturnType<WatchedBalancer['summary']>['backends'][number]) => number,
    ) => {
      const balancers = this.#balancers
      new Gauge({
        name: prefix + name,
        help,
        labelNames: ['balancer', 'backend'],
        registers: [registry],
        collect() {
          this.reset() // backends come and go
          for (const balancer of balancers) {
            const summary = balancer.summary()
            for (const backend of summary.backends.slice(0, backendsMax)) {
              this.set({ balancer: summary.name, backend: backend.address }, value(backend))
            }
          }
        },
      })
    }
    read('backend_healthy', '1 while the health check says so', ({ healthy }) => (healthy ? 1 : 0))
    read('backend_eligible', '1 while the backend may be chosen', ({ eligible }) => (eligible ? 1 : 0))
    read('backend_in_flight', 'Requests at the backend', ({ inFlight }) => inFlight)
    const balancers = this.#balancers
    new Gauge({
      name: `${prefix}balancer_waiting`,
      help: 'Requests that wait for a backend',
      labelNames: ['balancer'],
      registers: [registry],
      collect() {
        for (const balancer of balancers) {
          const { name, waitingCount } = balancer.summary()
          this.set({ balancer: name }, waitingCount)
        }
      },
    })
  }

  add(balancer: WatchedBalancer): void {
    this.#balancers.add(balancer)
  }
}
