import { inspect } from 'node:util'
import { type Address, parseAddress } from '../address.ts'
import type { ServerConfiguration } from '../configuration/server-configuration.ts'
import { integer, rejectUnknown } from '../option-checks.ts'
import {
  type ProxyProtocolOptions,
  type ProxyProtocolPlan,
  planProxyProtocol,
} from '../proxy-protocol/listener-option.ts'
import type { TlsListenerOptions } from '../tls/listener-options.ts'

/** Socket options of a listener. Those that need TCP are refused on a Unix socket. */
export interface ListenerSocketOptions {
  /** Connections the kernel queues until they are accepted; it applies its own cap (`somaxconn`). Default: the configuration's `listenerBacklog`, 65535. */
  readonly backlog?: number
  /** Bytes read ahead of the app per connection before reading stops. Default: Node's own, 64 KiB. */
  readonly readAheadBytes?: number
  /** Open connections of this listener; more are closed as they come. Default: only the service's cap holds. */
  readonly connectionsMax?: number
  /** How often binding is tried, one second apart, while the address is in use. Default 5; 1 tries once. */
  readonly bindAttemptsMax?: number
  /** Take PROXY protocol headers from a proxy in front, before TLS. Default: none, and one that comes is data. */
  readonly proxyProtocol?: ProxyProtocolOptions
}

/** Options of `addTcp`. */
export interface TcpListenerOptions extends ListenerSocketOptions {
  /** On an IPv6 address: leave IPv4 alone. Default false: `[::]` serves both. */
  readonly ipv6Only?: boolean
  /**
   * `SO_REUSEPORT`: several sockets may have the address, also of other processes of the same user, and the kernel
   * spreads connections over them. With worker threads each gets a socket of its own and accepts by itself. Where the
   * platform has no such option (macOS, Windows) the start fails. Default: the configuration's `listenerReusePort`, false.
   */
  readonly reusePort?: boolean
  /**
   * TCP keep-alive probes. Default: if the configuration's `listenerKeepAliveSeconds` is above 0, which it is not: idle
   * deadlines end dead connections sooner.
   */
  readonly keepAlive?: boolean
  /** Idle time before the first probe, in ms. Default 60000. Needs `keepAlive`. */
  readonly keepAliveInitialDelayMs?: number
  /** `TCP_NODELAY`: send small writes at once. Default true. */
  readonly noDelay?: boolean
}

/** Options of `addUnix`. */
export interface UnixListenerOptions extends ListenerSocketOptions {
  /** Permissions of the socket file; connecting takes write permission. Default 0o660. */
  readonly mode?: number
}

/** A listener in full, for `addListener`. */
export interface ListenerConfig {
  /** `host:port`, `[ipv6]:port` or `unix:/path`; port 0 takes any free port. */
  readonly address: string
  /** For TCP addresses only. */
  readonly tcp?: TcpListenerOptions
  /** For Unix sockets only. */
  readonly unix?: UnixListenerOptions
  /** Default: plain. */
  readonly tls?: TlsListenerOptions
}

/** A checked {@link ListenerConfig} with every default filled in. */
export interface ListenerPlan {
  readonly address: Address
  /** What was given, without any default. */
  readonly given: TcpListenerOptions & UnixListenerOptions
  readonly backlog: number
  readonly readAheadBytes: number | undefined
  readonly connectionsMax: number | undefined
  readonly bindAttemptsMax: number
  readonly ipv6Only: boolean
  readonly reusePort: boolean
  readonly keepAlive: boolean
  readonly keepAliveInitialDelayMs: number
  readonly noDelay: boolean
  readonly mode: number
  readonly proxyProtocol: ProxyProtocolPlan | undefined
  readonly tls: TlsListenerOptions | undefined
}

const TCP_KEYS: readonly string[] = [
  'backlog',
  'readAheadBytes',
  'bindAttemptsMax',
  'connectionsMax',
  'ipv6Only',
  'reusePort',
  'keepAlive',
  'keepAliveInitialDelayMs',
  'noDelay',
  'proxyProtocol',
]
const UNIX_KEYS: readonly string[] = [
  'backlog',
  'readAheadBytes',
  'bindAttemptsMax',
  'connectionsMax',
  'mode',
  'proxyProtocol',
]

/** Checks a listener's configuration. Throws TypeError or RangeError naming the value received. */
export function planListener(config: ListenerConfig): ListenerPlan {
  const address = parseAddress(config.address, { allowPortZero: true })
  if (address.kind === 'tcp' && config.unix !== undefined) {
    throw new TypeError(`The listener ${address.text} is TCP and takes no "unix" options`)
  }
  if (address.kind === 'unix' && config.tcp !== undefined) {
    throw new TypeError(`The listener ${address.text} is a Unix socket and takes no "tcp" options`)
  }
  const { tcp, unix } = config
  const options: TcpListenerOptions & UnixListenerOptions =
    tcp !== undefined ? tcp : unix !== undefined ? unix : {}
  rejectUnknown(options, address.kind === 'tcp' ? TCP_KEYS : UNIX_KEYS, address.text)
  if (options.keepAliveInitialDelayMs !== undefined && options.keepAlive !== true) {
    throw new TypeError('keepAliveInitialDelayMs has no effect without keepAlive: true')
  }
  return {
    address,
    given: options,
    backlog: integer('backlog', options.backlog ?? 65_535, 1, 2_147_483_647),
    readAheadBytes:
      options.readAheadBytes === undefined
        ? undefined
        : integer('readAheadBytes', options.readAheadBytes, 1024, 67_108_864),
    connectionsMax:
      options.connectionsMax === undefined
        ? undefined
        : integer('connectionsMax', options.connectionsMax, 1, 10_000_000),
    bindAttemptsMax: integer('bindAttemptsMax', options.bindAttemptsMax ?? 5, 1, 3600),
    ipv6Only: boolean('ipv6Only', options.ipv6Only ?? false),
    reusePort: boolean('reusePort', options.reusePort ?? false),
    keepAlive: boolean('keepAlive', options.keepAlive ?? false),
    keepAliveInitialDelayMs: integer(
      'keepAliveInitialDelayMs',
      options.keepAliveInitialDelayMs ?? 60_000,
      1000,
      32_767_000, // TCP_KEEPIDLE takes at most 32767 seconds, tcp(7)
    ),
    noDelay: boolean('noDelay', options.noDelay ?? true),
    mode: integer('mode', options.mode ?? 0o660, 0, 0o777),
    proxyProtocol:
      options.proxyProtocol === undefined
        ? undefined
        : planProxyProtocol(options.proxyProtocol, address.kind === 'unix'),
    tls: config.tls,
  }
}

/** The plan with what a configuration says where the listener's own options say nothing. */
export function completePlan(plan: ListenerPlan, configuration: ServerConfiguration): ListenerPlan {
  const { backlog, keepAlive, reusePort } = plan.given
  const isTcp = plan.address.kind === 'tcp'
  const probes = isTcp && keepAlive === undefined && configuration.listenerKeepAliveSeconds > 0
  return {
    ...plan,
    backlog: backlog ?? configuration.listenerBacklog,
    reusePort: isTcp && (reusePort ?? configuration.listenerReusePort),
    ...(probes
      ? { keepAlive: true, keepAliveInitialDelayMs: configuration.listenerKeepAliveSeconds * 1_000 }
      : {}),
  }
}

function boolean(name: string, value: boolean): boolean {
  if (typeof value === 'boolean') return value
  throw new TypeError(`Expected ${name} to be true or false, received ${inspect(value)}`)
}
