/** Over what the client reached the proxy in front of us. `unspecified`: the header tells no addresses. */
export type ProxyTransport =
  | 'tcp4'
  | 'tcp6'
  | 'udp4'
  | 'udp6'
  | 'unix-stream'
  | 'unix-datagram'
  | 'unspecified'

/** One end of the proxied connection. */
export interface ProxyEndpoint {
  /** An IP address, or the path of a Unix socket (`''` for one without a name). */
  readonly address: string
  /** 0 to 65535; 0 for a Unix socket. */
  readonly port: number
}

/** A type-length-value field of a version 2 header. */
export interface ProxyTlv {
  /** 0 to 255. */
  readonly type: number
  readonly value: Buffer
}

/** What a PROXY protocol header says. */
export interface ProxyHeader {
  readonly version: 1 | 2
  /** `proxy`: for a client of the sender's. `local`: the sender's own connection, such as a health check. */
  readonly command: 'proxy' | 'local'
  readonly transport: ProxyTransport
  /** The client's end; undefined exactly when `transport` is `unspecified`. */
  readonly source: ProxyEndpoint | undefined
  /** The end that the client connected to; undefined exactly when `transport` is `unspecified`. */
  readonly destination: ProxyEndpoint | undefined
  /** In the order sent, without padding (NOOP) and checksum (CRC32C); empty in version 1. */
  readonly tlvs: readonly ProxyTlv[]
  /** Write it with a CRC32c; version 2 only. Absent in a header that was read, whose checksum has been verified. */
  readonly crc32c?: boolean
}

/** The 12 bytes that every version 2 header begins with. */
export const SIGNATURE: Buffer = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1')

/** Signature, version and command, family and transport, length. */
export const V2_HEAD_BYTES: number = 16

/** The longest version 1 header, CRLF included. */
export const V1_BYTES_MAX: number = 107

/** Bytes of one Unix socket path in a version 2 header. */
export const UNIX_PATH_BYTES: number = 108

export const TLV_CRC32C: number = 0x03
export const TLV_NOOP: number = 0x04

/** The byte for family and transport of a version 2 header, and how long the addresses after it are. */
export const TRANSPORTS: readonly {
  readonly name: ProxyTransport
  readonly byte: number
  readonly bytes: number
}[] = [
  { name: 'unspecified', byte: 0x00, bytes: 0 },
  { name: 'tcp4', byte: 0x11, bytes: 12 },
  { name: 'udp4', byte: 0x12, bytes: 12 },
  { name: 'tcp6', byte: 0x21, bytes: 36 },
  { name: 'udp6', byte: 0x22, bytes: 36 },
  { name: 'unix-stream', byte: 0x31, bytes: 2 * UNIX_PATH_BYTES },
  { name: 'unix-datagram', byte: 0x32, bytes: 2 * UNIX_PATH_BYTES },
]
