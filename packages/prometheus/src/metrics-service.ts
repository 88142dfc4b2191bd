import { inspect } from 'node:util'
import { type HttpServerApp, type HttpSession, ListeningService, serveHttp } from '@cirque/core'
import { collectDefaultMetrics, type Registry } from 'prom-client'
import { rejectUnknown } from './check.ts'

/** Options of {@link metricsService}. */
export interface MetricsServiceOptions {
  /** Default `/metrics`. */
  readonly path?: string
  /** Adds the metrics of the process: CPU, memory, event loop, garbage collection. Default true. */
  readonly processMetrics?: boolean
  /** Shown in logs. Default `'metrics'`. */
  readonly name?: string
}

/**
 * A service that serves a registry to Prometheus. Add a listener to it, of its own: metrics are nobody else's business.
 *
 * @throws {TypeError} If an option is unknown or the path is none.
 */
export function metricsService(registry: Registry, options: MetricsServiceOptions = {}): MetricsService {
  return new MetricsService(registry, options)
}

/** See {@link metricsService}. */
export class MetricsService extends ListeningService<HttpServerApp> {
  readonly registry: Registry

  constructor(registry: Registry, options: MetricsServiceOptions = {}) {
    rejectUnknown(options, ['path', 'processMetrics', 'name'], 'the metrics service')
    const { path = '/metrics', processMetrics = true, name = 'metrics' } = options
    if (typeof registry?.metrics !== 'function') throw new TypeError('A metrics service needs a registry')
    if (typeof path !== 'string' || !/^\/[^\s?#]*$/.test(path)) {
      throw new TypeError(`path must be a path such as "/metrics", received "${String(path)}"`)
    }
    if (typeof processMetrics !== 'boolean') {
      throw new TypeError(`processMetrics must be true or false, received ${inspect(processMetrics)}`)
    }
    const scraper = new Scraper(registry, path)
    super(
      name,
      serveHttp((session) => scraper.serve(session)),
      { threads: 1 }, // the main thread's, which asks the others
    )
    this.registry = registry
    // A program that has them already, in this registry, is asked for nothing.
    if (processMetrics && registry.getSingleMetric('process_cpu_seconds_total') === undefined) {
      collectDefaultMetrics({ register: registry })
    }
  }

  /** Whoever scrapes must get through whatever the caps and sockets of the server's clients are. */
  override configure(): void {}
}

class Scraper {
  readonly #registry: Registry
  readonly #path: string
  #scraping: Promise<string> | undefined

  constructor(registry: Registry, path: string) {
    this.#registry = registry
    this.#path = path
  }

  async serve(session: HttpSession): Promise<void> {
    const { method, path } = session.request
    if (path !== this.#path) return session.respondError(404)
    if (method !== 'GET' && method !== 'HEAD')
      return session.respond(405, { headers: { Allow: 'GET, HEAD' } })
    // Those who ask at the same time share one answer: a collector may be slow, and they must not pile up.
    this.#scraping ??= this.#registry.metrics().finally(() => {
      this.#scraping = undefined
    })
    const body = await this.#scraping
    if (session.downstream.closed) return
    session.respond(200, {
      headers: { 'Content-Type': this.#registry.contentType, 'Cache-Control': 'no-store' },
      body,
    })
  }
}
