import type { DnsCacheOptions, PeerAddress } from '@cirque/core'
import type { ProxyError } from '@cirque/error'
import type { UdpSession } from './udp-session.ts'

/** What a UDP proxy does, written by you. Only `upstreamPeer` is required. */
export interface UdpProxy {
  /**
   * Whether to take the first datagram of a client. Called once per session, before anything is held for it; anything
   * but true or nothing, a promise too, and a throw drop the datagram. Its source address is easily forged.
   */
  clientFilter?(remoteAddress: string, remotePort: number): boolean

  /**
   * Where the client's datagrams go: `host:port`, or a balancer's backend. Called once per session. While a promise is
   * waited for, at most `pendingMax` datagrams are held. Undefined ends the session.
   */
  upstreamPeer(session: UdpSession): PeerAddress | Promise<PeerAddress>

  /**
   * Called exactly once per session, when it is over.
   *
   * @param error - Undefined when it fell silent or got all its responses.
   */
  logging?(session: UdpSession, error: ProxyError | undefined): void
}

/** Options of {@link udpProxyService}. */
export interface UdpProxyOptions {
  /** Shown in logs. Default `'UDP proxy'`. */
  readonly name?: string
  /** Sessions at once; each has a socket. Datagrams of further clients are dropped. 1 to 1,000,000, default 10,000. */
  readonly sessionsMax?: number
  /** How long a session may be silent in both directions, in ms, until it ends. Default 60,000. */
  readonly idleTimeoutMs?: number
  /**
   * The idle limit from the moment the service drains, in ms, if it is the shorter one. Default 5,000. A draining service
   * begins no sessions.
   */
  readonly drainIdleTimeoutMs?: number
  /**
   * A session ends when the upstream has sent so many datagrams for each of the client's: 1 suits DNS and frees the
   * socket at once. Default 0: only silence ends it.
   */
  readonly responsesPerDatagram?: number
  /** Datagrams held per session until its upstream socket is there. Default 16. */
  readonly pendingMax?: number
  /** What all sessions together may hold so, in bytes; what comes beyond it is dropped. Default 16 MiB. */
  readonly pendingBytesMax?: number
  /** Bytes that may wait to be sent per socket; what comes then is dropped. Default 1,048,576. */
  readonly sendQueueBytesMax?: number
  /** How names of peers are resolved. */
  readonly dns?: DnsCacheOptions
}

/** Options of `addUdp`. */
export interface UdpListenerOptions {
  /** On an IPv6 address: leave IPv4 alone. Default false. */
  readonly ipv6Only?: boolean
  /** `SO_REUSEPORT`: several processes may bind the address. Default false. */
  readonly reusePort?: boolean
  /** Bytes that the kernel holds until they are read. Default: the system's. */
  readonly receiveBufferBytes?: number
}

/** What a UDP proxy has done so far. A snapshot. */
export interface UdpProxyStats {
  readonly sessions: number
  readonly open: number
  /** First datagrams that began no session: of too many clients, filtered ones, or while draining. */
  readonly refused: number
  /** Sessions that ended with an error. */
  readonly failed: number
  /** Datagrams of sessions that were dropped: held too many, queued too much, not sendable. */
  readonly dropped: number
  readonly datagramsFromClients: number
  readonly datagramsFromUpstreams: number
  readonly bytesFromClients: number
  readonly bytesFromUpstreams: number
}
