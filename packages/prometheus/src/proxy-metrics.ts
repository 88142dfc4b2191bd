import type { HttpPeer } from '@cirque/core'
import type { ProxyError } from '@cirque/error'
import type { Attempt, ProxyObserver, Session } from '@cirque/proxy'
import { Registry } from 'prom-client'
import { integer, rejectUnknown } from './check.ts'
import {
  ACTIVE,
  CounterLayout,
  CounterMemory,
  NO_UPSTREAM,
  REQUEST_BYTES,
  RESPONSE_BYTES,
  RETRIES,
} from './counter-memory.ts'
import {
  CLASSES,
  CODES,
  classIndex,
  codeIndex,
  METHODS,
  methodIndex,
  OUTCOMES,
  SOURCES,
  STATUSES,
  sourceIndex,
  statusIndex,
} from './labels.ts'
import { SlotHistogram, type SlotSource, slotMetric, tableCounter, upstreamCounter } from './slot-metrics.ts'
import { BalancerMetrics, ServiceMetrics, type WatchedBalancer, type WatchedService } from './watched.ts'

/** Upper bounds of the histograms' buckets, in seconds: from a hit in memory to a slow report. */
export const DURATION_BUCKETS_DEFAULT: readonly number[] = Object.freeze([
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
])

/** Options of {@link proxyMetrics}. */
export interface ProxyMetricsOptions {
  /** Where the metrics are registered. Default: a new one, to be had as `registry`. */
  readonly registry?: Registry
  /** In front of every name. Default `cirque_`. */
  readonly prefix?: string
  /** Upper bounds of buckets, in seconds, ascending; up to 100. Default {@link DURATION_BUCKETS_DEFAULT}. */
  readonly durationBucketsSeconds?: readonly number[]
  /** What upstreams are called. Default: their address. Group them where addresses change often. */
  readonly upstreamLabel?: (peer: HttpPeer) => string
  /** How many upstreams, and backends of a balancer, have numbers of their own; later ones are `other`. Default 100. */
  readonly upstreamsMax?: number
}

const OPTION_NAMES = ['registry', 'prefix', 'durationBucketsSeconds', 'upstreamLabel', 'upstreamsMax']

/**
 * Metrics of proxies for Prometheus: an observer for the option `observers`. One for several proxies adds them up.
 *
 * @throws {TypeError | RangeError} If an option is unknown or out of bounds.
 * @throws {Error} If the registry has a metric of one of the names already.
 * @example
 * const metrics = proxyMetrics()
 * const proxy = httpProxyService(server.configuration, app, { observers: [metrics] })
 * metrics.watch(proxy)
 * server.addService(metricsService(metrics.registry).addTcp('127.0.0.1:9100'))
 */
export function proxyMetrics(options: ProxyMetricsOptions = {}): ProxyMetrics {
  return new ProxyMetrics(options)
}

/** See {@link proxyMetrics}. */
export class ProxyMetrics implements ProxyObserver {
  readonly registry: Registry
  readonly #layout: CounterLayout
  readonly #memory: CounterMemory
  /** Upper bounds of buckets, in milliseconds, as the clock has it. */
  readonly #boundsMs: Float64Array
  readonly #upstreamLabel: (peer: HttpPeer) => string
  readonly #services: ServiceMetrics
  readonly #balancers: BalancerMetrics

  constructor(options: ProxyMetricsOptions = {}) {
    rejectUnknown(options, OPTION_NAMES, 'the metrics')
    const { registry = new Registry(), prefix = 'cirque_' } = options
    if (typeof prefix !== 'string' || !/^([a-zA-Z_][a-zA-Z0-9_]*)?$/.test(prefix)) {
      throw new TypeError(`prefix must be letters, digits and underscores, received "${String(prefix)}"`)
    }
    const bounds = checkBuckets(options.durationBucketsSeconds ?? DURATION_BUCKETS_DEFAULT)
    const upstreamsMax = integer('upstreamsMax', options.upstreamsMax ?? 100, 1, 10_000)
    const layout = new CounterLayout(bounds.length, upstreamsMax)
    const memory = new CounterMemory(layout)
    const memories = [memory]
    this.registry = registry
    this.#layout = layout
    this.#memory = memory
    this.#boundsMs = Float64Array.from(bounds, (bound) => bound * 1000)
    this.#upstreamLabel = options.upstreamLabel ?? addressOf
    registerRequestMetrics({ registry, layout, bounds, memories: () => memories }, prefix)
    this.#services = new ServiceMetrics(registry, prefix)
    this.#balancers = new BalancerMetrics(registry, prefix, upstreamsMax)
  }

