/**
 * The server's settings, complete and frozen. Names are the file's keys in camelCase.
 *
 * Made by `parseConfiguration`, `loadConfiguration` or `createConfiguration`, all of which check every value.
 */
export interface ServerConfiguration {
  /** Format of the configuration; only 1 exists. */
  readonly version: 1
  /** Run in the background, detached from the terminal. Default false. */
  readonly daemon: boolean
  /** File that the server's own log is appended to. Default `undefined`: stderr. */
  readonly errorLog: string | undefined
  /** File that holds the process id while the server runs. Default `undefined`: none. */
  readonly pidFile: string | undefined
  /** User to become once all listeners are bound; needs root. Default `undefined`: stay. */
  readonly user: string | undefined
  /** Group to become once all listeners are bound; needs root. Default `undefined`: the user's own. */
  readonly group: string | undefined
  /** Directory to change to at start. Default `undefined`: stay. */
  readonly workingDirectory: string | undefined
  /** Threads that serve connections. Only 1 so far. */
  readonly threads: number
  /** PEM file with the certificate authorities for upstream TLS. Default `undefined`: the runtime's own. */
  readonly caFile: string | undefined
  /** How long running work may take after a graceful shutdown began, in seconds. Default 300. */
  readonly gracePeriodSeconds: number
  /** How long cleanups may take after that, in seconds. Default 5. */
  readonly gracefulShutdownTimeoutSeconds: number
  /** IPv4 source addresses for upstream connections; one is picked at random. Default none. */
  readonly clientBindToIpv4: readonly string[]
  /** IPv6 source addresses for upstream connections; one is picked at random. Default none. */
  readonly clientBindToIpv6: readonly string[]
  /** Idle upstream connections kept, in total. Default 128; 0 keeps none. */
  readonly upstreamKeepalivePoolSize: number
  /** Write upstream TLS secrets to the file that `SSLKEYLOGFILE` names. Default false. */
  readonly upstreamDebugSslKeylog: boolean
  /** Most attempts per request, the first included. Default 16. */
  readonly maxRetries: number
  /** How long a daemon may take to get ready, in seconds. Default 600. */
  readonly daemonReadyTimeoutSeconds: number
  /** Your own section of the file, untouched and unchecked. Default `undefined`. */
  readonly app: unknown
}
