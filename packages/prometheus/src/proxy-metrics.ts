import type { HttpPeer } from '@cirque/core'
import type { ProxyError } from '@cirque/error'
import type { Attempt, ProxyObserver, Session } from '@cirque/proxy'
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import { integer, rejectUnknown } from './check.ts'
import { CountTable } from './count-table.ts'
import { BoundedNames, classLabel, codeLabel, methodLabel, statusLabel } from './labels.ts'
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
  readonly #requests: CountTable
  readonly #errors: CountTable
  readonly #attempts: CountTable
  readonly #duration: Histogram<'code'>
  readonly #responseTime: Histogram<'upstream'>
  readonly #upstreams: BoundedNames
  readonly #upstreamLabel: (peer: HttpPeer) => string
  readonly #services: ServiceMetrics
  readonly #balancers: BalancerMetrics
  #active = 0
  #retries = 0
  #requestBytes = 0
  #responseBytes = 0

  constructor(options: ProxyMetricsOptions = {}) {
    rejectUnknown(options, OPTION_NAMES, 'the metrics')
    const { registry = new Registry(), prefix = 'cirque_' } = options
    if (typeof prefix !== 'string' || !/^([a-zA-Z_][a-zA-Z0-9_]*)?$/.test(prefix)) {
      throw new TypeError(`prefix must be letters, digits and underscores, received "${String(prefix)}"`)
    }
    const buckets = checkBuckets(options.durationBucketsSeconds ?? DURATION_BUCKETS_DEFAULT)
    const upstreamsMax = integer('upstreamsMax', options.upstreamsMax ?? 100, 1, 10_000)
    this.registry = registry
    this.#upstreams = new BoundedNames(upstreamsMax)
    this.#upstreamLabel = options.upstreamLabel ?? addressOf
    this.#requests = new CountTable(registry, `${prefix}http_requests_total`, 'Requests that have ended', [
      'method',
      'code',
    ])
    this.#errors = new CountTable(registry, `${prefix}http_request_errors_total`, 'Requests that failed', [
      'source',
      'error',
    ])
    this.#attempts = new CountTable(
      registry,
      `${prefix}upstream_attempts_total`,
      'Attempts at upstreams, by class of status or by error',
      ['upstream', 'outcome'],
    )
    const registers = [registry]
    this.#duration = new Histogram({
      name: `${prefix}http_request_duration_seconds`,
      help: 'From the head of a request to the end of its response',
      labelNames: ['code'],
      buckets,
      registers,
    })
    this.#responseTime = new Histogram({
      name: `${prefix}upstream_response_seconds`,
      help: 'From the start of an attempt to the head of its response',
      labelNames: ['upstream'],
      buckets,
      registers,
    })
    const active = () => this.#active
    new Gauge({
      name: `${prefix}http_requests_active`,
      help: 'Requests under way',
      registers,
      collect() {
        this.set(active())
      },
    })
    this.#total(`${prefix}http_retries_total`, 'Attempts beyond the first', () => this.#retries)
    this.#total(`${prefix}http_request_body_bytes_total`, 'Bytes of request bodies', () => this.#requestBytes)
    this.#total(
      `${prefix}http_response_body_bytes_total`,
      'Bytes of response bodies',
      () => this.#responseBytes,
    )
    this.#services = new ServiceMetrics(registry, prefix)
    this.#balancers = new BalancerMetrics(registry, prefix, upstreamsMax)
  }

  #total(name: string, help: string, read: () => number): void {
    new Counter({
      name,
      help,
      registers: [this.registry],
      collect() {
        this.reset()
        this.inc(read())
      },
    })
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
    this.#active++
  }

  onAttemptEnd(session: Session, attempt: Attempt): void {
    const { peer, error, status, startedAt, respondedAt } = attempt
    if (attempt !== session.record.attempts[0]) this.#retries++
    const upstream = peer === undefined ? 'none' : this.#upstreams.label(this.#upstreamLabel(peer))
    this.#attempts.increment(upstream, error === undefined ? classLabel(status) : codeLabel(error.code))
    if (respondedAt > 0) this.#responseTime.observe({ upstream }, (respondedAt - startedAt) / 1000)
  }

  onRequestEnd(session: Session, error: ProxyError | undefined): void {
    const { record, downstream } = session
    const status = downstream.responseStatus
    this.#active--
    this.#requests.increment(methodLabel(session.request.method), statusLabel(status))
    if (error !== undefined) this.#errors.increment(error.source, codeLabel(error.code))
    this.#requestBytes += downstream.requestBodyBytes
    this.#responseBytes += downstream.responseBodyBytes
    if (record.endedAt > 0) {
      this.#duration.observe({ code: classLabel(status) }, (record.endedAt - record.startedAt) / 1000)
    }
  }
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
