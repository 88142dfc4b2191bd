import { createHash } from 'node:crypto'
import type { Duplex } from 'node:stream'
import type { Dispatcher } from 'undici'
import { nameHint } from '../nearest-name.ts'
import { requireOptions } from '../option-checks.ts'
import type { ProxyHeader } from '../proxy-protocol/proxy-header.ts'
import { writeProxyHeader } from '../proxy-protocol/write-header.ts'
import type { OnHandshakeComplete } from '../tls/handshake-complete.ts'
import type { HttpPeer } from './peer.ts'
import { PEER_CHECKS } from './peer-checks.ts'

/** An HTTP proxy that opens the way to the peer with CONNECT (RFC 9110 §9.3.6). */
export interface NextHopProxy {
  /** Where the proxy listens: `host:port`, `[v6]:port` or `unix:/path`. */
  readonly address: string
  /** Fields added to the CONNECT request, such as `Proxy-Authorization`. */
  readonly headers?: Readonly<Record<string, string>>
}

/** Opens the transport to a peer itself; the stream must be connected when it is handed over. */
export type CustomConnect = (peer: HttpPeer, signal: AbortSignal) => Promise<Duplex>

/** How to connect to a peer and how long to wait for it. All times in milliseconds. */
export interface HttpPeerOptions {
  /** Speak TLS. Default false. */
  readonly tls?: boolean
  /** The server name to ask for and to verify. Default: the address's host when that is a name. */
  readonly sni?: string
  /** Verify the certificate chain. Default true; false must be spelled out. */
  readonly verifyCertificate?: boolean
  /** Verify that the certificate names the peer. Default true. */
  readonly verifyHostname?: boolean
  /** A name to accept in the certificate instead of `sni`. */
  readonly alternativeName?: string
  /** Trusted certificate authorities, PEM. Default: the connector's `caFile`, else Node's own list. */
  readonly ca?: string | Buffer | readonly (string | Buffer)[]
  /** The certificate chain shown to the peer, PEM; with `key`. */
  readonly cert?: string | Buffer
  /** The private key of `cert`, PEM. */
  readonly key?: string | Buffer
  /** Key exchange groups, most wanted first, as Node's `ecdhCurve`. */
  readonly curves?: string
  /**
   * Called for each new TLS connection to the peer whose handshake is complete. Connections are shared only between
   * peers of the same function, so keep one: a new closure per request would share none. Default: nothing.
   */
  readonly onHandshakeComplete?: OnHandshakeComplete
  /** For the transport (and CONNECT) to stand. Default 5,000. */
  readonly connectTimeoutMs?: number
  /** For the whole way, name resolution and TLS included. Default 10,000. */
  readonly totalConnectTimeoutMs?: number
  /** For the response's first byte and between two reads. Default 60,000. */
  readonly readTimeoutMs?: number
  /** How long a write may make no progress. Default 60,000. */
  readonly writeTimeoutMs?: number
  /** How long the connection may be pooled; 0 never pools it. Default 60,000. */
  readonly idleTimeoutMs?: number
  /** How long an upgraded connection may be silent in both directions. Default 3,600,000; 0 for no limit. */
  readonly tunnelIdleTimeoutMs?: number
  /**
   * The HTTP version to speak. `1`, the default: HTTP/1.1. `2`: HTTP/2 only, by ALPN over TLS, with prior knowledge
   * over cleartext. `'auto'`: whichever the peer chooses in the TLS handshake; over cleartext HTTP/1.1.
   */
  readonly httpVersion?: 1 | 2 | 'auto'
  /** Requests at once on one HTTP/2 connection, if the peer allows as many; more open another. Default 100. */
  readonly http2StreamsMax?: number
  /**
   * What a peer may send ahead of each HTTP/2 response's reader, in bytes, 16,384 to 2^31-1: a client that stalls
   * makes us hold so much. Default 1,048,576.
   */
  readonly http2WindowBytes?: number
  /** Ping HTTP/2 connections with requests under way this often; none for 5 s closes. Default 0, never. */
  readonly http2PingIntervalMs?: number
  /** The local IP address to connect from. */
  readonly localAddress?: string
  /** Send TCP keep-alive probes after this much silence; 0, the default, sends none. */
  readonly tcpKeepAliveMs?: number
  /** Separates pools: connections are shared only between peers of the same group. Default `''`. */
  readonly groupKey?: string
  /** Reach the peer through an HTTP proxy. */
  readonly proxy?: NextHopProxy
  /** Open the transport yourself. */
  readonly connect?: CustomConnect
  /**
   * Tell the peer who the client is: sent first on each connection, before TLS; see `proxyHeaderFor`. Such a connection
   * serves one request and is never shared with, or kept for, another.
   */
  readonly sendProxyProtocol?: ProxyHeader
  /** Let an undici dispatcher (Agent, ProxyAgent, MockAgent, …) carry the requests. */
  readonly dispatcher?: Dispatcher
}

