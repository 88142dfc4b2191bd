import type { SharedState } from '@cirque/core'
import { Counter, Gauge, type Registry } from 'prom-client'

/** A number that somebody keeps anyway, read when Prometheus asks. */
export interface Reading {
  readonly metric: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

/** How the numbers of several threads become one. */
type Merge = 'sum' | 'main' | 'min' | 'max'

interface Kind {
  readonly help: string
  readonly labels: readonly string[]
  readonly merge: Merge
}

const service = ['service']
const backend = ['balancer', 'backend']

/** Everything that is read at a scrape. Names that end in `_total` are counters. */
const KINDS: Readonly<Record<string, Kind>> = {
  downstream_connections: { help: 'Open connections of clients', labels: service, merge: 'main' },
  downstream_connections_total: {
    help: 'Connections of clients that were accepted',
    labels: service,
    merge: 'main',
  },
  downstream_connections_refused_total: {
    help: 'Connections refused by a limit or a filter',
    labels: service,
    merge: 'main',
  },
  downstream_accept_errors_total: {
    help: 'Connections that could not be accepted',
    labels: service,
    merge: 'main',
  },
  downstream_proxy_headers_failed_total: {
    help: 'Connections whose PROXY header was missing, malformed or late',
    labels: service,
    merge: 'main',
  },
  downstream_tls_handshakes_failed_total: {
    help: 'TLS handshakes with clients that failed',
    labels: service,
    merge: 'main',
  },
  downstream_tls_handshakes_total: {
    help: 'TLS handshakes with clients that were completed',
    labels: ['service', 'version'],
    merge: 'sum',
  },
  downstream_tls_resumed_total: {
    help: 'TLS handshakes with clients that resumed a session',
    labels: service,
    merge: 'sum',
  },
  http_refused_heads_total: {
    help: 'Request heads that were refused before they became requests',
    labels: ['service', 'code'],
    merge: 'sum',
  },
  http2_connections_total: { help: 'HTTP/2 connections of clients', labels: service, merge: 'sum' },
  http2_requests_total: { help: 'Requests over HTTP/2', labels: service, merge: 'sum' },
  http2_resets_total: {
    help: 'HTTP/2 streams that were reset before their response was whole',
    labels: service,
    merge: 'sum',
  },
  http2_goaways_total: { help: 'HTTP/2 connections that were told to end', labels: service, merge: 'sum' },
  http2_floods_total: {
    help: 'HTTP/2 connections that were cut for flooding',
    labels: service,
    merge: 'sum',
  },
  upstream_connections: { help: 'Open connections to upstreams', labels: service, merge: 'sum' },
  upstream_connections_idle: { help: 'Connections to upstreams in the pool', labels: service, merge: 'sum' },
  upstream_connections_opened_total: {
    help: 'Connections to upstreams that were made',
    labels: service,
    merge: 'sum',
  },
  upstream_connections_reused_total: {
    help: 'Times that a connection was taken from the pool',
    labels: service,
    merge: 'sum',
  },
  upstream_connections_failed_total: {
    help: 'Connections to upstreams that could not be made',
    labels: service,
    merge: 'sum',
  },
  upstream_connections_evicted_total: {
    help: 'Idle connections that the pool has closed',
    labels: ['service', 'reason'],
    merge: 'sum',
  },
  upstream_unexpected_data_total: {
    help: 'Idle connections that were closed because their upstream sent something',
    labels: service,
    merge: 'sum',
  },
  invariants_broken_total: {
    help: 'States of connections that changed as they never may: defects to report',
    labels: ['service', 'side'],
    merge: 'sum',
  },
  backend_healthy: { help: '1 while the health check says so', labels: backend, merge: 'main' },
  backend_eligible: {
    help: '1 while the backend may be chosen, in every thread',
    labels: backend,
    merge: 'min',
  },
  backend_ejected: { help: '1 while the backend is ejected, in some thread', labels: backend, merge: 'max' },
  backend_in_flight: { help: 'Requests at the backend', labels: backend, merge: 'sum' },
  balancer_waiting: { help: 'Requests that wait for a backend', labels: ['balancer'], merge: 'sum' },
  balancer_events_total: {
    help: 'What has happened to backends: ejections, changes of health, breakers, updates',
    labels: ['balancer', 'event'],
    merge: 'sum',
  },
  thread_busy_seconds_total: {
    help: 'How long the event loop of a thread was at work; its rate is the share of a processor',
    labels: ['thread'],
    merge: 'sum',
  },
  limit_active: { help: 'How many hold a limit', labels: ['limit'], merge: 'max' },
  limit_waiting: { help: 'How many wait for a limit', labels: ['limit'], merge: 'sum' },
  limit_decisions_total: {
    help: 'Requests that a limit let pass or refused',
    labels: ['limit', 'allowed'],
    merge: 'sum',
  },
}

/** What one thread answers: who it is, and its readings. */
interface Answer {
  readonly incarnation: string
  readonly readings: readonly Reading[]
}

/** How long a scrape waits for threads that hang. */
const ANSWER_TIMEOUT_MS = 1_000

/** The readings of all threads, as metrics of a registry. */
export class Readings {
  readonly #read: () => Reading[]
  readonly #shared: SharedState | undefined
  readonly #topic: string
  readonly #incarnation: string = crypto.randomUUID()
  /** The last answer of each worker. Those that are gone have counted all the same. */
  readonly #answers: Map<number, Answer> = new Map()
  /** Counters of workers that were replaced, by metric and labels. */
  readonly #retired: Map<string, Reading> = new Map()
  #merging: Promise<ReadonlyMap<string, readonly Reading[]>> | undefined

