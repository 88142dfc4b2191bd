import type { LogLevel } from '../logger.ts'

/**
 * The server's settings, complete and frozen. Names are the file's keys in camelCase.
 *
 * Made by `parseConfiguration`, `loadConfiguration` or `createConfiguration`, all of which check every value.
 */
export interface ServerConfiguration {
  /** Format of the configuration; only 1 exists. */
  readonly version: 1
  /**
   * Threads that serve connections: 1 is the main thread; more are that many workers, 256 at most, and `'auto'` is one
   * per processor. A service may have a number of its own. Default 1.
   */
  readonly threads: number | 'auto'
  /** A worker whose event loop has not turned for so long is reported, in seconds. Default 5; 0 watches nobody. */
  readonly threadWatchdogSeconds: number
  /** Whether such a worker is ended and replaced. Its connections are cut. Default false. */
  readonly threadWatchdogReplaces: boolean
  /** Old-generation heap of each worker, in MiB; one that needs more dies and is replaced. Default: the runtime's. */
  readonly threadHeapMegabytes: number | undefined
  /** Run in the background, detached from the terminal. Default false. */
  readonly daemon: boolean
  /** How long a daemon may take to get ready, in seconds. Default 600. */
  readonly daemonReadyTimeoutSeconds: number
  /** File that the server's own log is appended to. Default `undefined`: stderr. */
  readonly errorLog: string | undefined
  /** What of the server's own log is written. Default `'info'`. */
  readonly errorLogLevel: LogLevel
  /** File that holds the process id while the server runs. Default `undefined`: none. */
  readonly pidFile: string | undefined
  /** User to become once all services are ready; needs root, and `group`. Default `undefined`: stay. */
  readonly user: string | undefined
  /** Group to become once all services are ready; needs root. Default `undefined`: stay. */
  readonly group: string | undefined
  /** Directory to change to at start. Default `undefined`: stay. */
  readonly workingDirectory: string | undefined
  /** How long running work may take after a graceful shutdown began, in seconds. Default 300. */
  readonly gracePeriodSeconds: number
  /** How long cleanups may take after that, in seconds. Default 5. */
  readonly gracefulShutdownTimeoutSeconds: number
  /**
   * Unix socket over which a successor takes over (`--upgrade`), mode 0600; put it where only the service's user may
   * write. Default `undefined`: no graceful upgrade, and SIGQUIT only drains.
   */
  readonly upgradeSock: string | undefined
  /** Whether handing over takes SIGQUIT as well as `--upgrade`, in either order within 30 s. Default true. */
  readonly upgradeWaitsForSignal: boolean
  /** How long a successor may take until it serves, in seconds; then this server serves on. Default 60. */
  readonly upgradeReadyTimeoutSeconds: number
  /** How long idle clients of a server that has handed over may ask once more, in seconds. Default 5. */
  readonly upgradeCloseTimeoutSeconds: number
  /** Open connections of each listening service whose options do not say. Default 20,000. */
  readonly connectionsMax: number
  /** The same per client: an IPv4 address or an IPv6 /64. Default 0, no cap. */
  readonly connectionsPerIpMax: number
  /** Connections the kernel queues for each listener whose options do not say. Default 65,535. */
  readonly listenerBacklog: number
  /** `SO_REUSEPORT` for each TCP listener whose options do not say. Default false. */
  readonly listenerReusePort: boolean
  /**
   * Idle time before the first TCP keep-alive probe to clients, in seconds, for each TCP listener whose options do not
   * say. Default 0: no probes.
   */
  readonly listenerKeepAliveSeconds: number
  /** `http2` of each HTTP proxy's `server` options. Default true. */
  readonly http2: boolean
  /** `h2c` of those. Default false. */
  readonly h2c: boolean
  /** `http2StreamsMax` of those. Default 100. */
  readonly http2StreamsMax: number
  /** `headTimeoutMs` of those, in seconds. Default 15. */
  readonly httpHeadTimeoutSeconds: number
  /** `bodyTimeoutMs` of those, in seconds. Default 60. */
  readonly httpBodyTimeoutSeconds: number
  /** `requestTimeoutMs` of those, in seconds. Default 3,600. */
  readonly httpRequestTimeoutSeconds: number
  /** `writeTimeoutMs` of those, in seconds. Default 60. */
  readonly httpWriteTimeoutSeconds: number
  /** `idleTimeoutMs` of those, in seconds. Default 60. */
  readonly httpIdleTimeoutSeconds: number
  /** `requestsPerConnectionMax` of those. Default 10,000. */
  readonly httpRequestsPerConnectionMax: number
  /** `headBytesMax` of those. Default 65,536. */
  readonly httpHeadBytesMax: number
  /** `requestBodyBytesMax` of those. Default 0, no limit. */
  readonly httpRequestBodyBytesMax: number
  /** `serverName` of those; `''` leaves the field out. Default `'Cirque'`. */
  readonly httpServerName: string
  /** PEM file with the certificate authorities for upstream TLS. Default `undefined`: the runtime's own. */
  readonly caFile: string | undefined
  /** IPv4 source addresses for upstream connections; one is picked at random. Default none. */
  readonly clientBindToIpv4: readonly string[]
  /** IPv6 source addresses for upstream connections; one is picked at random. Default none. */
  readonly clientBindToIpv6: readonly string[]
  /** Idle upstream connections kept, in total. Default 1,024; 0 keeps none. */
  readonly upstreamKeepalivePoolSize: number
  /** Idle upstream connections kept per peer. Default: `upstreamKeepalivePoolSize`. */
  readonly upstreamKeepalivePoolSizePerPeer: number | undefined
  /** Age after which an upstream connection is not used again, in seconds. Default 3,600; 0 for no limit. */
  readonly upstreamConnectionAgeMaxSeconds: number
  /** Requests on one upstream connection. Default 0, no limit. */
  readonly upstreamRequestsPerConnectionMax: number
  /** Write upstream TLS secrets to the file that `SSLKEYLOGFILE` names. Default false. */
  readonly upstreamDebugSslKeylog: boolean
  /** Most attempts per request, the first included. Default 16. */
  readonly maxRetries: number
  /** Largest request body that is kept to be sent again, in bytes. Default 65,536; 0 keeps none. */
  readonly retryBufferBytesMax: number
  /** How long a filter of a proxy may take, in seconds. Default 60; 0 waits for ever. */
  readonly filterTimeoutSeconds: number
  /** Your own section of the file, unchecked. Default `undefined`. */
  readonly app: unknown
}

/** A configuration in code: any of the settings; the rest gets its default. */
export type ConfigurationInput = {
  readonly [K in keyof ServerConfiguration]?: ServerConfiguration[K] | undefined
}
