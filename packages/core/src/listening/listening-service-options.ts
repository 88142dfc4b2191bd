import type { ThreadCount } from '../threads/thread-count.ts'

/** Options of a {@link ListeningService}. */
export interface ListeningServiceOptions {
  /**
   * Open connections over all listeners of the service, handshakes included; more are reset. Default: the
   * configuration's `connectionsMax`, 20000.
   */
  readonly connectionsMax?: number
  /**
   * Open connections per client (an IPv4 address or an IPv6 /64); more are reset. Default: the configuration's
   * `connectionsPerIpMax`, 0: no cap, since many clients can share one address. Unix sockets are exempt. Behind a
   * PROXY header the client in it counts.
   */
  readonly connectionsPerIpMax?: number
  /** How long an asynchronous connection filter may take, in ms. Default 5000. */
  readonly connectionFilterTimeoutMs?: number
  /**
   * Threads that serve the connections: 1 is the main thread, more are that many workers, and `'auto'` is one per
   * processor. Unix sockets are served in the main thread always. Default: `threads` of the server's configuration.
   */
  readonly threads?: ThreadCount
}

export const LISTENING_SERVICE_KEYS: readonly string[] = [
  'connectionsMax',
  'connectionsPerIpMax',
  'connectionFilterTimeoutMs',
  'threads',
]
