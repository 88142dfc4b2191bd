import { isUtf8 } from 'node:buffer'
import { isIPv4, isIPv6, SocketAddress } from 'node:net'
import { crc32c } from './crc32c.ts'
import {
  type ProxyEndpoint,
  type ProxyHeader,
  type ProxyTlv,
  SIGNATURE,
  TLV_CRC32C,
  TLV_NOOP,
  TRANSPORTS,
  UNIX_PATH_BYTES,
  V1_BYTES_MAX,
  V2_HEAD_BYTES,
} from './proxy-header.ts'

/**
 * What the first bytes of a connection are:
 * - `header`: a header that takes `bytes` bytes; what follows belongs to the client.
 * - `partial`: the beginning of a header, or nothing yet.
 * - `absent`: something else; no header begins like this.
 * - `malformed`: a header that breaks the rules. Close the connection.
 */
export type ProxyHeaderResult =
  | { readonly kind: 'header'; readonly header: ProxyHeader; readonly bytes: number }
  | { readonly kind: 'partial' }
  | { readonly kind: 'absent' }
  | { readonly kind: 'malformed'; readonly reason: string }

/** Options of {@link readProxyHeader}. */
export interface ReadProxyHeaderOptions {
  /** Longest version 2 header, in bytes, 16 to 65551. Version 1 has at most 107 by its definition. Default 4096. */
  readonly headerBytesMax?: number
  /** Versions to take; the other one is malformed. Default both. */
  readonly versions?: readonly (1 | 2)[]
}

/** Longest header that is taken by default: room for TLVs well above the 536 bytes a sender may count on. */
export const PROXY_HEADER_BYTES_MAX_DEFAULT: number = 4096

const PARTIAL: ProxyHeaderResult = { kind: 'partial' }
const ABSENT: ProxyHeaderResult = { kind: 'absent' }
const V1_START: Buffer = Buffer.from('PROXY ', 'latin1')
const PORT = /^(?:0|[1-9][0-9]{0,4})$/
const NO_TLVS: readonly ProxyTlv[] = Object.freeze([])

/**
 * Reads a PROXY protocol header of version 1 or 2 at the start of `bytes`: all bytes of the connection so far.
 * Call it again with more when it is `partial`. TLV values are copies.
 *
 * Strict: what the specification leaves no receiver to guess is `malformed`, such as an unknown command, family or
 * transport, TLVs that do not fill the header, or a CRC32c that does not match.
 *
 * @example
 * const result = readProxyHeader(Buffer.from('PROXY TCP4 192.0.2.1 192.0.2.9 56324 443\r\nGET / …'))
 * // result.header.source is { address: '192.0.2.1', port: 56324 }
 */
export function readProxyHeader(bytes: Buffer, options?: ReadProxyHeaderOptions): ProxyHeaderResult {
  if (bytes.length === 0) return PARTIAL
  const versions = options?.versions
  if (begins(bytes, SIGNATURE)) {
    if (versions?.includes(2) === false) return malformed('version 2 is not allowed here')
    if (bytes.length < SIGNATURE.length) return PARTIAL
    return readVersion2(bytes, options?.headerBytesMax ?? PROXY_HEADER_BYTES_MAX_DEFAULT)
  }
  if (begins(bytes, V1_START)) {
    if (bytes.length < V1_START.length) return PARTIAL
    if (versions?.includes(1) === false) return malformed('version 1 is not allowed here')
    return readVersion1(bytes)
  }
  return ABSENT
}

/** Whether `bytes` begins with `start`, as far as there are bytes. */
function begins(bytes: Buffer, start: Buffer): boolean {
  const count = Math.min(bytes.length, start.length)
  return bytes.compare(start, 0, count, 0, count) === 0
}

function malformed(reason: string): ProxyHeaderResult {
  return { kind: 'malformed', reason }
}

// --- version 1 -----------------------------------------------------------------------------------

function readVersion1(bytes: Buffer): ProxyHeaderResult {
  const end = bytes.subarray(0, V1_BYTES_MAX).indexOf('\n')
  if (end === -1) {
    return bytes.length >= V1_BYTES_MAX ? malformed(`no line end within ${V1_BYTES_MAX} bytes`) : PARTIAL
  }
  if (bytes[end - 1] !== 0x0d) return malformed('the line does not end with CRLF')
  const line = bytes.toString('latin1', V1_START.length, end - 1)
  if (line.includes('\r')) return malformed('a bare CR within the line')
  const count = end + 1
  if (line === 'UNKNOWN' || line.startsWith('UNKNOWN ')) return unspecified(1, 'proxy', NO_TLVS, count)
  const parts = line.split(' ')
  if (parts.length !== 5) return malformed('the line does not have five fields')
  const [family, source = '', destination = '', sourcePort = '', destinationPort = ''] = parts
  const isIpv4Pair = isIPv4(source) && isIPv4(destination)
  const isIpv6Pair = isIPv6(source) && isIPv6(destination) && !line.includes('%')
  if (!(family === 'TCP4' ? isIpv4Pair : family === 'TCP6' && isIpv6Pair)) {
    return malformed('the addresses are not of the protocol named')
  }
  if (!isPort(sourcePort) || !isPort(destinationPort)) return malformed('a port is not a number up to 65535')
  const header: ProxyHeader = {
    version: 1,
    command: 'proxy',
    transport: family === 'TCP4' ? 'tcp4' : 'tcp6',
    source: { address: canonical(source), port: Number(sourcePort) },
    destination: { address: canonical(destination), port: Number(destinationPort) },
    tlvs: NO_TLVS,
  }
  return { kind: 'header', header, bytes: count }
}

