import { inspect } from 'node:util'
import type { HttpPeer, SharedState } from '@cirque/core'
import type { ProxyError } from '@cirque/error'
import type { Attempt, LimitDecision, ProxyObserver, Session } from '@cirque/proxy'
import { Registry } from 'prom-client'
import { BoundedNames } from './bounded-names.ts'
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
import { type Reading, Readings } from './readings.ts'
import { SlotHistogram, type SlotSource, slotMetric, tableCounter, upstreamCounter } from './slot-metrics.ts'
import {
  BalancerReader,
  readService,
  type WatchedBalancer,
  type WatchedLimit,
  type WatchedService,
} from './watched.ts'

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
  /**
   * How many upstreams have numbers of their own; later ones are `other`. Of a balancer so many backends are shown, and
   * no more. Default 100.
   */
  readonly upstreamsMax?: number
  /**
   * `server.shared`, for a server with worker threads: the metrics of the main thread are then those of all threads.
   * Default: those of one thread.
   */
  readonly shared?: SharedState
  /** How many workers there may be, with `shared`. Default 64; at most 1,024. */
  readonly threadsMax?: number
}

const OPTION_NAMES = [
  'registry',
  'prefix',
  'durationBucketsSeconds',
  'upstreamLabel',
  'upstreamsMax',
  'shared',
  'threadsMax',
]
/** Limits that have numbers of their own. */
const LIMITS_MAX = 100
/** Prefixes in use by state: two sets that count in the same memory would count twice. */
const prefixes: WeakMap<SharedState, Set<string>> = new WeakMap()

