import { isIPv6 } from 'node:net'
import { equalsIgnoreCase, HOST_NAME } from './characters.ts'

/** A host and the port written after it. */
export interface HostPort {
  /** As sent, IPv6 without its brackets. */
  readonly host: string
  /** 0 to 65535, or -1 when none was written (`a` and `a:`). */
  readonly port: number
}

const COLON = 0x3a
const PERCENT = 0x25
const BRACKET_OPEN = 0x5b

/**
 * True for `uri-host [":" port]` (RFC 9110 §7.2): a name, an IPv4 address or a bracketed IPv6 address, and
 * a port up to 65535, whose digits may be missing. Refused besides what the grammar refuses: the empty
 * host, user information, IPvFuture, zone ids, and the comma, by which joined `Host` fields show.
 */
export function isHostPort(text: string): boolean {
  const end = hostEnd(text)
  if (end <= 0) return false
  return end === text.length || (text.charCodeAt(end) === COLON && portOf(text, end + 1) !== -2)
}

/**
 * `isHostPort` on bytes, for a name or an IPv4 address with no percent sign and at most four digits of port:
 * the common case, without a pass over a string. False says nothing: ask `isHostPort`.
 */
export function isPlainHost(bytes: Uint8Array, start: number, end: number): boolean {
  let index = start
  while (index < end && HOST_NAME[bytes[index] as number] === 1) index++
  if (index === start) return false
  if (index === end) return true
  if (bytes[index] !== COLON || end - index > 5) return false
  for (index++; index < end; index++) {
    const digit = (bytes[index] as number) - 0x30
    if (digit < 0 || digit > 9) return false
  }
  return true
}

/** Splits `uri-host [":" port]`, or gives `undefined` where `isHostPort` says no. */
export function parseHostPort(text: string): HostPort | undefined {
  if (!isHostPort(text)) return undefined
  const end = hostEnd(text)
  const host = text.charCodeAt(0) === BRACKET_OPEN ? text.slice(1, end - 1) : text.slice(0, end)
  return { host, port: end === text.length ? -1 : portOf(text, end + 1) }
}

/**
 * True when both name the same authority: hosts alike but for case, and the same port, where a missing one
 * stands for `defaultPort`.
 */
export function sameAuthority(a: string, b: string, defaultPort: number): boolean {
  if (equalsIgnoreCase(a, b)) return true
  const left = parseHostPort(a)
  const right = parseHostPort(b)
  if (left === undefined || right === undefined) return false
  const leftPort = left.port < 0 ? defaultPort : left.port
  return leftPort === (right.port < 0 ? defaultPort : right.port) && equalsIgnoreCase(left.host, right.host)
}

/** Where the host ends in `text`, or -1 when it is none. */
function hostEnd(text: string): number {
  if (text.charCodeAt(0) === BRACKET_OPEN) {
    const close = text.indexOf(']')
    if (close < 0) return -1
    const address = text.slice(1, close)
    return !address.includes('%') && isIPv6(address) ? close + 1 : -1
  }
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    if (code < 256 && HOST_NAME[code] === 1) continue
    if (code === COLON) return index
    if (code !== PERCENT || !isHex(text.charCodeAt(index + 1)) || !isHex(text.charCodeAt(index + 2)))
      return -1
    index += 2
  }
  return text.length
}

/** The port from `start` on: -1 when empty, -2 when it is none. */
function portOf(text: string, start: number): number {
  if (start === text.length) return -1
  if (text.length - start > 5) return -2
  let port = 0
  for (let index = start; index < text.length; index++) {
    const digit = text.charCodeAt(index) - 0x30
    if (digit < 0 || digit > 9) return -2
    port = port * 10 + digit
  }
  return port > 65_535 ? -2 : port
}

function isHex(code: number): boolean {
  const lower = code | 0x20
  return (code >= 0x30 && code <= 0x39) || (lower >= 0x61 && lower <= 0x66)
}
