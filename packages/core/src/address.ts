import { isIPv4, isIPv6, SocketAddress } from 'node:net'
import { inspect } from 'node:util'

/** A TCP address: an IP literal or a host name, and a port. */
export interface TcpAddress {
  readonly kind: 'tcp'
  /** Lower-cased host name, dotted IPv4, or RFC 5952 IPv6 without brackets (with `%zone` if link-local). */
  readonly host: string
  /** 1 to 65535; 0 (any free port) only where the caller allowed it. */
  readonly port: number
  /** `host:port`, IPv6 in brackets. Equal addresses have equal `text`. */
  readonly text: string
}

/** The path of a Unix socket. */
export interface UnixAddress {
  readonly kind: 'unix'
  /** Absolute; kept as written, since resolving `..` or symlinks could change what it names. */
  readonly path: string
  /** `unix:` and the path. */
  readonly text: string
}

/** Where to listen or to connect. Frozen; may be shared between callers. */
export type Address = TcpAddress | UnixAddress

/** Options of {@link parseAddress}. */
export interface ParseAddressOptions {
  /** Accept port 0, "any free port": right for listeners, never for peers. Default false. */
  readonly allowPortZero?: boolean
}

/** How many parsed addresses are kept, as peers are often built from text for every request. */
export const ADDRESS_CACHE_ENTRIES_MAX: number = 4096

/** Longest Unix socket path in bytes: `sun_path` less its NUL (`unix(7)`: 108 on Linux, 104 on the BSDs). */
const UNIX_PATH_BYTES_MAX: number = process.platform === 'linux' ? 107 : 103

const HOST_CHARACTERS_MAX: number = 253 // RFC 1035 §2.3.4, in presentation form without the root's dot
const TEXT_CHARACTERS_MAX: number = 512 // longer than any valid address; refused before any other work
const LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/ // `_` is common in container networks
const NUMERIC_LABEL = /^(?:[0-9]+|0x[0-9a-f]*)$/
const PORT = /^(?:0|[1-9][0-9]{0,4})$/
const ZONE = /^[A-Za-z0-9._-]{1,15}$/ // an interface name: IFNAMSIZ is 16 with its NUL

// Two generations: when the young one is half the cap, it becomes the old one, and what was not asked
// for since is forgotten. Constant time, and never more than the cap.
let young: Map<string, Address> = new Map()
let old: Map<string, Address> = new Map()

/**
 * Parses `host:port`, `[ipv6]:port` or `unix:/path`, strictly.
 *
 * Host names are lower-cased, IPv6 is put into its RFC 5952 form, so equal addresses have equal `text`.
 * A zone id is taken on link-local IPv6 only. Shorthand IPv4 such as `127.1` is refused. Results are
 * frozen and cached (at most {@link ADDRESS_CACHE_ENTRIES_MAX}).
 *
 * @throws {TypeError} Names the value and what is wrong with it.
 * @example
 * parseAddress('[0:0::1]:443').text // '[::1]:443'
 */
export function parseAddress(text: string, options?: ParseAddressOptions): Address {
  let address = typeof text === 'string' ? (young.get(text) ?? old.get(text)) : undefined
  if (address === undefined || !young.has(text)) address = parseAndKeep(text, address)
  if (address.kind === 'tcp' && address.port === 0 && options?.allowPortZero !== true) {
    throw invalid(text, 'port 0 names no peer; it is allowed for listeners only')
  }
  return address
}

function parseAndKeep(text: string, known: Address | undefined): Address {
  const address = known ?? parse(text)
  if (young.size >= ADDRESS_CACHE_ENTRIES_MAX / 2) {
    old = young
    young = new Map()
  }
  // A substring keeps its whole parent alive in V8; the copy keeps a request head out of the cache.
  young.set(copy(text), address)
  return address
}

function parse(given: string): Address {
  if (typeof given !== 'string') {
    throw new TypeError(
      `Expected an address such as "127.0.0.1:8080", received ${inspect(given, { depth: 0 })}`,
    )
  }
  if (given.length > TEXT_CHARACTERS_MAX) throw invalid(given, 'it is too long')
  const text = copy(given)
  return Object.freeze(text.startsWith('unix:') ? parseUnix(text) : parseTcp(text))
}

