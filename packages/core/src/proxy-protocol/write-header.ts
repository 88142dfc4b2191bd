import { isIP, isIPv4, isIPv6, SocketAddress } from 'node:net'
import type { ConnectionDigest } from '../sockets/digest.ts'
import { crc32c } from './crc32c.ts'
import {
  type ProxyEndpoint,
  type ProxyHeader,
  type ProxyTlv,
  type ProxyTransport,
  SIGNATURE,
  TLV_CRC32C,
  TRANSPORTS,
  UNIX_PATH_BYTES,
  V2_HEAD_BYTES,
} from './proxy-header.ts'

/** Options of {@link writeProxyHeader}. */
export interface WriteProxyHeaderOptions {
  /** Add a CRC32c to a version 2 header. Default: what the header says, else false. */
  readonly crc32c?: boolean
}

/** Options of {@link proxyHeaderFor}. */
export interface ProxyHeaderForOptions {
  /** Sent with the addresses; version 2 only. Default none. */
  readonly tlvs?: readonly ProxyTlv[]
  /** Send a CRC32c with it; version 2 only. Default false. */
  readonly crc32c?: boolean
}

const LENGTH_MAX = 0xffff
const NO_TLVS: readonly ProxyTlv[] = Object.freeze([])

/**
 * The header that tells an upstream who the client of a connection is.
 *
 * A client without an IP address (on a Unix socket, or gone already) makes one of `unspecified` transport. When one
 * end is IPv4 and the other IPv6, both are written as IPv6.
 *
 * @throws {TypeError} If `version` is neither 1 nor 2, or there are TLVs or a checksum for version 1.
 * @example
 * new HttpPeer('10.0.0.7:80', { sendProxyProtocol: proxyHeaderFor(session.digest(), 2) })
 */
export function proxyHeaderFor(
  digest: Pick<ConnectionDigest, 'remoteAddress' | 'remotePort' | 'localAddress' | 'localPort'>,
  version: 1 | 2,
  options?: ProxyHeaderForOptions,
): ProxyHeader {
  const tlvs = options?.tlvs ?? NO_TLVS
  const checksum = options?.crc32c === true ? { crc32c: true } : {}
  checkVersion(version, tlvs, options?.crc32c)
  const from = plainIp(digest.remoteAddress)
  const to = plainIp(digest.localAddress)
  if (from === '' || to === '') {
    return {
      version,
      command: 'proxy',
      transport: 'unspecified',
      source: undefined,
      destination: undefined,
      tlvs,
      ...checksum,
    }
  }
  const transport: ProxyTransport = isIPv4(from) && isIPv4(to) ? 'tcp4' : 'tcp6'
  return {
    version,
    command: 'proxy',
    transport,
    source: { address: ofFamily(from, transport), port: digest.remotePort ?? 0 },
    destination: { address: ofFamily(to, transport), port: digest.localPort ?? 0 },
    tlvs,
    ...checksum,
  }
}

/**
 * The bytes of a header. `local` is written without addresses; version 1 knows no `local`, and says `UNKNOWN`.
 *
 * @throws {TypeError} If an address is not of its transport, version 1 has TLVs or no word for the transport, or
 *   the whole is longer than version 2 can say.
 * @throws {RangeError} If a port or a TLV's type is out of range.
 */
export function writeProxyHeader(header: ProxyHeader, options?: WriteProxyHeaderOptions): Buffer {
  if (typeof header !== 'object' || header === null) {
    throw new TypeError(
      `Expected a PROXY protocol header, received ${header === null ? 'null' : typeof header}`,
    )
  }
  checkVersion(header.version, header.tlvs, header.crc32c)
  if (header.command !== 'proxy' && header.command !== 'local') {
    throw new TypeError(`Expected the command "proxy" or "local", received ${JSON.stringify(header.command)}`)
  }
  const transport = header.command === 'local' ? 'unspecified' : header.transport
  return header.version === 1
    ? writeVersion1(header, transport)
    : writeVersion2(header, transport, (options?.crc32c ?? header.crc32c) === true)
}

function checkVersion(version: number, tlvs: readonly ProxyTlv[], checksum: boolean | undefined): void {
  if (version !== 1 && version !== 2)
    throw new TypeError(`Expected PROXY protocol version 1 or 2, received ${version}`)
  if (version === 1 && tlvs.length > 0) throw new TypeError('Version 1 of the PROXY protocol carries no TLVs')
  if (version === 1 && checksum === true)
    throw new TypeError('Version 1 of the PROXY protocol carries no checksum')
}

function writeVersion1(header: ProxyHeader, transport: ProxyTransport): Buffer {
  if (transport === 'unspecified') return Buffer.from('PROXY UNKNOWN\r\n', 'latin1')
  if (transport !== 'tcp4' && transport !== 'tcp6') {
    throw new TypeError(`Version 1 of the PROXY protocol has no word for ${transport}`)
  }
  const [source, destination] = endpointsOf(header, transport)
  const addresses = `${source.address} ${destination.address} ${source.port} ${destination.port}`
  return Buffer.from(`PROXY ${transport === 'tcp4' ? 'TCP4' : 'TCP6'} ${addresses}\r\n`, 'latin1')
}

