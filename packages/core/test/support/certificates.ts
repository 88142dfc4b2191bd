import {
  createHash,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  X509Certificate,
} from 'node:crypto'

/** A certificate made for a test, and its key. PEM. */
export interface TestCertificate {
  readonly cert: string
  readonly key: string
  readonly name: string
  readonly privateKey: KeyObject
}

/** What a test certificate says. */
export interface TestCertificateInit {
  /** Common name; of an authority also what it is known by. */
  readonly name?: string
  readonly dnsNames?: readonly string[]
  readonly uris?: readonly string[]
  /** Who signs. Default: itself. */
  readonly issuer?: TestCertificate
  readonly isAuthority?: boolean
  /** From now, in days; negative for the past. */
  readonly fromDays?: number
  readonly toDays?: number
}

const DAY_MS = 86_400_000
const ECDSA_SHA256 = der(0x30, oid(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02))

/** Makes an ECDSA P-256 certificate (RFC 5280), so that tests need no tool and no certificate gets old. */
export function makeCertificate(init: TestCertificateInit = {}): TestCertificate {
  const {
    name = 'test',
    dnsNames = [],
    uris = [],
    issuer,
    isAuthority = false,
    fromDays = -1,
    toDays = 30,
  } = init
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
  const alternatives = [
    ...dnsNames.map((text) => der(0x82, Buffer.from(text))),
    ...uris.map((text) => der(0x86, Buffer.from(text))),
  ]
  const extensions = [
    extension([0x55, 0x1d, 0x13], der(0x30, ...(isAuthority ? [der(0x01, Buffer.from([0xff]))] : []))),
    ...(alternatives.length === 0 ? [] : [extension([0x55, 0x1d, 0x11], der(0x30, ...alternatives))]),
  ]
  const signed = der(
    0x30,
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.concat([Buffer.from([1]), randomBytes(15)])),
    ECDSA_SHA256,
    distinguishedName(issuer?.name ?? name),
    der(0x30, time(fromDays), time(toDays)),
    distinguishedName(name),
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, der(0x30, ...extensions)),
  )
  const signature = sign('sha256', signed, issuer?.privateKey ?? privateKey)
  const whole = der(0x30, signed, ECDSA_SHA256, der(0x03, Buffer.from([0]), signature))
  const base64 = whole.toString('base64').replace(/.{64}(?=.)/g, '$&\n')
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
    name,
    privateKey,
  }
}

/** A list of revoked certificates (RFC 5280 §5), PEM. */
export function makeRevocations(issuer: TestCertificate, revoked: readonly TestCertificate[]): string {
  const entries = revoked.map(({ cert }) => {
    const serial = Buffer.from(new X509Certificate(cert).serialNumber, 'hex')
    return der(0x30, der(0x02, serial), time(-0.5))
  })
  const signed = der(
    0x30,
    der(0x02, Buffer.from([1])),
    ECDSA_SHA256,
    distinguishedName(issuer.name),
    time(-1),
    time(30),
    ...(entries.length === 0 ? [] : [der(0x30, ...entries)]),
  )
  const signature = sign('sha256', signed, issuer.privateKey)
  const whole = der(0x30, signed, ECDSA_SHA256, der(0x03, Buffer.from([0]), signature))
  const base64 = whole.toString('base64').replace(/.{64}(?=.)/g, '$&\n')
  return `-----BEGIN X509 CRL-----\n${base64}\n-----END X509 CRL-----\n`
}

/** The fingerprint of a PEM certificate, as Node.js writes it. */
export function fingerprintOf(cert: string): string {
  const bytes = Buffer.from(cert.replace(/-----[^-]+-----/g, ''), 'base64')
  const hex = createHash('sha256').update(bytes).digest('hex').toUpperCase()
  return (hex.match(/../g) ?? []).join(':')
}

function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts)
  const { length } = content
  const head =
    length < 128 ? [tag, length] : length < 256 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 255]
  return Buffer.concat([Buffer.from(head), content])
}

function oid(...bytes: readonly number[]): Buffer {
  return der(0x06, Buffer.from(bytes))
}

function extension(id: readonly number[], value: Buffer): Buffer {
  return der(0x30, oid(...id), der(0x04, value))
}

function distinguishedName(name: string): Buffer {
  return der(0x30, der(0x31, der(0x30, oid(0x55, 0x04, 0x03), der(0x0c, Buffer.from(name)))))
}

function time(days: number): Buffer {
  const text = new Date(Date.now() + days * DAY_MS).toISOString().replace(/[-:T]|\.\d+/g, '')
  return der(0x18, Buffer.from(text))
}
