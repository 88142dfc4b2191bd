import { createHash } from 'node:crypto'
import { resolve } from 'node:path'
import type { TLSSocket } from 'node:tls'
import { inspect } from 'node:util'
import { integer, rejectUnknown } from '../option-checks.ts'
import { type Pem, readAuthorities, readRevocations } from './authorities.ts'
import { type CertificateFacts, certificateFacts } from './certificate-facts.ts'
import { digestOf } from './followed-files.ts'
import { readPem } from './identity.ts'

/** What is asked of clients: a certificate, and from whom. */
export interface ClientCertificates {
  /**
   * `require` refuses a handshake without a certificate; `optional` lets it pass, and
   * `digest.tls.peerCertificate` tells which it was. Either refuses one that the authorities did not sign.
   */
  readonly mode: 'require' | 'optional'
  /** PEM of the authorities that sign clients. There is no default: the public ones sign anybody. */
  readonly ca?: Pem
  /** The same from a file. Read when the listener is added, and again when it changes; see `reloadMs`. */
  readonly caFile?: string
  /** Revoked certificates, PEM; a revocation counts for sessions that begin after it was given. */
  readonly crl?: Pem
  /** The same from a file, read as `caFile` is. Sessions that were made with another one are not resumed. */
  readonly crlFile?: string
  /**
   * Decides about a certificate that the authorities signed. Called once per handshake, resumed ones included.
   * Anything but true, a throw, a rejection or the time-out refuses the connection.
   *
   * @param serverName - What the client asked for, if it is known: not on resumed TLS 1.2 sessions.
   */
  readonly verify?: (
    certificate: CertificateFacts,
    serverName: string | undefined,
  ) => boolean | Promise<boolean>
  /** How long `verify` may take, in ms. Default 5,000. */
  readonly verifyTimeoutMs?: number
}

/** Who signs clients, and which of those certificates are good no longer. */
export interface ClientTrust {
  readonly ca: string[]
  readonly crl: string[] | undefined
}

/** {@link ClientCertificates} with its files read and defaults filled in. */
export interface ClientPolicy {
  readonly mode: 'require' | 'optional'
  readonly caFile: string | undefined
  readonly crlFile: string | undefined
  /** Both, absolute: the working directory may change. */
  readonly paths: readonly string[]
  /** Of what the files held when they were first read. */
  readonly filesDigest: string
  /** Replaced as a whole when the files have changed. */
  trust: ClientTrust
  /** The same for what asks the same of clients, whatever made it; it changes with the files' content as well. */
  key: string
  readonly verify: ClientCertificates['verify']
  readonly verifyTimeoutMs: number
}

const KEYS: readonly string[] = ['mode', 'ca', 'caFile', 'crl', 'crlFile', 'verify', 'verifyTimeoutMs']

/** Checks what was given. @throws {TypeError | RangeError} */
export function planClientCertificates(options: ClientCertificates, where: string): ClientPolicy {
  if (typeof options !== 'object' || options === null) {
    throw new TypeError(
      `Expected clientCertificates of ${where} to be an object or 'none', received ${inspect(options)}`,
    )
  }
  rejectUnknown(options, KEYS, `clientCertificates of ${where}`)
  const { mode, ca, caFile, crl, crlFile, verify } = options
  if (mode !== 'require' && mode !== 'optional') {
    throw new TypeError(
      `Expected the mode of clientCertificates of ${where} to be require or optional, received ${inspect(mode)}`,
    )
  }
  if ((ca === undefined) === (caFile === undefined)) {
    throw new TypeError(`clientCertificates of ${where} need "ca" or "caFile": who signs the clients?`)
  }
  if (verify !== undefined && typeof verify !== 'function') {
    throw new TypeError(`Expected verify of clientCertificates to be a function, received ${inspect(verify)}`)
  }
  if (crl !== undefined && crlFile !== undefined) {
    throw new TypeError(`clientCertificates of ${where} have both "crl" and "crlFile"`)
  }
  const files = [caFile, crlFile].filter((path) => path !== undefined)
  const contents = files.map((path) => readPem(`clientCertificates of ${where}`, path))
  const given = (name: string) => `"${name}" of clientCertificates of ${where}`
  const authorities = caFile === undefined ? (ca as Pem) : (contents[0] as Buffer)
  const revocations = crlFile === undefined ? crl : contents.at(-1)
  const trust = {
    ca: inForm(given(caFile === undefined ? 'ca' : 'caFile'), () => readAuthorities(authorities)),
    crl:
      revocations === undefined
        ? undefined
        : inForm(given(crlFile === undefined ? 'crl' : 'crlFile'), () => readRevocations(revocations)),
  }
  const verifyTimeoutMs = integer('verifyTimeoutMs', options.verifyTimeoutMs ?? 5_000, 1, 600_000)
  const key = keyOf(mode, trust, verify, verifyTimeoutMs)
  const filesDigest = digestOf(contents)
  const paths = files.map((path) => resolve(path))
  return { mode, caFile, crlFile, paths, filesDigest, trust, key, verify, verifyTimeoutMs }
}

function inForm(shown: string, read: () => string[]): string[] {
  try {
    return read()
  } catch (cause) {
    throw new TypeError(`Invalid ${shown}: ${(cause as Error).message}`, { cause })
  }
}

/** Uses what the files of a policy hold now; it was read with {@link readAuthorities} and {@link readRevocations}. */
export function replaceTrust(policy: ClientPolicy, trust: ClientTrust): void {
  policy.trust = trust
  policy.key = keyOf(policy.mode, trust, policy.verify, policy.verifyTimeoutMs)
}

const verifiers: WeakMap<object, number> = new WeakMap()
let verifierCount = 0

function keyOf(
  mode: string,
  { ca, crl }: ClientTrust,
  verify: ClientCertificates['verify'],
  verifyTimeoutMs: number,
): string {
  let verifier = 0
  if (verify !== undefined) {
    verifier = verifiers.get(verify) ?? ++verifierCount
    verifiers.set(verify, verifier)
  }
  const text = JSON.stringify([mode, ca, crl, verifier, verifyTimeoutMs])
  return createHash('sha256').update(text).digest('base64url')
}

/**
 * Applies a policy to a finished handshake. True or false at once where nothing has to be waited for.
 * Node.js has refused a missing or unsigned certificate already if the mode is `require`; asked again all the same.
 */
export function admitClient(policy: ClientPolicy, socket: TLSSocket): boolean | Promise<boolean> {
  const certificate = socket.getPeerX509Certificate()
  if (certificate === undefined || certificate === null) return policy.mode === 'optional'
  if (!socket.authorized) return false
  // A resumed session was verified when it was made.
  if (Date.parse(certificate.validTo) <= Date.now()) return false
  if (policy.verify === undefined) return true
  const serverName: unknown = (socket as { servername?: unknown }).servername
  try {
    const verdict = policy.verify(
      certificateFacts(certificate, true),
      typeof serverName === 'string' && serverName !== '' ? serverName.toLowerCase() : undefined,
    )
    if (typeof verdict === 'boolean') return verdict
    return withinTime(verdict, policy.verifyTimeoutMs)
  } catch {
    return false
  }
}

function withinTime(verdict: Promise<boolean>, ms: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const timer = setTimeout(() => resolve(false), ms).unref()
  Promise.resolve(verdict)
    .then(
      (admitted) => resolve(admitted === true),
      () => resolve(false),
    )
    .finally(() => clearTimeout(timer))
  return promise
}
