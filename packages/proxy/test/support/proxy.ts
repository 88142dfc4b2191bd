import {
  createConfiguration,
  type ListenerSocketOptions,
  type LogFields,
  type Logger,
  type TcpAddress,
  type TlsListenerOptions,
} from '@cirque/core'
import {
  type HttpProxy,
  type HttpProxyService,
  type HttpProxyServiceOptions,
  httpProxyService,
  type ProxyHttp,
} from '../../src/index.ts'
import { serviceContext, until } from './waiting.ts'

/** One entry of the proxy's log. */
export interface LogEntry {
  readonly level: 'debug' | 'info' | 'warn' | 'error'
  readonly message: string
  readonly fields: LogFields
}

/** A proxy on a port of its own. Disposal cuts every connection and fails if anything is left behind. */
export interface RunningProxy<Ctx> extends AsyncDisposable {
  readonly port: number
  readonly proxy: HttpProxy<Ctx>
  readonly service: HttpProxyService<Ctx>
  readonly log: readonly LogEntry[]
  /** The errors in the log, as text. */
  errors(): string[]
  /** Resolves once no exchange is under way. */
  idle(): Promise<void>
}

/** Starts a proxy on 127.0.0.1. Waits before retries are off unless a test asks for them. */
export async function startProxy<Ctx = undefined>(
  app: ProxyHttp<Ctx>,
  options: HttpProxyServiceOptions = {},
  tls?: TlsListenerOptions,
  listener: ListenerSocketOptions = {},
): Promise<RunningProxy<Ctx>> {
  const log: LogEntry[] = []
  const logger = collector(log)
  const service = httpProxyService(createConfiguration(), app, { retryBackoffMs: 0, logger, ...options })
  if (tls === undefined) service.addTcp('127.0.0.1:0', listener)
  else service.addTls('127.0.0.1:0', tls, listener)
  await service.start(serviceContext(logger))
  const { proxy } = service
  const { port } = service.endpoints()[0] as TcpAddress
  const idle = () => until(() => proxy.stats().active === 0, 'an exchange stays under way')
  return {
    port,
    proxy,
    service,
    log,
    errors: () =>
      log
        .map(({ fields }) => fields['error'])
        .filter((error) => error !== undefined)
        .map(String),
    idle,
    async [Symbol.asyncDispose]() {
      service.destroy()
      await idle()
      await until(() => proxy.connector.stats().open === 0, 'a connection to an upstream stays open')
      await until(() => proxy.serverApp.stats().connections === 0, 'a connection of a client stays open')
    },
  }
}

function collector(log: LogEntry[]): Logger {
  const at =
    (level: LogEntry['level']) =>
    (message: string, fields: LogFields = {}) => {
      log.push({ level, message, fields })
    }
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}
