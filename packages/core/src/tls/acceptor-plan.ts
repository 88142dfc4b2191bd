import { resolve } from 'node:path'
import type { SecureContextOptions, TlsOptions } from 'node:tls'
import { inspect } from 'node:util'
import { integer, rejectUnknown } from '../option-checks.ts'
import { guardCallbacks } from './guard.ts'
import { type CheckedIdentity, checkIdentity, readPem } from './identity.ts'
import type { TlsCertificate, TlsListenerOptions } from './listener-options.ts'
import { Policies, type PolicyPlan } from './policies.ts'
import { profileOptions } from './profile.ts'
import { RuntimePolicies } from './runtime-policies.ts'
import { TicketKeys } from './ticket-keys.ts'

/** As they were given, and absolute: the working directory may change. */
interface CertificateFiles {
  readonly certFile: string
  readonly keyFile: string
  readonly paths: readonly [certFile: string, keyFile: string]
}

/** Where an identity comes from, and what it is now. */
export interface IdentityPlan {
  readonly files: CertificateFiles | undefined
  readonly passphrase: string | undefined
  readonly checked: CheckedIdentity
}

/** A certificate of the list. */
export interface SitePlan extends IdentityPlan {
  readonly serverNames: readonly string[] | undefined
  readonly policy: PolicyPlan
}

/** A checked `TlsListenerOptions`. */
export interface AcceptorPlan {
  readonly address: string
  /** The default certificate, where it is one that we have read ourselves. */
  readonly identity: IdentityPlan | undefined
  /** False: names that no certificate serves are refused. */
  readonly hasDefault: boolean
  readonly policy: PolicyPlan
  /** Of the listener and its certificates, each once. */
  readonly policies: readonly PolicyPlan[]
  /** Makes those of certificates that are given at run time. */
  readonly runtimePolicies: RuntimePolicies
  readonly sites: readonly SitePlan[]
  readonly ticketKeys: TicketKeys | Buffer
  readonly handshakeTimeoutMs: number
  readonly reloadMs: number
}

const PASS_THROUGH: readonly string[] = [
  'ALPNCallback',
  'ca',
  'cert',
  'ciphers',
  'crl',
  'dhparam',
  'ecdhCurve',
  'honorCipherOrder',
  'key',
  'maxVersion',
  'minVersion',
  'passphrase',
  'pfx',
  'pskCallback',
  'pskIdentityHint',
  'rejectUnauthorized',
  'requestCert',
  'sessionIdContext',
  'sessionTimeout',
  'sigalgs',
  'SNICallback',
]
const OWN_KEYS: readonly string[] = [
  'certFile',
  'certificates',
  'clientCertificates',
  'handshakeTimeoutMs',
  'keyFile',
  'loadCertificate',
  'onHandshakeComplete',
  'onReload',
  'profile',
  'reloadMs',
  'runtimeCertificates',
  'ticketKeys',
]
const SITE_KEYS: readonly string[] = [
  'alpnProtocols',
  'cert',
  'certFile',
  'clientCertificates',
  'key',
  'keyFile',
  'passphrase',
  'serverNames',
]

/** Checks the options and reads their files. Throws TypeError or RangeError saying what is wrong. */
export function planAcceptor(
  address: string,
  options: TlsListenerOptions,
  alpnProtocols: readonly string[] | undefined,
): AcceptorPlan {
  const where = `TLS on ${address}`
  rejectUnknown(options, [...PASS_THROUGH, ...OWN_KEYS], where)
  checkCallbacks(options, where)
  const { certificates = [], loadCertificate, SNICallback } = options
  if (!Array.isArray(certificates)) {
    throw new TypeError(`Expected certificates of ${where} to be an array, received ${inspect(certificates)}`)
  }
  if (SNICallback !== undefined && (certificates.length > 0 || loadCertificate !== undefined)) {
    throw new TypeError(`${where} takes "SNICallback" or "certificates" and "loadCertificate", not both`)
  }
  const ticketKeys = options.ticketKeys ?? new TicketKeys()
  if (!(ticketKeys instanceof TicketKeys) && !(Buffer.isBuffer(ticketKeys) && ticketKeys.length === 48)) {
    throw new TypeError(`Expected ticketKeys of ${where} to be TicketKeys or a Buffer of 48 bytes`)
  }
  const shared = sharedOptions(options)
  const identity = planIdentity(options, where)
  if (identity !== undefined) Object.assign(shared, secrets(identity))
  const hasDefault = shared.pfx !== undefined || (shared.cert !== undefined && shared.key !== undefined)
  const others = [shared.pskCallback, SNICallback, loadCertificate].some((way) => way !== undefined)
  if (!hasDefault && !others && certificates.length === 0) {
    throw new TypeError(
      `${where} needs a certificate and key, certificates, loadCertificate, SNICallback or pskCallback`,
    )
  }
  const { clientCertificates } = options
  const policies = new Policies(shared, options, where)
  const policy = policies.get(alpnProtocols, clientCertificates)
  const sites = certificates.map((site: TlsCertificate, index) =>
    planSite(site, `certificates[${index}] of ${where}`, policies, { alpnProtocols, clientCertificates }),
  )
  return {
    address,
    identity,
    hasDefault,
    policy,
    policies: policies.all,
    runtimePolicies: new RuntimePolicies(policies, policy, clientCertificates),
    sites,
    ticketKeys,
    handshakeTimeoutMs: integer('handshakeTimeoutMs', options.handshakeTimeoutMs ?? 10_000, 1, 3_600_000),
    reloadMs: integer('reloadMs', options.reloadMs ?? 60_000, 0, 86_400_000),
  }
}