  /**
   * Shows the connections of a proxy's service, on both sides, under its name.
   *
   * @throws {Error} If a service of that name is watched already.
   */
  watch(service: WatchedService): void {
    this.#services.add(service)
  }

  /** Shows the health and load of a balancer's backends. */
  watchBalancer(balancer: WatchedBalancer): void {
    this.#balancers.add(balancer)
  }

  // --- called by the proxy -----------------------------------------------------------------------

  onRequestStart(): void {
    this.#memory.add(ACTIVE, 1)
  }

  onAttemptEnd(session: Session, attempt: Attempt): void {
    const { peer, error, status, startedAt, respondedAt } = attempt
    const memory = this.#memory
    if (attempt !== session.record.attempts[0]) memory.add(RETRIES, 1)
    const row = peer === undefined ? NO_UPSTREAM : memory.upstreamRow(this.#upstreamLabel(peer))
    const outcome = error === undefined ? classIndex(status) : CLASSES.length + codeIndex(error.code)
    memory.add(this.#layout.upstream(row) + outcome, 1)
    if (respondedAt > 0) this.#observe(this.#layout.upstreamTimes(row), respondedAt - startedAt)
  }

  onRequestEnd(session: Session, error: ProxyError | undefined): void {
    const { record, downstream, request } = session
    const status = downstream.responseStatus
    const memory = this.#memory
    const layout = this.#layout
    memory.add(ACTIVE, -1)
    memory.add(layout.requests + methodIndex(request.method) * STATUSES.length + statusIndex(status), 1)
    if (error !== undefined) {
      memory.add(layout.errors + sourceIndex(error.source) * CODES.length + codeIndex(error.code), 1)
    }
    memory.add(REQUEST_BYTES, downstream.requestBodyBytes)
    memory.add(RESPONSE_BYTES, downstream.responseBodyBytes)
    if (record.endedAt > 0) {
      const at = layout.durations + classIndex(status) * layout.histogramSlots
      this.#observe(at, record.endedAt - record.startedAt)
    }
  }

  #observe(at: number, ms: number): void {
    const bounds = this.#boundsMs
    let bucket = 0
    while (bucket < bounds.length && ms > (bounds[bucket] as number)) bucket++
    this.#memory.add(at + bucket, 1)
    this.#memory.add(at + bounds.length + 1, ms / 1000)
  }
}

function registerRequestMetrics(source: SlotSource, prefix: string): void {
  const { layout } = source
  const requests = [
    ['method', METHODS],
    ['code', STATUSES],
  ] as const
  tableCounter(
    source,
    `${prefix}http_requests_total`,
    'Requests that have ended',
    layout.requests,
    ...requests,
  )
  const errors = [
    ['source', SOURCES],
    ['error', CODES],
  ] as const
  tableCounter(source, `${prefix}http_request_errors_total`, 'Requests that failed', layout.errors, ...errors)
  const attemptsHelp = 'Attempts at upstreams, by class of status or by error'
  upstreamCounter(source, `${prefix}upstream_attempts_total`, attemptsHelp, 'outcome', OUTCOMES)
  new SlotHistogram(
    source,
    `${prefix}http_request_duration_seconds`,
    'From the head of a request to the end of its response',
    'code',
    (_memory, show) => {
      CLASSES.forEach((name, index) => {
        show(name, layout.durations + index * layout.histogramSlots)
      })
    },
  )
  new SlotHistogram(
    source,
    `${prefix}upstream_response_seconds`,
    'From the start of an attempt to the head of its response',
    'upstream',
    (memory, show) => memory.forEachUpstream((name, row) => show(name, layout.upstreamTimes(row))),
  )
  slotMetric(source, 'gauge', `${prefix}http_requests_active`, 'Requests under way', ACTIVE)
  slotMetric(source, 'counter', `${prefix}http_retries_total`, 'Attempts beyond the first', RETRIES)
  slotMetric(
    source,
    'counter',
    `${prefix}http_request_body_bytes_total`,
    'Bytes of request bodies',
    REQUEST_BYTES,
  )
  slotMetric(
    source,
    'counter',
    `${prefix}http_response_body_bytes_total`,
    'Bytes of response bodies',
    RESPONSE_BYTES,
  )
}

function addressOf(peer: HttpPeer): string {
  return peer.address?.text ?? 'none'
}

function checkBuckets(buckets: readonly number[]): number[] {
  const isAscending = buckets.every(
    (bucket, index) => Number.isFinite(bucket) && bucket > (index === 0 ? 0 : (buckets[index - 1] as number)),
  )
  if (buckets.length === 0 || buckets.length > 100 || !isAscending) {
    throw new RangeError('durationBucketsSeconds must be 1 to 100 positive numbers in ascending order')
  }
  return [...buckets]
}