const DEFAULTS = {
  tls: false,
  sni: undefined as string | undefined,
  verifyCertificate: true,
  verifyHostname: true,
  alternativeName: undefined as string | undefined,
  ca: undefined as HttpPeerOptions['ca'] | undefined,
  cert: undefined as string | Buffer | undefined,
  key: undefined as string | Buffer | undefined,
  curves: undefined as string | undefined,
  onHandshakeComplete: undefined as OnHandshakeComplete | undefined,
  connectTimeoutMs: 5_000,
  totalConnectTimeoutMs: 10_000,
  readTimeoutMs: 60_000,
  writeTimeoutMs: 60_000,
  idleTimeoutMs: 60_000,
  tunnelIdleTimeoutMs: 3_600_000,
  httpVersion: 1 as 1 | 2 | 'auto',
  http2StreamsMax: 100,
  http2WindowBytes: 1_048_576,
  http2PingIntervalMs: 0,
  localAddress: undefined as string | undefined,
  tcpKeepAliveMs: 0,
  groupKey: '',
  proxy: undefined as NextHopProxy | undefined,
  connect: undefined as CustomConnect | undefined,
  dispatcher: undefined as Dispatcher | undefined,
  sendProxyProtocol: undefined as ProxyHeader | undefined,
}

/** {@link HttpPeerOptions} with every default filled in. */
export type ResolvedPeerOptions = Readonly<typeof DEFAULTS>

/** Options, checked. */
export interface PreparedOptions {
  readonly options: ResolvedPeerOptions
  /** What of the options decides who we talk to. */
  readonly key: string
}

/** Those of a peer that was given none. */
export const DEFAULT_OPTIONS: PreparedOptions = { options: Object.freeze({ ...DEFAULTS }), key: '' }

// Options are usually one object used for many peers: it is checked once.
const prepared: WeakMap<HttpPeerOptions, PreparedOptions> = new WeakMap()

/**
 * Checks the options of a peer and fills in what they leave out.
 *
 * @throws {TypeError} For an unknown option or one of the wrong type.
 * @throws {RangeError} For a number out of bounds.
 */
export function prepareOptions(options: HttpPeerOptions): PreparedOptions {
  requireOptions(options, 'a peer')
  const known = prepared.get(options)
  if (known !== undefined) return known
  const resolved: Record<string, unknown> = { ...DEFAULTS }
  for (const [name, value] of Object.entries(options)) {
    const check = Object.hasOwn(PEER_CHECKS, name) ? PEER_CHECKS[name] : undefined
    if (check === undefined)
      throw new TypeError(`Unknown peer option "${name}"${nameHint(name, Object.keys(PEER_CHECKS))}`)
    if (value === undefined) continue
    check(name, value)
    resolved[name] = value
  }
  // The peer takes all that comes on the connection for this client's.
  if (resolved['sendProxyProtocol'] !== undefined) resolved['idleTimeoutMs'] = 0
  const complete = Object.freeze(resolved) as ResolvedPeerOptions
  checkTogether(complete)
  const result: PreparedOptions = { options: complete, key: optionsKey(complete) }
  // A frozen object cannot change under the memory of it; any other is checked each time.
  if (Object.isFrozen(options)) prepared.set(options, result)
  return result
}

