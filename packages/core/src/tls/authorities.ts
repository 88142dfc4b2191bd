import { X509Certificate } from 'node:crypto'
import { createSecureContext } from 'node:tls'

/** PEM, in one piece or several. */
export type Pem = string | Buffer | readonly (string | Buffer)[]

const CERTIFICATE_LABEL: RegExp = /-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----/g
const CERTIFICATE: RegExp =
  /-----BEGIN ((?:TRUSTED |X509 )?CERTIFICATE)-----\s[A-Za-z0-9+/=\s]+-----END \1-----/g
const CRL_LABEL: RegExp = /-----BEGIN X509 CRL-----/g
const CRL: RegExp = /-----BEGIN X509 CRL-----\s[A-Za-z0-9+/=\s]+-----END X509 CRL-----/g

/**
 * The certificates in PEM, each by itself. OpenSSL takes those that it can read and says nothing of the rest.
 *
 * @throws {TypeError} If there is none, or one that cannot be read, without quoting it.
 */
export function readAuthorities(pem: Pem): string[] {
  return split(pem, 'certificate', CERTIFICATE, CERTIFICATE_LABEL, (text) => new X509Certificate(text))
}

/** The lists of revoked certificates in PEM, each by itself: Node.js reads the first of each text only. @throws {TypeError} */
export function readRevocations(pem: Pem): string[] {
  return split(pem, 'list of revoked certificates', CRL, CRL_LABEL, (crl) => createSecureContext({ crl }))
}

function split(
  pem: Pem,
  what: string,
  whole: RegExp,
  label: RegExp,
  parse: (text: string) => unknown,
): string[] {
  const parts = typeof pem === 'string' || Buffer.isBuffer(pem) ? [pem] : pem
  if (Array.isArray(parts) && parts.length === 0) throw new TypeError(`There is no ${what} in it`)
  if (!Array.isArray(parts)) throw new TypeError(`Expected PEM, received ${typeof pem}`)
  return (parts as readonly (string | Buffer)[]).flatMap((part) => {
    if (typeof part !== 'string' && !Buffer.isBuffer(part)) {
      throw new TypeError(`Expected PEM, received ${typeof part}`)
    }
    const text = typeof part === 'string' ? part : part.toString('latin1')
    const found = text.match(whole) ?? []
    if (found.length === 0) throw new TypeError(`There is no ${what} in it`)
    if (found.length !== text.match(label)?.length) {
      throw new TypeError(`It is cut off or damaged: only ${found.length} of it can be read`)
    }
    found.forEach((one, index) => {
      try {
        parse(one)
      } catch (cause) {
        throw new TypeError(`The ${what} number ${index + 1} cannot be read: ${(cause as Error).message}`, {
          cause,
        })
      }
    })
    return found
  })
}
