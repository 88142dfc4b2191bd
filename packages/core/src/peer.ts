import { createHash } from 'node:crypto'
import { isIP } from 'node:net'
import type { Duplex } from 'node:stream'
import { inspect } from 'node:util'
import { isFieldValue, isToken } from '@cirque/http'
import type { Dispatcher } from 'undici'
import { type Address, parseAddress } from './address.ts'
import { nameHint } from './nearest-name.ts'
import type { ProxyHeader } from './proxy-protocol/proxy-header.ts'
import { writeProxyHeader } from './proxy-protocol/write-header.ts'
import type { OnHandshakeComplete } from './tls/handshake-complete.ts'

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

/** How an attempt to serve a request from a peer ended. */
export interface PeerOutcome {
  /** Whether the peer did its part: it answered, and not with 502, 503 or 504. */
  readonly ok: boolean
  /** Who caused it, if not `ok`. A client that leaves says nothing about the peer. */
  readonly source?: 'downstream' | 'upstream' | 'internal'
  /** From the choice of the peer to the head of its response, in milliseconds. */
  readonly latencyMs?: number
}

/** A chosen address that wants to know how it went, such as a balancer's lease. */
export interface LeasedAddress {
  readonly address: string | Address
  /** Called by the proxy once, when the attempt has ended. */
  release(outcome?: PeerOutcome): void
}

/** What can name a peer's address; `undefined`, as an empty balancer gives it, makes a peer without one. */
export type PeerAddress =
  | string
  | Address
  | { readonly address: string | Address }
  | LeasedAddress
  | undefined

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

interface Prepared {
  readonly options: ResolvedPeerOptions
  /** What of the options decides who we talk to. */
  readonly key: string
}

const DEFAULT_PREPARED: Prepared = { options: Object.freeze({ ...DEFAULTS }), key: '' }

// Options are usually one object used for many peers: it is checked once.
const prepared: WeakMap<HttpPeerOptions, Prepared> = new WeakMap()

/**
 * Where and how to connect upstream. Cheap to make: build one per request if you like.
 *
 * @example
 * new HttpPeer('10.0.0.7:8080')
 * new HttpPeer('one.one.one.one:443', { tls: true })
 * new HttpPeer(balancer.select(), { readTimeoutMs: 5_000 })
 */
export class HttpPeer {
  /** Undefined when there is no one to talk to: the request ends with 503. */
  readonly address: Address | undefined
  readonly options: ResolvedPeerOptions
  /** Equal for peers that may share connections: covers everything that decides who we talk to, and how. */
  readonly reuseKey: string
  /** The part of `reuseKey` that does not come from the address. */
  readonly optionsKey: string
  /** What the address came from, such as the balancer's backend; for hooks and logs. */
  readonly origin: PeerAddress

  /**
   * @throws {TypeError} For a malformed address, an unknown option or one of the wrong type.
   * @throws {RangeError} For a number out of bounds.
   */
  constructor(address: PeerAddress, options?: HttpPeerOptions) {
    this.origin = address
    this.address = toAddress(address)
    const { options: resolved, key } = options === undefined ? DEFAULT_PREPARED : prepare(options)
    this.options = resolved
    this.optionsKey = key
    const text = this.address === undefined ? '' : this.address.text
    const reuseKey = key === '' ? text : `${text}|${key}`
    // Beside `optionsKey`, which TLS contexts are remembered by: those do not depend on the client.
    this.reuseKey =
      resolved.sendProxyProtocol === undefined
        ? reuseKey
        : `${reuseKey}|${headerKey(resolved.sendProxyProtocol)}`
  }

  /** The server name for TLS: the given one, else the host when it is a name, else `''`. */
  get serverName(): string {
    if (this.options.sni !== undefined) return this.options.sni
    const address = this.address
    return address?.kind === 'tcp' && !isIpLiteral(address.host) ? address.host : ''
  }

  /** Address and the options that matter when reading a log. */
  toString(): string {
    const text = this.address?.text ?? 'no peer'
    if (!this.options.tls) return text
    return `${text} (TLS${this.serverName === '' ? '' : `, SNI ${this.serverName}`})`
  }
}

function toAddress(address: PeerAddress): Address | undefined {
  if (typeof address === 'string') return parseAddress(address)
  if (address === undefined) return undefined
  if (typeof address === 'object' && address !== null) {
    if ('kind' in address) return address
    if (typeof address.address === 'string') return parseAddress(address.address)
    if (typeof address.address === 'object' && address.address !== null) return address.address
  }
  throw new TypeError(
    `Expected a peer's address such as "127.0.0.1:8080", an Address or a backend, received ${inspect(address, { depth: 0 })}`,
  )
}

function isIpLiteral(host: string): boolean {
  return host.includes(':') || /^[\d.]+$/.test(host)
}

const TIMEOUT_MS_MAX = 2 ** 31 - 1
const ZERO_ALLOWED: ReadonlySet<string> = new Set([
  'idleTimeoutMs',
  'tunnelIdleTimeoutMs',
  'tcpKeepAliveMs',
  'http2PingIntervalMs',
])

