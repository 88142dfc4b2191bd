import type { ProxyHeader } from '../proxy-protocol/proxy-header.ts'
import type { CertificateFacts } from '../tls/certificate-facts.ts'

/** Facts read off a TLS connection. */
export interface TlsDigest {
  /** As Node names it: `TLSv1.3`. */
  readonly version: string
  /** The cipher suite's standard name. */
  readonly cipher: string
  /** The group of the key exchange, such as `X25519MLKEM768`; undefined on a resumed session of TLS 1.2, which has none. */
  readonly group: string | undefined
  /** The negotiated application protocol, or undefined. */
  readonly alpn: string | undefined
  /** The server name that the client asked for, or undefined; on the downstream's side not known for resumed TLS 1.2. */
  readonly sni: string | undefined
  /** True when an earlier session was resumed. */
  readonly resumed: boolean
  /** The other end's certificate: a client's, if one was asked for and given, or an upstream's. */
  readonly peerCertificate: CertificateFacts | undefined
  /** What `onHandshakeComplete` of the listener or the peer gave; undefined without one. */
  readonly extension: unknown
}

/** Facts read off a connection, on either side. Read only; built when asked for. */
export interface ConnectionDigest {
  /** The other end's IP address, or undefined for a Unix socket or a closed one. Behind a PROXY header: the client's. */
  readonly remoteAddress: string | undefined
  readonly remotePort: number | undefined
  /** This end's IP address, or undefined for a Unix socket. Behind a PROXY header: where the client connected to. */
  readonly localAddress: string | undefined
  readonly localPort: number | undefined
  /** When the connection was established, in milliseconds since the epoch. */
  readonly establishedAt: number
  /** Requests carried so far, this one included. */
  readonly requestCount: number
  readonly tls: TlsDigest | undefined
  /** Set if the connection began with a PROXY protocol header, whose addresses are then the ones above. */
  readonly proxy: ProxyDigest | undefined
}

/** The proxy in front that a connection came from: its own end of it, and what it said. */
export interface ProxyDigest {
  /** The proxy's IP address, or undefined for a Unix socket or a closed one. */
  readonly remoteAddress: string | undefined
  readonly remotePort: number | undefined
  /** Our IP address, or undefined for a Unix socket. */
  readonly localAddress: string | undefined
  readonly localPort: number | undefined
  readonly header: ProxyHeader
}