function writeVersion2(header: ProxyHeader, name: ProxyTransport, withChecksum: boolean): Buffer {
  const transport = TRANSPORTS.find((known) => known.name === name)
  if (transport === undefined) throw new TypeError(`Unknown transport ${JSON.stringify(name)}`)
  let length = transport.bytes + (withChecksum ? 7 : 0)
  for (const { type, value } of header.tlvs) {
    if (!Number.isInteger(type) || type < 0 || type > 255) {
      throw new RangeError(`Expected the type of a TLV to be from 0 to 255, received ${type}`)
    }
    if (type === TLV_CRC32C) throw new TypeError('The checksum is added by the option crc32c, not as a TLV')
    length += 3 + value.length
  }
  if (length > LENGTH_MAX) throw new TypeError(`The header is ${length} bytes long, more than ${LENGTH_MAX}`)
  const bytes = Buffer.alloc(V2_HEAD_BYTES + length)
  SIGNATURE.copy(bytes)
  bytes[12] = 0x20 | (header.command === 'proxy' ? 1 : 0)
  bytes[13] = transport.byte
  bytes.writeUInt16BE(length, 14)
  if (transport.bytes > 0) writeEndpoints(bytes.subarray(V2_HEAD_BYTES), name, endpointsOf(header, name))
  let at = V2_HEAD_BYTES + transport.bytes
  for (const { type, value } of header.tlvs) {
    bytes[at] = type
    bytes.writeUInt16BE(value.length, at + 1)
    bytes.set(value, at + 3)
    at += 3 + value.length
  }
  if (withChecksum) {
    bytes[at] = TLV_CRC32C
    bytes.writeUInt16BE(4, at + 1)
    bytes.writeUInt32BE(crc32c(bytes, at + 3), at + 3)
  }
  return bytes
}

function endpointsOf(header: ProxyHeader, transport: ProxyTransport): [ProxyEndpoint, ProxyEndpoint] {
  const { source, destination } = header
  if (source === undefined || destination === undefined) {
    throw new TypeError(`A header over ${transport} needs source and destination`)
  }
  for (const { address, port } of [source, destination]) {
    if (!isOf(address, transport)) {
      throw new TypeError(`${JSON.stringify(address)} is not an address of ${transport}`)
    }
    if (!Number.isInteger(port) || port < 0 || port > 65_535) {
      throw new RangeError(`Expected a port from 0 to 65535, received ${port}`)
    }
  }
  return [source, destination]
}

function isOf(address: string, transport: ProxyTransport): boolean {
  if (transport.endsWith('4')) return isIPv4(address)
  if (transport.endsWith('6')) return isIPv6(address) && !address.includes('%')
  return (
    typeof address === 'string' && !address.includes('\0') && Buffer.byteLength(address) <= UNIX_PATH_BYTES
  )
}

function writeEndpoints(
  block: Buffer,
  transport: ProxyTransport,
  [source, destination]: [ProxyEndpoint, ProxyEndpoint],
): void {
  if (transport.startsWith('unix')) {
    block.write(source.address, 0)
    block.write(destination.address, UNIX_PATH_BYTES)
    return
  }
  const size = transport.endsWith('4') ? 4 : 16
  writeIp(block, 0, source.address)
  writeIp(block, size, destination.address)
  block.writeUInt16BE(source.port, 2 * size)
  block.writeUInt16BE(destination.port, 2 * size + 2)
}

function writeIp(block: Buffer, at: number, ip: string): void {
  if (isIPv4(ip)) {
    for (const [index, part] of ip.split('.').entries()) block[at + index] = Number(part)
    return
  }
  const [left = '', right] = withoutDots(ip).split('::')
  const before = left === '' ? [] : left.split(':')
  const after = right === undefined || right === '' ? [] : right.split(':')
  for (const [index, group] of before.entries())
    block.writeUInt16BE(Number.parseInt(group, 16), at + 2 * index)
  const tail = at + 16 - 2 * after.length
  for (const [index, group] of after.entries())
    block.writeUInt16BE(Number.parseInt(group, 16), tail + 2 * index)
}

/** The dotted end of `::ffff:192.0.2.1` as two groups. */
function withoutDots(ip: string): string {
  if (!ip.includes('.')) return ip
  const colon = ip.lastIndexOf(':') + 1
  const [a = 0, b = 0, c = 0, d = 0] = ip.slice(colon).split('.').map(Number)
  return `${ip.slice(0, colon)}${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`
}

/** Without a zone, and IPv4 as IPv4 when a dual-stack socket shows it mapped; `''` when there is no IP. */
function plainIp(address: string | undefined): string {
  if (address === undefined) return ''
  const zone = address.indexOf('%')
  const ip = zone === -1 ? address : address.slice(0, zone)
  if (isIP(ip) === 0) return ''
  return ip.startsWith('::ffff:') && isIPv4(ip.slice(7)) ? ip.slice(7) : ip
}

function ofFamily(ip: string, transport: ProxyTransport): string {
  if (transport === 'tcp4' || isIPv6(ip)) return ip
  return new SocketAddress({ address: `::ffff:${ip}`, family: 'ipv6' }).address
}
