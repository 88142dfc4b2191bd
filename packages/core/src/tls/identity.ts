import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'

/** A certificate chain and its private key, PEM. The leaf comes first. */
export interface TlsIdentity {
  readonly cert: string | Buffer
  readonly key: string | Buffer
  /** For an encrypted key. */
  readonly passphrase?: string
}

/** A {@link TlsIdentity} whose key belongs to its certificate. */
export interface CheckedIdentity {
  readonly identity: TlsIdentity
  /** The DNS names in the certificate. */
  readonly names: readonly string[]
  readonly validFromMs: number
  readonly validToMs: number
}

/** Parses both and compares them. Throws TypeError saying what is wrong, without quoting either. */
export function checkIdentity(identity: TlsIdentity): CheckedIdentity {
  const certificate = parse('certificate', () => new X509Certificate(identity.cert))
  const { key, passphrase } = identity
  const privateKey = parse('key', () =>
    createPrivateKey({ key, ...(passphrase === undefined ? {} : { passphrase }) }),
  )
  if (!certificate.checkPrivateKey(privateKey)) throw new TypeError('The key is not that of the certificate')
  return {
    identity,
    names: dnsNames(certificate.subjectAltName),
    validFromMs: Date.parse(certificate.validFrom),
    validToMs: Date.parse(certificate.validTo),
  }
}

/** What is wrong with the time in a certificate, or undefined. */
export function timeProblem(checked: CheckedIdentity, nowMs: number): string | undefined {
  if (checked.validToMs <= nowMs) return 'The certificate has expired'
  if (checked.validFromMs > nowMs) return 'The certificate is not valid yet'
  return undefined
}

/** Reads a file, at start. @throws {TypeError} */
export function readPem(where: string, path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (cause) {
    throw new TypeError(`Cannot read "${path}" for ${where}: ${(cause as Error).message}`, { cause })
  }
}

function parse<T>(what: string, read: () => T): T {
  try {
    return read()
  } catch (cause) {
    throw new TypeError(`Cannot read the ${what}: ${(cause as Error).message}`, { cause })
  }
}

/** Node.js puts quotes around an entry with unusual characters, so such an entry cannot pass for several. */
function dnsNames(subjectAltName: string | undefined): readonly string[] {
  const entries = subjectAltName?.split(', ') ?? []
  return entries.flatMap((entry) => /^DNS:([A-Za-z0-9_.*-]+)$/.exec(entry)?.[1] ?? [])
}
