import {
  type HttpServerApp,
  ListeningService,
  type ListeningServiceOptions,
  type Logger,
  type ServiceContext,
  type WorkerContext,
} from '@cirque/core'
import type { ProxyConfiguration } from './configured.ts'
import { HttpProxy, type HttpProxyOptions } from './http-proxy.ts'
import { requireOptions } from './option-checks.ts'
import type { ProxyHttp } from './proxy-http.ts'

/** A listening service around a proxy. */
export class HttpProxyService<Ctx = undefined> extends ListeningService<HttpServerApp> {
  readonly proxy: HttpProxy<Ctx>
  readonly #ownLogger: boolean

  constructor(name: string, proxy: HttpProxy<Ctx>, ownLogger: boolean, options?: ListeningServiceOptions) {
    super(name, proxy.serverApp, options)
    this.proxy = proxy
    this.#ownLogger = ownLogger
  }

  override start(context: ServiceContext): Promise<void> {
    this.#useLogger(context.logger)
    return super.start(context)
  }

  override startInWorker(context: WorkerContext): void | Promise<void> {
    this.#useLogger(context.logger)
    return super.startInWorker(context)
  }

  #useLogger(logger: Logger): void {
    if (!this.#ownLogger) this.proxy.logger = logger
    this.proxy.connector.logger = this.proxy.logger
  }

  override async drain(): Promise<void> {
    await super.drain()
    this.proxy.connector.close()
  }

  override destroy(): void {
    super.destroy()
    this.proxy.connector.close()
  }
}

/** {@link HttpProxyOptions} and those of the service around it. */
export interface HttpProxyServiceOptions extends HttpProxyOptions {
  /** Shown in logs. Default `'HTTP proxy'`. */
  readonly name?: string
  readonly listening?: ListeningServiceOptions
}

/**
 * A service that proxies HTTP as `app` says. Add listeners to it, and it to a server.
 *
 * @example
 * const proxy = httpProxyService(server.configuration, { upstreamPeer: () => new HttpPeer('127.0.0.1:9000') })
 * proxy.addTcp('127.0.0.1:8080')
 * server.addService(proxy)
 */
export function httpProxyService<Ctx = undefined>(
  configuration: ProxyConfiguration,
  app: ProxyHttp<Ctx>,
  options: HttpProxyServiceOptions = {},
): HttpProxyService<Ctx> {
  requireOptions(options, 'the proxy')
  const { name = 'HTTP proxy', listening, ...proxyOptions } = options
  const proxy = new HttpProxy<Ctx>(configuration, app, proxyOptions)
  return new HttpProxyService<Ctx>(name, proxy, options.logger !== undefined, listening)
}