function checkCallbacks(options: TlsListenerOptions, where: string): void {
  const { loadCertificate, onHandshakeComplete, runtimeCertificates } = options
  if (loadCertificate !== undefined && typeof loadCertificate !== 'function') {
    throw new TypeError(`Expected loadCertificate of ${where} to be a function`)
  }
  if (onHandshakeComplete !== undefined && typeof onHandshakeComplete !== 'function') {
    throw new TypeError(
      `Expected onHandshakeComplete of ${where} to be a function, received ${inspect(onHandshakeComplete)}`,
    )
  }
  if (runtimeCertificates !== undefined && loadCertificate === undefined) {
    throw new TypeError(`"runtimeCertificates" of ${where} has no effect without "loadCertificate"`)
  }
}

/** Checks a certificate of the list; what it says nothing of is as in `listener`. */
function planSite(
  site: TlsCertificate,
  place: string,
  policies: Policies,
  listener: {
    readonly alpnProtocols: TlsCertificate['alpnProtocols']
    readonly clientCertificates: TlsCertificate['clientCertificates']
  },
): SitePlan {
  rejectUnknown(site, SITE_KEYS, place)
  const own = planIdentity(site, place)
  if (own === undefined) throw new TypeError(`${place} needs a certificate and key`)
  const { serverNames, alpnProtocols, clientCertificates } = site
  if (own.checked.names.length === 0 && serverNames === undefined) {
    throw new TypeError(`${place} has no DNS names, so it needs "serverNames"`)
  }
  if (serverNames !== undefined && !Array.isArray(serverNames)) {
    throw new TypeError(`Expected serverNames of ${place} to be an array, received ${inspect(serverNames)}`)
  }
  const alpn = alpnProtocols === undefined ? listener.alpnProtocols : policies.checkAlpn(alpnProtocols, place)
  const policy = policies.get(alpn, clientCertificates ?? listener.clientCertificates)
  return { ...own, serverNames, policy }
}

/** The certificate and key as options of Node.js. */
export function secrets(plan: Pick<IdentityPlan, 'checked'>): SecureContextOptions {
  const { cert, key, passphrase } = plan.checked.identity
  return { cert, key, ...(passphrase === undefined ? {} : { passphrase }) }
}

function sharedOptions(options: TlsListenerOptions): TlsOptions {
  const shared: TlsOptions = { ...profileOptions(options.profile ?? 'intermediate'), allowHalfOpen: true }
  for (const key of PASS_THROUGH) {
    const value = (options as Record<string, unknown>)[key]
    if (value !== undefined) (shared as Record<string, unknown>)[key] = value
  }
  guardCallbacks(shared)
  return shared
}

/** Reads and checks one certificate and key; undefined if there is none, or it has a form for Node.js alone. */
function planIdentity(options: TlsCertificate | TlsListenerOptions, where: string): IdentityPlan | undefined {
  const { certFile, keyFile, passphrase } = options
  if ((certFile === undefined) !== (keyFile === undefined)) {
    throw new TypeError(`"certFile" and "keyFile" of ${where} go together`)
  }
  for (const [file, pem] of [
    ['certFile', 'cert'],
    ['keyFile', 'key'],
  ] as const) {
    if (options[file] !== undefined && options[pem] !== undefined) {
      throw new TypeError(`${where} has both "${file}" and "${pem}"`)
    }
  }
  const files: CertificateFiles | undefined =
    certFile === undefined || keyFile === undefined
      ? undefined
      : { certFile, keyFile, paths: [resolve(certFile), resolve(keyFile)] }
  const cert = files === undefined ? options.cert : readPem(where, files.certFile)
  const key = files === undefined ? options.key : readPem(where, files.keyFile)
  if (!isPem(cert) || !isPem(key)) return undefined
  const identity = { cert, key, ...(passphrase === undefined ? {} : { passphrase }) }
  try {
    return { files, passphrase, checked: checkIdentity(identity) }
  } catch (cause) {
    throw new TypeError(
      `Invalid TLS options for ${where.replace('TLS on ', '')}: ${(cause as Error).message}`,
      { cause },
    )
  }
}

function isPem(value: unknown): value is string | Buffer {
  return typeof value === 'string' || Buffer.isBuffer(value)
}