  constructor(registry: Registry, prefix: string, read: () => Reading[], shared: SharedState | undefined) {
    this.#read = read
    this.#shared = shared
    this.#topic = `metrics ${prefix}`
    if (shared !== undefined) shared.answer(this.#topic, () => this.#answer())
    for (const [name, { help, labels }] of Object.entries(KINDS)) {
      const options = { name: prefix + name, help, labelNames: [...labels], registers: [registry] }
      const all = () => this.#all(name)
      if (name.endsWith('_total')) {
        new Counter({
          ...options,
          async collect() {
            const readings = await all()
            this.reset()
            for (const { labels, value } of readings) this.inc(labels, value)
          },
        })
      } else {
        new Gauge({
          ...options,
          async collect() {
            const readings = await all()
            this.reset() // backends come and go
            for (const { labels, value } of readings) this.set(labels, value)
          },
        })
      }
    }
  }

  #answer(): Answer {
    return { incarnation: this.#incarnation, readings: this.#read() }
  }

  /** All metrics of one scrape are asked for at once, and read once. */
  async #all(name: string): Promise<readonly Reading[]> {
    this.#merging ??= this.#merge().finally(() => {
      this.#merging = undefined
    })
    return (await this.#merging).get(name) ?? []
  }

  async #merge(): Promise<ReadonlyMap<string, readonly Reading[]>> {
    const merged = new Map<string, Reading>()
    const own = this.#read()
    for (const reading of own) merged.set(keyOf(reading), reading)
    if (this.#shared?.thread === 0) await this.#addWorkers(merged, this.#shared)
    const byMetric = new Map<string, Reading[]>()
    for (const reading of merged.values()) {
      const readings = byMetric.get(reading.metric) ?? []
      readings.push(reading)
      byMetric.set(reading.metric, readings)
    }
    return byMetric
  }

  async #addWorkers(merged: Map<string, Reading>, shared: SharedState): Promise<void> {
    const answers = await shared.askWorkers(this.#topic, undefined, { timeoutMs: ANSWER_TIMEOUT_MS })
    const present = new Set<number>()
    for (const { thread, answer } of answers) {
      present.add(thread)
      const before = this.#answers.get(thread)
      const now = answer as Answer
      if (before !== undefined && before.incarnation !== now.incarnation) this.#retire(before)
      this.#answers.set(thread, now)
    }
    for (const [thread, { readings }] of this.#answers) {
      for (const reading of readings) {
        if (present.has(thread) || isCounter(reading)) add(merged, reading)
      }
    }
    for (const reading of this.#retired.values()) add(merged, reading)
  }

  #retire({ readings }: Answer): void {
    for (const reading of readings) if (isCounter(reading)) add(this.#retired, reading)
  }
}

function isCounter({ metric }: Reading): boolean {
  return metric.endsWith('_total')
}

function keyOf({ metric, labels }: Reading): string {
  return JSON.stringify([metric, ...Object.values(labels)])
}

function add(totals: Map<string, Reading>, reading: Reading): void {
  const merge = KINDS[reading.metric]?.merge
  if (merge === undefined || merge === 'main') return
  const key = keyOf(reading)
  const so = totals.get(key)
  if (so === undefined) totals.set(key, reading)
  else totals.set(key, { ...so, value: merged(merge, so.value, reading.value) })
}

function merged(merge: 'sum' | 'min' | 'max', a: number, b: number): number {
  if (merge === 'sum') return a + b
  return merge === 'min' ? Math.min(a, b) : Math.max(a, b)
}
