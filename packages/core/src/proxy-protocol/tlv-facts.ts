import type { ProxyTlv } from './proxy-header.ts'

/** What the proxy in front says about TLS between it and the client (TLV 0x20). */
export interface ProxyTlsFacts {
  /** The client spoke TLS. */
  readonly tls: boolean
  /** A client certificate was shown on this connection. */
  readonly certificateOnConnection: boolean
  /** A client certificate was shown in this TLS session, perhaps on an earlier connection. */
  readonly certificateInSession: boolean
  /** A client certificate was shown and verified. */
  readonly verified: boolean
  /** Such as `TLSv1.3`. */
  readonly version: string | undefined
  readonly cipher: string | undefined
  /** Common name of the client certificate. */
  readonly commonName: string | undefined
  readonly signatureAlgorithm: string | undefined
  readonly keyAlgorithm: string | undefined
  /** The client certificate, DER. */
  readonly clientCertificate: Buffer | undefined
}

/** The known TLVs of a header, read. A field is undefined when its TLV is absent or not as defined. */
export interface ProxyTlvFacts {
  /** ALPN protocol, such as `h2` (0x01). */
  readonly alpn: string | undefined
  /** Host name that the client asked for, such as the SNI (0x02). */
  readonly authority: string | undefined
  /** Opaque, at most 128 bytes (0x05). */
  readonly uniqueId: Buffer | undefined
  /** Network namespace (0x30). */
  readonly netns: string | undefined
  readonly tls: ProxyTlsFacts | undefined
  /** `vpce-…` (AWS, 0xEA). */
  readonly awsVpcEndpointId: string | undefined
  /** Private Link ID (Azure, 0xEE). */
  readonly azureLinkId: number | undefined
  /** Private Service Connect connection ID (Google Cloud, 0xE0). */
  readonly gcpConnectionId: bigint | undefined
}

export const TLV_ALPN: number = 0x01
export const TLV_AUTHORITY: number = 0x02
export const TLV_SSL: number = 0x20
const UNIQUE_ID = 0x05
const NETNS = 0x30
const GCP = 0xe0
const AWS = 0xea
const AZURE = 0xee
const UNIQUE_ID_BYTES_MAX = 128

export const TLV_SSL_VERSION: number = 0x21
export const TLV_SSL_COMMON_NAME: number = 0x22
export const TLV_SSL_CIPHER: number = 0x23
const SSL_SIGNATURE = 0x24
const SSL_KEY = 0x25
const SSL_CLIENT_CERTIFICATE = 0x28

/** Reads the TLVs that have a meaning for all, or for one of the large clouds. The first of a type counts. */
export function proxyTlvFacts(tlvs: readonly ProxyTlv[]): ProxyTlvFacts {
  const find = (type: number) => tlvs.find((tlv) => tlv.type === type)?.value
  const uniqueId = find(UNIQUE_ID)
  const gcp = find(GCP)
  const aws = find(AWS)
  const azure = find(AZURE)
  const ssl = find(TLV_SSL)
  return {
    alpn: find(TLV_ALPN)?.toString('latin1'),
    authority: find(TLV_AUTHORITY)?.toString('utf8'),
    uniqueId: uniqueId === undefined || uniqueId.length > UNIQUE_ID_BYTES_MAX ? undefined : uniqueId,
    netns: find(NETNS)?.toString('latin1'),
    tls: ssl === undefined ? undefined : readTls(ssl),
    awsVpcEndpointId: aws?.[0] === 1 ? aws.toString('latin1', 1) : undefined,
    azureLinkId: azure?.[0] === 1 && azure.length === 5 ? azure.readUInt32LE(1) : undefined,
    gcpConnectionId: gcp?.length === 8 ? gcp.readBigUInt64BE() : undefined,
  }
}

function readTls(value: Buffer): ProxyTlsFacts | undefined {
  if (value.length < 5) return undefined
  const client = value[0] as number
  const parts: Map<number, Buffer> = new Map()
  for (let at = 5; at < value.length; ) {
    if (at + 3 > value.length) return undefined
    const end = at + 3 + value.readUInt16BE(at + 1)
    if (end > value.length) return undefined
    const type = value[at] as number
    if (!parts.has(type)) parts.set(type, value.subarray(at + 3, end))
    at = end
  }
  const hasCertificate = (client & 0x06) !== 0
  return {
    tls: (client & 0x01) !== 0,
    certificateOnConnection: (client & 0x02) !== 0,
    certificateInSession: (client & 0x04) !== 0,
    // Zero means success, and is also what a sender leaves when there was nothing to verify.
    verified: hasCertificate && value.readUInt32BE(1) === 0,
    version: parts.get(TLV_SSL_VERSION)?.toString('latin1'),
    cipher: parts.get(TLV_SSL_CIPHER)?.toString('latin1'),
    commonName: parts.get(TLV_SSL_COMMON_NAME)?.toString('utf8'),
    signatureAlgorithm: parts.get(SSL_SIGNATURE)?.toString('latin1'),
    keyAlgorithm: parts.get(SSL_KEY)?.toString('latin1'),
    clientCertificate: parts.get(SSL_CLIENT_CERTIFICATE),
  }
}
