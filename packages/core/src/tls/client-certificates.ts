import { readFileSync } from 'node:fs'
import type { TLSSocket } from 'node:tls'
import { inspect } from 'node:util'
import { integer } from '../listening/listener-options.ts'
import { nameHint } from '../nearest-name.ts'
import { type CertificateFacts, certificateFacts } from './certificate-facts.ts'

/** What is asked of clients: a certificate, and from whom. */
export interface ClientCertificates {
  /**
   * `require` refuses a handshake without a certificate; `optional` lets it pass, and
   * `digest.tls.peerCertificate` tells which it was. Either refuses one that the authorities did not sign.
   */
  readonly mode: 'require' | 'optional'
  /** PEM of the authorities that sign clients. There is no default: the public ones sign anybody. */
  readonly ca?: string | Buffer | readonly (string | Buffer)[]
  /** The same from a file, which is read once, when the listener is added. */
  readonly caFile?: string
  /** Revoked certificates, PEM; a revocation counts for sessions that begin after it was given. */
  readonly crl?: string | Buffer | readonly (string | Buffer)[]
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

/** {@link ClientCertificates} with its files read and defaults filled in. */
export interface ClientPolicy {
  readonly mode: 'require' | 'optional'
  readonly ca: (string | Buffer)[]
  readonly crl: (string | Buffer)[] | undefined
  readonly verify: ClientCertificates['verify']
  readonly verifyTimeoutMs: number
}

const KEYS: readonly string[] = ['mode', 'ca', 'caFile', 'crl', 'verify', 'verifyTimeoutMs']

/** Checks what was given. @throws {TypeError | RangeError} */
export function planClientCertificates(options: ClientCertificates, where: string): ClientPolicy {
  for (const key of Object.keys(options)) {
    if (!KEYS.includes(key)) {
      throw new TypeError(`Unknown option "${key}" of clientCertificates of ${where}${nameHint(key, KEYS)}`)
    }
  }
  const { mode, ca, caFile, crl, verify } = options
  if (mode !== 'require' && mode !== 'optional') {
    throw new TypeError(
      `Expected the mode of clientCertificates to be require or optional, received ${inspect(mode)}`,
    )
  }
  if ((ca === undefined) === (caFile === undefined)) {
    throw new TypeError(`clientCertificates of ${where} need "ca" or "caFile": who signs the clients?`)
  }
  if (verify !== undefined && typeof verify !== 'function') {
    throw new TypeError(`Expected verify of clientCertificates to be a function, received ${inspect(verify)}`)
  }
  const authorities = caFile === undefined ? list(ca) : [readFileSync(caFile)]
  if (authorities.length === 0) throw new TypeError(`clientCertificates of ${where} have no authority`)
  return {
    mode,
    ca: authorities,
    crl: crl === undefined ? undefined : list(crl),
    verify,
    verifyTimeoutMs: integer('verifyTimeoutMs', options.verifyTimeoutMs ?? 5_000, 1, 600_000),
  }
}

function list(pem: ClientCertificates['ca']): (string | Buffer)[] {
  if (pem === undefined) return []
  return typeof pem === 'string' || Buffer.isBuffer(pem) ? [pem] : [...pem]
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