const CHECKS: { readonly [name: string]: (name: string, value: unknown) => void } = {
  tls: checkBoolean,
  sni: checkString,
  verifyCertificate: checkBoolean,
  verifyHostname: checkBoolean,
  alternativeName: checkString,
  ca: checkPem,
  cert: checkPem,
  key: checkPem,
  curves: checkString,
  onHandshakeComplete: checkFunction,
  connectTimeoutMs: checkMilliseconds,
  totalConnectTimeoutMs: checkMilliseconds,
  readTimeoutMs: checkMilliseconds,
  writeTimeoutMs: checkMilliseconds,
  idleTimeoutMs: checkMilliseconds,
  tunnelIdleTimeoutMs: checkMilliseconds,
  httpVersion: checkHttpVersion,
  http2StreamsMax: (name, value) => checkInteger(name, value, 1, 1_000_000),
  http2WindowBytes: (name, value) => checkInteger(name, value, 16_384, 2 ** 31 - 1),
  http2PingIntervalMs: checkMilliseconds,
  localAddress: checkLocalAddress,
  tcpKeepAliveMs: checkMilliseconds,
  groupKey: checkString,
  proxy: checkProxy,
  connect: checkFunction,
  dispatcher: checkDispatcher,
  sendProxyProtocol: checkProxyHeader,
}

function prepare(options: HttpPeerOptions): Prepared {
  if (typeof options !== 'object' || options === null) {
    throw new TypeError(`Expected the options of a peer to be an object, received ${inspect(options)}`)
  }
  const known = prepared.get(options)
  if (known !== undefined) return known
  const resolved: Record<string, unknown> = { ...DEFAULTS }
  for (const [name, value] of Object.entries(options)) {
    const check = Object.hasOwn(CHECKS, name) ? CHECKS[name] : undefined
    if (check === undefined)
      throw new TypeError(`Unknown peer option "${name}"${nameHint(name, Object.keys(CHECKS))}`)
    if (value === undefined) continue
    check(name, value)
    resolved[name] = value
  }
  // The peer takes all that comes on the connection for this client's.
  if (resolved['sendProxyProtocol'] !== undefined) resolved['idleTimeoutMs'] = 0
  const complete = Object.freeze(resolved) as ResolvedPeerOptions
  checkTogether(complete)
  const result: Prepared = { options: complete, key: optionsKey(complete) }
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

function wrong(name: string, expected: string, value: unknown): TypeError {
  return new TypeError(
    `Peer option "${name}" must be ${expected}, not ${value === null ? 'null' : typeof value}`,
  )
}

function checkBoolean(name: string, value: unknown): void {
  if (typeof value !== 'boolean') throw wrong(name, 'a boolean', value)
}

function checkString(name: string, value: unknown): void {
  if (typeof value !== 'string') throw wrong(name, 'a string', value)
}

function checkFunction(name: string, value: unknown): void {
  if (typeof value !== 'function') throw wrong(name, 'a function', value)
}

function checkDispatcher(name: string, value: unknown): void {
  if (typeof value !== 'object' || value === null || typeof (value as Dispatcher).dispatch !== 'function') {
    throw wrong(name, 'an undici Dispatcher', value)
  }
}

function checkPem(name: string, value: unknown): void {
  const parts = Array.isArray(value) ? value : [value]
  for (const part of parts) {
    if (typeof part !== 'string' && !Buffer.isBuffer(part)) throw wrong(name, 'PEM text or a Buffer', part)
  }
}

function checkMilliseconds(name: string, value: unknown): void {
  const least = ZERO_ALLOWED.has(name) ? 0 : 1
  if (typeof value !== 'number') throw wrong(name, 'a number of milliseconds', value)
  if (!Number.isInteger(value) || value < least || value > TIMEOUT_MS_MAX) {
    throw new RangeError(
      `Peer option "${name}" must be an integer from ${least} to ${TIMEOUT_MS_MAX}, not ${value}`,
    )
  }
}

function checkHttpVersion(name: string, value: unknown): void {
  if (value !== 1 && value !== 2 && value !== 'auto') {
    throw new RangeError(`Peer option "${name}" must be 1, 2 or "auto", not ${String(value)}`)
  }
}

function checkInteger(name: string, value: unknown, least: number, most: number): void {
  if (typeof value !== 'number') throw wrong(name, 'a number', value)
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new RangeError(`Peer option "${name}" must be an integer from ${least} to ${most}, not ${value}`)
  }
}

function checkLocalAddress(name: string, value: unknown): void {
  checkString(name, value)
  if (isIP(value as string) === 0)
    throw new TypeError(`Peer option "${name}" must be an IP address, not "${value}"`)
}

function checkProxyHeader(name: string, value: unknown): void {
  try {
    writeProxyHeader(value as ProxyHeader)
  } catch (cause) {
    throw new TypeError(`Peer option "${name}": ${(cause as Error).message}`, { cause })
  }
}

/** Of the addresses and all else that is sent: no other client's connection has it. */
function headerKey(header: ProxyHeader): string {
  return `for ${createHash('sha256').update(writeProxyHeader(header)).digest('base64url')}`
}

function checkProxy(name: string, value: unknown): void {
  if (typeof value !== 'object' || value === null) throw wrong(name, 'an object with an address', value)
  const { address, headers = {} } = value as NextHopProxy
  if (typeof address !== 'string') throw wrong(`${name}.address`, 'a string', address)
  parseAddress(address)
  if (typeof headers !== 'object' || headers === null) throw wrong(`${name}.headers`, 'an object', headers)
  for (const [field, text] of Object.entries(headers)) {
    if (!isToken(field)) {
      throw new TypeError(
        `Peer option "${name}.headers" has a malformed field name: ${JSON.stringify(field)}`,
      )
    }
    if (typeof text !== 'string' || !isFieldValue(text)) {
      throw new TypeError(`Peer option "${name}.headers" has a malformed value for "${field}"`)
    }
  }
}
