import { inspect } from 'node:util'
import { type Address, parseAddress } from '../address.ts'
import {
  DEFAULT_OPTIONS,
  type HttpPeerOptions,
  headerKey,
  prepareOptions,
  type ResolvedPeerOptions,
} from './peer-options.ts'

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
    const { options: resolved, key } = options === undefined ? DEFAULT_OPTIONS : prepareOptions(options)
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
