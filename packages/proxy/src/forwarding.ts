import { randomUUID } from 'node:crypto'
import { BlockList, isIP } from 'node:net'
import { inspect } from 'node:util'
import type { RequestHeader } from '@cirque/http'
import { requireOptions } from './option-checks.ts'
import type { Session } from './session.ts'

/** What a proxy tells the upstream about the client. Everything is off unless it is asked for. */
export interface ForwardingOptions {
  /**
   * Set `X-Forwarded-For`, `-Proto` and `-Host`. With this or `forwarded`, a client that is not trusted has its
   * `Forwarded`, `X-Real-IP` and all its `X-Forwarded-*` fields removed first, also those that we do not set.
   */
  readonly xForwarded?: boolean
  /** Set `Forwarded` (RFC 7239). */
  readonly forwarded?: boolean
  /** Append to `Via` (RFC 9110 §7.6.3) under this name. */
  readonly via?: string
  /** Set this field to a random id, or keep the id that a trusted client sent: `'X-Request-Id'`. */
  readonly requestId?: string
  /**
   * Clients whose forwarding fields are believed and appended to: addresses and CIDR ranges, such as
   * `'10.0.0.0/8'`. Of everyone else they are overwritten. Default: trust nobody.
   */
  readonly trustedProxies?: readonly string[]
}

/** Longest list of earlier hops that is taken over from a trusted client, in characters; beyond it starts anew. */
const CHAIN_CHARACTERS_MAX = 2_048
const REQUEST_ID = /^[A-Za-z0-9._~+/=-]{1,128}$/
const PSEUDONYM = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?::\d{1,5})?$/
/** RFC 7239 §4, and what does no harm: addresses with a colon or brackets that should be quoted, empty elements. */
const PAIR: RegExp = /[!#$%&'*+.^_`|~\w-]+=(?:[!#$%&'*+.^_`|~\w:[\]-]+|"(?:[^"\\]|\\.)*")/
const FORWARDED: RegExp = new RegExp(`^[;, \\t]*(?:${PAIR.source}(?:[;, \\t]+${PAIR.source})*[;, \\t]*)?$`)
const KNOWN: ReadonlySet<string> = new Set(['xForwarded', 'forwarded', 'via', 'requestId', 'trustedProxies'])

const TYPES = { xForwarded: 'boolean', forwarded: 'boolean', via: 'string', requestId: 'string' }

/** Writes the forwarding fields of each request. */
export class Forwarding {
  readonly #options: ForwardingOptions
  readonly #trusted: BlockList | null

  /** @throws {TypeError} For an unknown option, a malformed range, name or field. */
  constructor(options: ForwardingOptions) {
    requireOptions(options, 'forwarding')
    for (const name of Object.keys(options)) {
      if (!KNOWN.has(name)) {
        throw new TypeError(`Unknown forwarding option "${name}"; known are ${[...KNOWN].join(', ')}`)
      }
    }
    for (const [name, type] of Object.entries(TYPES)) {
      const value: unknown = options[name as keyof typeof TYPES]
      if (value === undefined || typeof value === type) continue
      throw new TypeError(`Forwarding option "${name}" must be a ${type}, received ${inspect(value)}`)
    }
    if (options.via !== undefined && !PSEUDONYM.test(options.via)) {
      throw new TypeError(`Forwarding option "via" must be a name such as "cirque", not "${options.via}"`)
    }
    if (options.requestId !== undefined && !/^[\w-]+$/.test(options.requestId)) {
      throw new TypeError(`Forwarding option "requestId" must be a field name, not "${options.requestId}"`)
    }
    this.#options = options
    this.#trusted = options.trustedProxies === undefined ? null : rangesOf(options.trustedProxies)
  }

  /** True when `address` may tell us about clients before it. */
  trusts(address: string | undefined): boolean {
    if (this.#trusted === null || address === undefined) return false
    const plain = plainAddress(address)
    const family = isIP(plain)
    return family !== 0 && this.#trusted.check(plain, family === 6 ? 'ipv6' : 'ipv4')
  }

  /** The address of the client itself: the nearest one that no trusted proxy vouches against. */
  clientAddress(session: Session): string | undefined {
    let address = session.remoteAddress
    if (address !== undefined) address = plainAddress(address)
    const chain = session.request.getAll('x-forwarded-for').join(',').split(',')
    while (this.trusts(address) && chain.length > 0) {
      const earlier = (chain.pop() as string).trim()
      if (isIP(earlier) === 0) break
      address = earlier
    }
    return address
  }

  apply(request: RequestHeader, session: Session): void {
    const { xForwarded, forwarded, via, requestId } = this.#options
    const digest = session.digest()
    const remoteAddress = digest.remoteAddress === undefined ? undefined : plainAddress(digest.remoteAddress)
    const trusted = this.trusts(remoteAddress)
    const proto = digest.tls === undefined ? 'http' : 'https'
    if (xForwarded === true || forwarded === true) removeClaims(request, trusted)
    if (xForwarded === true) this.#xForwarded(request, remoteAddress, proto, trusted)
    if (forwarded === true) this.#forwarded(request, remoteAddress, proto, trusted)
    if (via !== undefined) {
      const version =
        session.request.version === 'HTTP/1.0' ? '1.0' : session.request.version === 'HTTP/2' ? '2' : '1.1'
      request.insertHeader('Via', chained(request.getAll('via').join(', '), `${version} ${via}`))
    }
    if (requestId !== undefined) {
      // One id for all attempts; several fields of a trusted client name none.
      if (session.requestId === undefined) {
        const [given, ...others] = trusted ? request.getAll(requestId) : []
        const believed = given !== undefined && others.length === 0 && REQUEST_ID.test(given)
        session.requestId = believed ? given : randomUUID()
      }
      request.insertHeader(requestId, session.requestId)
    }
  }

  #xForwarded(
    request: RequestHeader,
    remoteAddress: string | undefined,
    proto: string,
    trusted: boolean,
  ): void {
    const earlier = trusted ? request.getAll('x-forwarded-for').join(', ') : ''
    request.insertHeader('X-Forwarded-For', chained(earlier, remoteAddress ?? 'unknown'))
    if (!trusted || !request.has('x-forwarded-proto')) request.insertHeader('X-Forwarded-Proto', proto)
    if (!trusted || !request.has('x-forwarded-host'))
      request.insertHeader('X-Forwarded-Host', request.host ?? '')
  }

  #forwarded(
    request: RequestHeader,
    remoteAddress: string | undefined,
    proto: string,
    trusted: boolean,
  ): void {
    const address = remoteAddress ?? 'unknown'
    const node = address.includes(':') ? `"[${address}]"` : address
    const host = request.host
    const quoted = host === undefined ? '' : `;host="${host.replace(/["\\]/g, '\\$&')}"`
    const element = `for=${node};proto=${proto}${quoted}`
    const earlier = trusted ? request.getAll('forwarded').join(', ') : ''
    // A quote that somebody left open would take our element for its text.
    request.insertHeader('Forwarded', chained(FORWARDED.test(earlier) ? earlier : '', element))
  }
}

