import type { ConnectionDigest, TlsDigest } from '../sockets/digest.ts'
import type { ProxyTlv } from './proxy-header.ts'
import {
  TLV_ALPN,
  TLV_AUTHORITY,
  TLV_SSL,
  TLV_SSL_CIPHER,
  TLV_SSL_COMMON_NAME,
  TLV_SSL_VERSION,
} from './tlv-facts.ts'

const CLIENT_SSL = 0x01
const CLIENT_CERTIFICATE_ON_CONNECTION = 0x02
const CLIENT_CERTIFICATE_IN_SESSION = 0x04

/**
 * The TLVs that tell an upstream what TLS the client spoke: its ALPN protocol, the server name, version, cipher (by
 * its standard name), and whether it has shown a certificate, with the common name of one that is verified. None for a
 * client that spoke none.
 *
 * @example
 * const digest = session.digest()
 * new HttpPeer(backend, { sendProxyProtocol: proxyHeaderFor(digest, 2, { tlvs: proxyTlvsFor(digest) }) })
 */
export function proxyTlvsFor(digest: Pick<ConnectionDigest, 'tls'>): ProxyTlv[] {
  const { tls } = digest
  if (tls === undefined) return []
  const tlvs: ProxyTlv[] = []
  if (tls.alpn !== undefined) tlvs.push({ type: TLV_ALPN, value: Buffer.from(tls.alpn, 'latin1') })
  if (tls.sni !== undefined) tlvs.push({ type: TLV_AUTHORITY, value: Buffer.from(tls.sni) })
  tlvs.push({ type: TLV_SSL, value: sslValue(tls) })
  return tlvs
}

function sslValue({ version, cipher, resumed, peerCertificate }: TlsDigest): Buffer {
  const isVerified = peerCertificate?.verified === true
  const head = Buffer.alloc(5)
  head[0] = CLIENT_SSL
  if (peerCertificate !== undefined) {
    head[0] |= CLIENT_CERTIFICATE_IN_SESSION | (resumed ? 0 : CLIENT_CERTIFICATE_ON_CONNECTION)
  }
  // Zero says that a certificate was shown and is good, and nothing else.
  head.writeUInt32BE(isVerified ? 0 : 1, 1)
  const parts = [head, subTlv(TLV_SSL_VERSION, version), subTlv(TLV_SSL_CIPHER, cipher)]
  const name = isVerified ? commonName(peerCertificate.subject) : undefined
  if (name !== undefined) parts.push(subTlv(TLV_SSL_COMMON_NAME, name))
  return Buffer.concat(parts)
}

function subTlv(type: number, text: string): Buffer {
  const value = Buffer.from(text)
  const head = Buffer.from([type, 0, 0])
  head.writeUInt16BE(value.length, 1)
  return Buffer.concat([head, value])
}

/** The first common name of a subject as Node.js writes it: one field a line, escaped as RFC 2253 says. */
function commonName(subject: string): string | undefined {
  const line = /^CN=(.*)$/m.exec(subject)?.[1]
  return line?.replace(/\\([0-9A-F]{2}|.)/g, (_escape, what: string) =>
    what.length === 2 ? String.fromCharCode(Number.parseInt(what, 16)) : what,
  )
}