function isPort(text: string): boolean {
  return PORT.test(text) && Number(text) <= 65_535
}

/** In the form in which sockets tell their addresses, so that equal addresses are equal text. */
function canonical(ip: string): string {
  return isIPv4(ip) ? ip : new SocketAddress({ address: ip, family: 'ipv6' }).address
}

// --- version 2 -----------------------------------------------------------------------------------

function readVersion2(bytes: Buffer, bytesMax: number): ProxyHeaderResult {
  if (bytes.length < V2_HEAD_BYTES) return PARTIAL
  const versionAndCommand = bytes[12] as number
  if (versionAndCommand >>> 4 !== 2) return malformed('the version is not 2')
  const command = versionAndCommand & 0x0f
  if (command > 1) return malformed('the command is neither LOCAL nor PROXY')
  const end = V2_HEAD_BYTES + bytes.readUInt16BE(14)
  if (end > bytesMax) return malformed(`the header has ${end} bytes, more than ${bytesMax}`)
  if (bytes.length < end) return PARTIAL
  // Of LOCAL, the rest means nothing, the family included.
  if (command === 0) return unspecified(2, 'local', NO_TLVS, end)
  const transport = TRANSPORTS.find(({ byte }) => byte === bytes[13])
  if (transport === undefined) return malformed('the family or transport is unknown')
  const start = V2_HEAD_BYTES + transport.bytes
  if (start > end) return malformed('the addresses do not fit the length')
  const tlvs = readTlvs(bytes.subarray(0, end), start)
  if (typeof tlvs === 'string') return malformed(tlvs)
  if (transport.bytes === 0) return unspecified(2, 'proxy', tlvs, end)
  const endpoints = readEndpoints(bytes.subarray(V2_HEAD_BYTES, start))
  if (endpoints === undefined) return malformed('the path of a Unix socket is not UTF-8')
  const [source, destination] = endpoints
  return {
    kind: 'header',
    header: { version: 2, command: 'proxy', transport: transport.name, source, destination, tlvs },
    bytes: end,
  }
}

function unspecified(
  version: 1 | 2,
  command: 'proxy' | 'local',
  tlvs: readonly ProxyTlv[],
  bytes: number,
): ProxyHeaderResult {
  const header: ProxyHeader = {
    version,
    command,
    transport: 'unspecified',
    source: undefined,
    destination: undefined,
    tlvs,
  }
  return { kind: 'header', header, bytes }
}

function readEndpoints(block: Buffer): [ProxyEndpoint, ProxyEndpoint] | undefined {
  if (block.length === 2 * UNIX_PATH_BYTES) {
    const source = readPath(block.subarray(0, UNIX_PATH_BYTES))
    const destination = readPath(block.subarray(UNIX_PATH_BYTES))
    if (source === undefined || destination === undefined) return undefined
    return [
      { address: source, port: 0 },
      { address: destination, port: 0 },
    ]
  }
  const size = block.length === 12 ? 4 : 16
  const ports = 2 * size
  return [
    { address: readIp(block.subarray(0, size)), port: block.readUInt16BE(ports) },
    { address: readIp(block.subarray(size, ports)), port: block.readUInt16BE(ports + 2) },
  ]
}

/** Undefined unless it is UTF-8: any other bytes would become a path that nobody sent. */
function readPath(bytes: Buffer): string | undefined {
  const end = bytes.indexOf(0)
  const path = end === -1 ? bytes : bytes.subarray(0, end)
  return isUtf8(path) ? path.toString('utf8') : undefined
}

function readIp(bytes: Buffer): string {
  if (bytes.length === 4) return bytes.join('.')
  const groups: string[] = []
  for (let at = 0; at < 16; at += 2) groups.push(bytes.readUInt16BE(at).toString(16))
  return canonical(groups.join(':'))
}

/** The TLVs from `start` to the end of the header, or what is wrong with them. */
function readTlvs(header: Buffer, start: number): readonly ProxyTlv[] | string {
  const tlvs: ProxyTlv[] = []
  let hasChecksum = false
  for (let at = start; at < header.length; ) {
    if (at + 3 > header.length) return 'a TLV is cut off'
    const type = header[at] as number
    const from = at + 3
    const end = from + header.readUInt16BE(at + 1)
    if (end > header.length) return 'a TLV is longer than the header'
    if (type === TLV_CRC32C) {
      if (hasChecksum || end - from !== 4) return 'the checksum is not one field of 4 bytes'
      hasChecksum = true
      if (header.readUInt32BE(from) !== crc32c(header, from)) return 'the checksum does not match'
    } else if (type !== TLV_NOOP) {
      tlvs.push({ type, value: Buffer.from(header.subarray(from, end)) })
    }
    at = end
  }
  return tlvs.length === 0 ? NO_TLVS : tlvs
}