function parseUnix(text: string): UnixAddress {
  const path = text.slice(5)
  if (!path.startsWith('/')) throw invalid(text, 'the path of a Unix socket must be absolute: unix:/path')
  if (path.endsWith('/')) throw invalid(text, 'the path names a directory')
  if (path.includes('\0')) throw invalid(text, 'the path contains a NUL')
  const bytes = Buffer.byteLength(path)
  if (bytes > UNIX_PATH_BYTES_MAX) {
    throw invalid(text, `the path has ${bytes} bytes, and the system takes ${UNIX_PATH_BYTES_MAX}`)
  }
  return { kind: 'unix', path, text }
}

function parseTcp(text: string): TcpAddress {
  const colon = text.lastIndexOf(':')
  if (text.startsWith('[')) {
    const end = text.indexOf(']')
    if (end === -1) throw invalid(text, 'the bracket is not closed')
    if (colon !== end + 1) throw invalid(text, 'a port must follow the bracket: [ipv6]:port')
    const host = canonicalIpv6(text, text.slice(1, end))
    const port = parsePort(text, text.slice(colon + 1))
    return { kind: 'tcp', host, port, text: `[${host}]:${port}` }
  }
  if (colon === -1) throw invalid(text, 'the port is missing: host:port, [ipv6]:port or unix:/path')
  if (text.includes('://')) throw invalid(text, 'it is a URL; give host:port, [ipv6]:port or unix:/path')
  if (text.indexOf(':') !== colon) throw invalid(text, 'an IPv6 address needs brackets: [ipv6]:port')
  const host = checkHost(text, text.slice(0, colon).toLowerCase())
  const port = parsePort(text, text.slice(colon + 1))
  return { kind: 'tcp', host, port, text: `${host}:${port}` }
}

function parsePort(text: string, port: string): number {
  if (!PORT.test(port) || Number(port) > 65535) {
    throw invalid(text, `the port "${port.slice(0, 32)}" is not a number from 0 to 65535`)
  }
  return Number(port)
}

function canonicalIpv6(text: string, host: string): string {
  const percent = host.indexOf('%')
  const literal = percent === -1 ? host : host.slice(0, percent)
  if (!isIPv6(literal)) throw invalid(text, `"${host}" is not an IPv6 address`)
  const { address } = new SocketAddress({ address: literal, family: 'ipv6' })
  if (percent === -1) return address
  const zone = host.slice(percent + 1)
  if (!ZONE.test(zone)) throw invalid(text, `"${zone}" is not a zone id`)
  if (!/^fe[89ab]/.test(address)) throw invalid(text, 'a zone id belongs to a link-local address only')
  return `${address}%${zone}`
}

function checkHost(text: string, host: string): string {
  if (isIPv4(host)) return host
  if (host === '') throw invalid(text, 'the host is missing')
  // "UNIX:1" would be a host whose text, "unix:1", is another address.
  if (host === 'unix') throw invalid(text, 'a Unix socket is written in lower case: unix:/path')
  const name = host.endsWith('.') ? host.slice(0, -1) : host
  if (name.length > HOST_CHARACTERS_MAX) throw invalid(text, 'the host name is longer than 253 characters')
  const labels = name.split('.')
  for (const label of labels) {
    if (LABEL.test(label)) continue
    throw invalid(
      text,
      label === '' ? 'the host name has an empty label' : `"${label}" cannot be part of a host name`,
    )
  }
  // A name that ends in a number would be taken for IPv4 by some resolvers (WHATWG URL, "ends in a number").
  if (NUMERIC_LABEL.test(labels.at(-1) ?? '')) throw invalid(text, `"${host}" is not a dotted IPv4 address`)
  return host
}

function copy(text: string): string {
  return Buffer.from(text).toString()
}

function invalid(text: string, reason: string): TypeError {
  const shown = text.length > 200 ? `${text.slice(0, 200)}…` : text
  return new TypeError(`Invalid address ${JSON.stringify(shown)}: ${reason}`)
}
