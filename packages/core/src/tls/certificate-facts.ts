import type { X509Certificate } from 'node:crypto'

/** What a certificate says. Its subject and names may be anything that its issuer signed. */
export interface CertificateFacts {
  /** One `key=value` per line, as Node.js writes it: `CN=client-7\nO=Example`. */
  readonly subject: string
  readonly issuer: string
  /** As Node.js writes it: `DNS:a.example, URI:spiffe://example/a`; undefined if there are none. */
  readonly subjectAltName: string | undefined
  /** Hexadecimal, upper case. */
  readonly serialNumber: string
  /** SHA-256 of the certificate, in upper case hexadecimal with colons. */
  readonly fingerprint256: string
  /** In milliseconds since the epoch. */
  readonly validFromMs: number
  /** In milliseconds since the epoch. */
  readonly validToMs: number
  /** True if its chain led to a trusted authority. Without that, anybody can have made it. */
  readonly verified: boolean
}

export function certificateFacts(certificate: X509Certificate, verified: boolean): CertificateFacts {
  return {
    subject: certificate.subject ?? '',
    issuer: certificate.issuer ?? '',
    subjectAltName: certificate.subjectAltName,
    serialNumber: certificate.serialNumber,
    fingerprint256: certificate.fingerprint256,
    validFromMs: Date.parse(certificate.validFrom),
    validToMs: Date.parse(certificate.validTo),
    verified,
  }
}