function checkTogether(options: ResolvedPeerOptions): void {
  if ((options.cert === undefined) !== (options.key === undefined)) {
    throw new TypeError('Peer options "cert" and "key" go together')
  }
  const ways = [options.proxy, options.connect, options.dispatcher].filter((way) => way !== undefined)
  if (ways.length > 1)
    throw new TypeError('Peer options "proxy", "connect" and "dispatcher" exclude each other')
  if (options.sendProxyProtocol !== undefined && options.dispatcher !== undefined)
    throw new TypeError('Peer options "sendProxyProtocol" and "dispatcher" exclude each other')
  if (!options.tls) {
    for (const name of ['sni', 'ca', 'cert', 'alternativeName', 'curves', 'onHandshakeComplete'] as const) {
      if (options[name] !== undefined) throw new TypeError(`Peer option "${name}" needs "tls: true"`)
    }
  }
}

/** Everything that decides who we talk to. Large or opaque parts enter as digests or identities. */
function optionsKey(options: ResolvedPeerOptions): string {
  if (options.dispatcher !== undefined) return `dispatcher ${identityOf(options.dispatcher)}`
  const parts: string[] = []
  if (options.tls) {
    parts.push(
      `tls ${JSON.stringify([options.sni, options.alternativeName, options.curves])}`,
      `${options.verifyCertificate ? 'v' : '-'}${options.verifyHostname ? 'h' : '-'}`,
    )
    if (options.ca !== undefined) parts.push(`ca ${pemDigest(options.ca)}`)
    if (options.cert !== undefined)
      parts.push(`cert ${pemDigest(options.cert)} ${pemDigest(options.key as string | Buffer)}`)
    if (options.onHandshakeComplete !== undefined)
      parts.push(`complete ${identityOf(options.onHandshakeComplete)}`)
  }
  if (options.httpVersion !== 1) {
    const { httpVersion, http2StreamsMax, http2WindowBytes, http2PingIntervalMs } = options
    parts.push(`http ${httpVersion} ${http2StreamsMax} ${http2WindowBytes} ${http2PingIntervalMs}`)
  }
  if (options.localAddress !== undefined) parts.push(`from ${options.localAddress}`)
  if (options.groupKey !== '') parts.push(`group ${JSON.stringify(options.groupKey)}`)
  if (options.tcpKeepAliveMs > 0) parts.push(`probe ${options.tcpKeepAliveMs}`)
  if (options.proxy !== undefined) {
    parts.push(`via ${options.proxy.address} ${pemDigest(JSON.stringify(options.proxy.headers ?? {}))}`)
  }
  if (options.connect !== undefined) parts.push(`connect ${identityOf(options.connect)}`)
  return parts.join(' ')
}

const identities: WeakMap<object, number> = new WeakMap()
let identityCount = 0

function identityOf(value: object): number {
  let identity = identities.get(value)
  if (identity === undefined) {
    identity = ++identityCount
    identities.set(value, identity)
  }
  return identity
}

function pemDigest(pem: string | Buffer | readonly (string | Buffer)[]): string {
  const hash = createHash('sha256')
  for (const part of typeof pem === 'string' || Buffer.isBuffer(pem) ? [pem] : pem)
    hash.update(part).update('\0')
  return hash.digest('base64url')
}

/** Of the addresses and all else that is sent: no other client's connection has it. */
export function headerKey(header: ProxyHeader): string {
  return `for ${createHash('sha256').update(writeProxyHeader(header)).digest('base64url')}`
}
