import { isIP } from 'node:net'
import { createSecureContext, type SecureContext } from 'node:tls'
import { type Address, type PeerAddress, type ProxyTlv, parseAddress } from '@cirque/core'
import { integerIn, onlyKeys, TIMEOUT_MS_MAX, typed } from './check.ts'

/** How to connect to a peer over TCP or a Unix socket. All times in milliseconds. */
export interface StreamPeerOptions {
  /** Speak TLS to the peer. Default false: bytes pass as they are. */
  readonly tls?: boolean
  /** The name to ask for and to verify. Default: the address's host when that is a name. Needs `tls`. */
  readonly sni?: string
  /** Verify the certificate and its name. Default true; false must be spelled out. */
  readonly verifyCertificate?: boolean
  /** Trusted certificate authorities, PEM. Default: Node's own list. Needs `tls`. */
  readonly ca?: string | Buffer | readonly (string | Buffer)[]
  /** The certificate chain shown to the peer, PEM; with `key`. Needs `tls`. */
  readonly cert?: string | Buffer
  /** The private key of `cert`, PEM. */
  readonly key?: string | Buffer
  /** Application protocols to offer, most wanted first. Default none. Needs `tls`. */
  readonly alpnProtocols?: readonly string[]
  /** For the transport to stand. Default 5,000. */
  readonly connectTimeoutMs?: number
  /** For the whole way, name resolution and TLS included. Default 10,000. */
  readonly totalConnectTimeoutMs?: number
  /** The local IP address to connect from. */
  readonly localAddress?: string
  /** Send TCP keep-alive probes after this much silence; 0, the default, sends none. */
  readonly tcpKeepAliveMs?: number
  /** Tell the peer who the client is, before TLS, in this version of the PROXY protocol. Default: not at all. */
  readonly sendProxyProtocol?: 1 | 2
  /** Fields of a version 2 header. Default none. */
  readonly proxyTlvs?: readonly ProxyTlv[]
}

const KEYS: readonly string[] = [
  'tls',
  'sni',
  'verifyCertificate',
  'ca',
  'cert',
  'key',
  'alpnProtocols',
  'connectTimeoutMs',
  'totalConnectTimeoutMs',
  'localAddress',
  'tcpKeepAliveMs',
  'sendProxyProtocol',
  'proxyTlvs',
]
const TLS_KEYS = ['sni', 'ca', 'cert', 'key', 'alpnProtocols', 'verifyCertificate'] as const

const NO_OPTIONS: StreamPeerOptions = Object.freeze({})

// Parsing certificates takes a millisecond: once per options object, not once per connection.
const contexts: WeakMap<StreamPeerOptions, SecureContext> = new WeakMap()

/**
 * Where and how to connect for one client. Cheap to make; share one options object between peers that speak TLS, as
 * certificates are parsed once per object.
 *
 * @example
 * new StreamPeer('10.0.0.7:5432')
 * new StreamPeer(balancer.select(), { sendProxyProtocol: 2 })
 */
export class StreamPeer {
  /** Undefined when there is no one to talk to, as an empty balancer gives it. */
  readonly address: Address | undefined
  readonly options: StreamPeerOptions
  /** What the address came from, such as the balancer's backend; for hooks and logs. */
  readonly origin: PeerAddress

  /**
   * @throws {TypeError} For a malformed address, an unknown option or one of the wrong type.
   * @throws {RangeError} For a number out of bounds.
   */
  constructor(address: PeerAddress, options: StreamPeerOptions = NO_OPTIONS) {
    this.origin = address
    this.address = toAddress(address)
    if (options !== NO_OPTIONS) check(options)
    this.options = options
  }

  /** The server name for TLS: the given one, else the host when it is a name, else `''`. */
  get serverName(): string {
    if (this.options.sni !== undefined) return this.options.sni
    const { address } = this
    return address?.kind === 'tcp' && isIP(address.host) === 0 ? address.host : ''
  }

  /** Made once per options object. Throws what Node does for a certificate or key it cannot read. */
  secureContext(): SecureContext {
    const known = contexts.get(this.options)
    if (known !== undefined) return known
    const { ca, cert, key } = this.options
    const context = createSecureContext({
      ...(ca === undefined ? {} : { ca: ca as string | Buffer | (string | Buffer)[] }),
      ...(cert === undefined ? {} : { cert, key }),
    })
    contexts.set(this.options, context)
    return context
  }

  toString(): string {
    return this.address?.text ?? 'no peer'
  }
}

function toAddress(address: PeerAddress): Address | undefined {
  if (address === undefined) return undefined
  if (typeof address === 'string') return parseAddress(address)
  if (typeof address === 'object' && address !== null) {
    if ('kind' in address) return address
    return typeof address.address === 'string' ? parseAddress(address.address) : address.address
  }
  throw new TypeError(`A peer's address must be a string, an Address or a backend, not ${String(address)}`)
}

function check(options: StreamPeerOptions): void {
  onlyKeys('StreamPeer', options, KEYS)
  const { connectTimeoutMs, totalConnectTimeoutMs, tcpKeepAliveMs, localAddress } = options
  if (options.tls !== undefined) typed('tls', options.tls, 'boolean')
  if (options.verifyCertificate !== undefined)
    typed('verifyCertificate', options.verifyCertificate, 'boolean')
  if (options.sni !== undefined) typed('sni', options.sni, 'string')
  if (connectTimeoutMs !== undefined) integerIn('connectTimeoutMs', connectTimeoutMs, 1, TIMEOUT_MS_MAX)
  if (totalConnectTimeoutMs !== undefined) {
    integerIn('totalConnectTimeoutMs', totalConnectTimeoutMs, 1, TIMEOUT_MS_MAX)
  }
  if (tcpKeepAliveMs !== undefined) integerIn('tcpKeepAliveMs', tcpKeepAliveMs, 0, TIMEOUT_MS_MAX)
  if (localAddress !== undefined && isIP(localAddress) === 0) {
    throw new TypeError(`Expected localAddress to be an IP address, received ${JSON.stringify(localAddress)}`)
  }
  if ((options.cert === undefined) !== (options.key === undefined)) {
    throw new TypeError('Peer options "cert" and "key" go together')
  }
  for (const name of TLS_KEYS) {
    if (options[name] !== undefined && options.tls !== true) {
      throw new TypeError(`Peer option "${name}" needs "tls: true"`)
    }
  }
  const { sendProxyProtocol, proxyTlvs } = options
  if (sendProxyProtocol !== undefined && sendProxyProtocol !== 1 && sendProxyProtocol !== 2) {
    throw new TypeError(`Expected sendProxyProtocol to be 1 or 2, received ${String(sendProxyProtocol)}`)
  }
  if (proxyTlvs !== undefined && sendProxyProtocol !== 2) {
    throw new TypeError('Peer option "proxyTlvs" needs "sendProxyProtocol: 2"')
  }
}