/**
 * Metrics of proxies for Prometheus: an observer for the option `observers`. One for several proxies adds them up.
 *
 * @throws {TypeError | RangeError} If an option is unknown or out of bounds.
 * @throws {Error} If the registry, or with `shared` the server, has a metric of one of the names already.
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
  readonly #thread: string
  readonly #services: Map<string, WatchedService> = new Map()
  readonly #balancers: BalancerReader
  readonly #limits: Map<string, WatchedLimit> = new Map()
  readonly #limitNames: BoundedNames = new BoundedNames(LIMITS_MAX)
  readonly #allowed: Map<string, number> = new Map()
  readonly #refused: Map<string, number> = new Map()

  constructor(options: ProxyMetricsOptions = {}) {
    rejectUnknown(options, OPTION_NAMES, 'the metrics')
    const { registry = new Registry(), prefix = 'cirque_' } = options
    if (typeof prefix !== 'string' || !/^([a-zA-Z_][a-zA-Z0-9_]*)?$/.test(prefix)) {
      throw new TypeError(`prefix must be letters, digits and underscores, received "${String(prefix)}"`)
    }
    if (typeof registry?.registerMetric !== 'function') {
      throw new TypeError(`registry must be a Registry of prom-client, received ${inspect(registry)}`)
    }
    const { upstreamLabel = addressOf } = options
    if (typeof upstreamLabel !== 'function') {
      throw new TypeError(`upstreamLabel must be a function, received ${inspect(upstreamLabel)}`)
    }
    const bounds = checkBuckets(options.durationBucketsSeconds ?? DURATION_BUCKETS_DEFAULT)
    const upstreamsMax = integer('upstreamsMax', options.upstreamsMax ?? 100, 1, 10_000)
    const layout = new CounterLayout(bounds.length, upstreamsMax)
    const memories = memoriesOf(layout, prefix, options)
    this.registry = registry
    this.#layout = layout
    this.#thread = String(options.shared?.thread ?? 0)
    this.#memory = memories[options.shared?.thread ?? 0] as CounterMemory
    this.#memory.resume()
    this.#boundsMs = Float64Array.from(bounds, (bound) => bound * 1000)
    this.#upstreamLabel = upstreamLabel
    registerRequestMetrics({ registry, layout, bounds, memories: () => memories }, prefix)
    this.#balancers = new BalancerReader(upstreamsMax)
    new Readings(registry, prefix, () => this.#read(), options.shared)
  }

  /**
   * Shows the connections of a proxy's service, on both sides, under its name.
   *
   * @throws {Error} If a service of that name is watched already.
   */
  watch(service: WatchedService): void {
    if (this.#services.has(service.name)) {
      throw new Error(`A service named "${service.name}" is watched already`)
    }
    this.#services.set(service.name, service)
  }

  /** Shows the health and load of a balancer's backends, and counts what happens to them. */
  watchBalancer(balancer: WatchedBalancer): void {
    this.#balancers.add(balancer)
  }

  /**
   * Shows how many hold and await a limit, such as a `ConcurrencyLimit`. Decisions that the program noted with
   * `session.noteLimit()` are counted anyway.
   *
   * @throws {Error} If a limit of that name is watched already.
   * @throws {RangeError} If 100 are.
   */
  watchLimit(name: string, limit: WatchedLimit): void {
    if (this.#limits.has(name)) throw new Error(`A limit named "${name}" is watched already`)
    if (this.#limits.size >= LIMITS_MAX) throw new RangeError(`At most ${LIMITS_MAX} limits are watched`)
    this.#limits.set(name, limit)
  }

  #read(): Reading[] {
    const readings = [...this.#services.values()].flatMap(readService)
    readings.push(...this.#balancers.read())
    const busySeconds = performance.eventLoopUtilization().active / 1000
    readings.push({
      metric: 'thread_busy_seconds_total',
      labels: { thread: this.#thread },
      value: busySeconds,
    })
    for (const [limit, { active, queued }] of this.#limits) {
      readings.push({ metric: 'limit_active', labels: { limit }, value: active })
      readings.push({ metric: 'limit_waiting', labels: { limit }, value: queued })
    }
    for (const [allowed, counts] of [
      ['true', this.#allowed],
      ['false', this.#refused],
    ] as const) {
      for (const [limit, value] of counts) {
        readings.push({ metric: 'limit_decisions_total', labels: { limit, allowed }, value })
      }
    }
    return readings
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
    if (record.limits.length > 0) this.#countLimits(record.limits)
    memory.add(REQUEST_BYTES, downstream.requestBodyBytes)
    memory.add(RESPONSE_BYTES, downstream.responseBodyBytes)
    if (record.endedAt > 0) {
      const at = layout.durations + classIndex(status) * layout.histogramSlots
      this.#observe(at, record.endedAt - record.startedAt)
    }
  }

  #countLimits(decisions: readonly LimitDecision[]): void {
    for (const { name, allowed } of decisions) {
      const counts = allowed ? this.#allowed : this.#refused
      const limit = this.#limitNames.label(name)
      counts.set(limit, (counts.get(limit) ?? 0) + 1)
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

/** The counters of each thread, the main one's first. Alone, those of this thread. */
function memoriesOf(layout: CounterLayout, prefix: string, options: ProxyMetricsOptions): CounterMemory[] {
  const { shared } = options
  const threadsMax = integer('threadsMax', options.threadsMax ?? 64, 1, 1_024)
  if (shared === undefined) return [new CounterMemory(layout)]
  if (typeof shared?.buffer !== 'function') {
    throw new TypeError(`shared must be server.shared, received ${inspect(shared)}`)
  }
  if (shared.thread > threadsMax) {
    throw new RangeError(`threadsMax is ${threadsMax}, and this is worker thread ${shared.thread}`)
  }
  const taken = prefixes.get(shared) ?? new Set()
  if (taken.has(prefix)) throw new Error(`The server has metrics with the prefix "${prefix}" already`)
  prefixes.set(shared, taken.add(prefix))
  return Array.from({ length: threadsMax + 1 }, (_, thread) => {
    // Memory that nobody has written to costs nothing.
    return new CounterMemory(layout, shared.buffer(`metrics ${prefix} ${thread}`, layout.byteLength))
  })
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
  if (!Array.isArray(buckets)) {
    throw new TypeError(`durationBucketsSeconds must be an array, received ${inspect(buckets)}`)
  }
  const isAscending = buckets.every(
    (bucket, index) => Number.isFinite(bucket) && bucket > (index === 0 ? 0 : (buckets[index - 1] as number)),
  )
  if (buckets.length === 0 || buckets.length > 100 || !isAscending) {
    throw new RangeError('durationBucketsSeconds must be 1 to 100 positive numbers in ascending order')
  }
  return [...buckets]
}