/** Without the wrapping of an IPv4 address in an IPv6 one and without a zone, which means nothing elsewhere. */
function plainAddress(address: string): string {
  if (address.startsWith('::ffff:') && isIP(address.slice(7)) === 4) return address.slice(7)
  const zone = address.indexOf('%')
  return zone < 0 ? address : address.slice(0, zone)
}

/**
 * What a client that nobody trusts says of earlier hops, in any of the usual fields, is worth nothing. An underscore
 * is a hyphen here: CGI, and whatever has its variables, knows no difference. So spelled they come from no proxy, and
 * one that is trusted may have passed them on without a look.
 */
function removeClaims(request: RequestHeader, trusted: boolean): void {
  const claims = new Set<string>()
  request.forEachField((name) => {
    if (trusted && !name.includes('_')) return
    const lower = name.toLowerCase().replaceAll('_', '-')
    if (lower === 'forwarded' || lower === 'x-real-ip' || lower.startsWith('x-forwarded-')) claims.add(name)
  })
  for (const name of claims) request.removeHeader(name)
}

function chained(earlier: string, last: string): string {
  return earlier === '' || earlier.length > CHAIN_CHARACTERS_MAX ? last : `${earlier}, ${last}`
}

function rangesOf(ranges: readonly string[]): BlockList {
  const list = new BlockList()
  if (!Array.isArray(ranges)) {
    throw new TypeError(`Forwarding option "trustedProxies" must be an array, received ${inspect(ranges)}`)
  }
  for (const range of ranges) {
    const [address = '', prefix, ...rest] = range.split('/')
    const family = isIP(address)
    const bits = family === 4 ? 32 : 128
    if (
      family === 0 ||
      rest.length > 0 ||
      (prefix !== undefined && !(/^\d{1,3}$/.test(prefix) && Number(prefix) <= bits))
    ) {
      throw new TypeError(`A trusted proxy must be an address or a CIDR range, not "${range}"`)
    }
    const type = family === 4 ? 'ipv4' : 'ipv6'
    if (prefix === undefined) list.addAddress(address, type)
    else list.addSubnet(address, Number(prefix), type)
  }
  return list
}
