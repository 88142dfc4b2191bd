import {
  type ConnectorOptions,
  type HttpServerConfiguration,
  type HttpServerOptions,
  httpServerOptions,
  type ServerConfiguration,
} from '@cirque/core'

/** What of a server's configuration a proxy reads. */
export type ProxyConfiguration = Pick<
  ServerConfiguration,
  | 'maxRetries'
  | 'caFile'
  | 'clientBindToIpv4'
  | 'clientBindToIpv6'
  | 'upstreamKeepalivePoolSize'
  | 'upstreamDebugSslKeylog'
> &
  HttpServerConfiguration &
  Partial<
    Pick<
      ServerConfiguration,
      | 'filterTimeoutSeconds'
      | 'retryBufferBytesMax'
      | 'upstreamConnectionAgeMaxSeconds'
      | 'upstreamKeepalivePoolSizePerPeer'
      | 'upstreamRequestsPerConnectionMax'
    >
  >

/** The connector's options: those in code go over the configuration's. */
export function connectorOptions(
  configuration: ProxyConfiguration,
  own: ConnectorOptions = {},
): ConnectorOptions {
  const { caFile, upstreamConnectionAgeMaxSeconds, upstreamKeepalivePoolSizePerPeer } = configuration
  const { upstreamRequestsPerConnectionMax } = configuration
  const configured: ConnectorOptions = {
    keepalivePoolSize: configuration.upstreamKeepalivePoolSize,
    bindToIpv4: configuration.clientBindToIpv4,
    bindToIpv6: configuration.clientBindToIpv6,
    debugSslKeylog: configuration.upstreamDebugSslKeylog,
    ...(caFile === undefined ? {} : { caFile }),
    ...(upstreamKeepalivePoolSizePerPeer === undefined
      ? {}
      : { keepalivePoolSizePerPeer: upstreamKeepalivePoolSizePerPeer }),
    ...(upstreamConnectionAgeMaxSeconds === undefined
      ? {}
      : { connectionAgeMaxMs: Math.round(upstreamConnectionAgeMaxSeconds * 1_000) }),
    ...(upstreamRequestsPerConnectionMax === undefined
      ? {}
      : { requestsPerConnectionMax: upstreamRequestsPerConnectionMax }),
  }
  return laidOver(configured, own)
}

/** The options towards clients: those in code go over the configuration's. */
export function serverOptions(
  configuration: ProxyConfiguration,
  own: HttpServerOptions = {},
): HttpServerOptions {
  return laidOver(httpServerOptions(configuration), own)
}

/** An option that is `undefined` was not given. */
function laidOver<T extends object>(base: T, own: T): T {
  return { ...base, ...Object.fromEntries(Object.entries(own).filter(([, value]) => value !== undefined)) }
}
