import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { SecureContextOptions, TlsOptions } from 'node:tls'
import { inspect } from 'node:util'
import { integer, rejectUnknown } from '../listening/listener-options.ts'
import { type ClientPolicy, planClientCertificates } from './client-certificates.ts'
import { guardCallbacks } from './guard.ts'
import { type CheckedIdentity, checkIdentity } from './identity.ts'
import type { TlsCertificate, TlsListenerOptions } from './listener-options.ts'
import { profileOptions } from './profile.ts'
import { TicketKeys } from './ticket-keys.ts'

/** Where an identity comes from, and what it is now. */
export interface IdentityPlan {
  readonly files: { readonly certFile: string; readonly keyFile: string } | undefined
  readonly passphrase: string | undefined
  readonly checked: CheckedIdentity
}

/** What a handshake is made with, apart from its certificate. Equal ones share a TLS server and its sessions. */
export interface PolicyPlan {
  readonly alpnProtocols: readonly string[] | undefined
  readonly clients: ClientPolicy | undefined
  readonly tls: TlsOptions
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
  const { certificates = [], loadCertificate, SNICallback } = options
  if (!Array.isArray(certificates)) {
    throw new TypeError(`Expected certificates of ${where} to be an array, received ${inspect(certificates)}`)
  }
  if (loadCertificate !== undefined && typeof loadCertificate !== 'function') {
    throw new TypeError(`Expected loadCertificate of ${where} to be a function`)
  }
  const { onHandshakeComplete } = options
  if (onHandshakeComplete !== undefined && typeof onHandshakeComplete !== 'function') {
    throw new TypeError(
      `Expected onHandshakeComplete of ${where} to be a function, received ${inspect(onHandshakeComplete)}`,
    )
  }
  if (options.runtimeCertificates !== undefined && loadCertificate === undefined) {
    throw new TypeError(`"runtimeCertificates" of ${where} has no effect without "loadCertificate"`)
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
  const policies = new Policies(shared, options, where)
  const policy = policies.get(alpnProtocols, options.clientCertificates)
  const sites = certificates.map((site: TlsCertificate, index): SitePlan => {
    const place = `certificates[${index}] of ${where}`
    rejectUnknown(site, SITE_KEYS, place)
    const own = planIdentity(site, place)
    if (own === undefined) throw new TypeError(`${place} needs a certificate and key`)
    if (own.checked.names.length === 0 && site.serverNames === undefined) {
      throw new TypeError(`${place} has no DNS names, so it needs "serverNames"`)
    }
    return {
      ...own,
      serverNames: site.serverNames,
      policy: policies.get(
        site.alpnProtocols ?? alpnProtocols,
        site.clientCertificates ?? options.clientCertificates,
      ),
    }
  })
  return {
    address,
    identity,
    hasDefault,
    policy,
    sites,
    ticketKeys,
    handshakeTimeoutMs: integer('handshakeTimeoutMs', options.handshakeTimeoutMs ?? 10_000, 1, 3_600_000),
    reloadMs: integer('reloadMs', options.reloadMs ?? 60_000, 0, 86_400_000),
  }
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
  const files = certFile === undefined || keyFile === undefined ? undefined : { certFile, keyFile }
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

function readPem(where: string, path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (cause) {
    throw new TypeError(`Cannot read "${path}" for ${where}: ${(cause as Error).message}`, { cause })
  }
}

/** Makes each policy once: those that ask the same of clients share sessions, others never do. */
class Policies {
  readonly #shared: TlsOptions
  readonly #options: TlsListenerOptions
  readonly #where: string
  readonly #clients: Map<object, ClientPolicy> = new Map()
  readonly #known: {
    readonly clients: ClientPolicy | undefined
    readonly alpn: string
    readonly plan: PolicyPlan
  }[] = []

  constructor(shared: TlsOptions, options: TlsListenerOptions, where: string) {
    this.#shared = shared
    this.#options = options
    this.#where = where
  }

  get(
    alpnProtocols: readonly string[] | undefined,
    clients: TlsCertificate['clientCertificates'],
  ): PolicyPlan {
    if (clients === 'none' && this.#options.requestCert === true) {
      throw new TypeError(
        `${this.#where} takes "clientCertificates" instead of "requestCert" to ask some clients only`,
      )
    }
    const policy = this.#plan(clients)
    const alpn = JSON.stringify(alpnProtocols ?? null)
    const known = this.#known.find((other) => other.clients === policy && other.alpn === alpn)
    if (known !== undefined) return known.plan
    const plan = { alpnProtocols, clients: policy, tls: this.#tls(alpnProtocols, policy) }
    this.#known.push({ clients: policy, alpn, plan })
    return plan
  }

  #plan(clients: TlsCertificate['clientCertificates']): ClientPolicy | undefined {
    if (clients === undefined || clients === 'none') return undefined
    const { requestCert, rejectUnauthorized, ca, crl } = this.#options
    if ([requestCert, rejectUnauthorized, ca, crl].some((option) => option !== undefined)) {
      throw new TypeError(
        `${this.#where} takes "clientCertificates" or "requestCert", "rejectUnauthorized", "ca" and "crl", not both`,
      )
    }
    let policy = this.#clients.get(clients)
    if (policy === undefined) {
      policy = planClientCertificates(clients, this.#where)
      this.#clients.set(clients, policy)
    }
    return policy
  }

  #tls(alpn: readonly string[] | undefined, clients: ClientPolicy | undefined): TlsOptions {
    const tls: TlsOptions = { ...this.#shared }
    if (alpn !== undefined && tls.ALPNCallback === undefined) tls.ALPNProtocols = [...alpn]
    if (clients !== undefined) {
      tls.requestCert = true
      tls.rejectUnauthorized = clients.mode === 'require'
      tls.ca = clients.ca
      if (clients.crl !== undefined) tls.crl = clients.crl
    }
    tls.sessionIdContext = sessionScope(tls)
    return tls
  }
}

/**
 * Sessions are resumed only where the same was asked of the client: otherwise one made without a certificate would
 * open a site that requires one (as in CVE-2025-23419). Node.js's default is made from the command line, which
 * differs between a process and its successor.
 */
function sessionScope(tls: TlsOptions): string {
  const { ALPNProtocols, requestCert, rejectUnauthorized, ca, crl, sessionIdContext } = tls
  const hash = createHash('sha256')
  const pem = [ca, crl].map((part) => [part ?? []].flat().map(String))
  hash.update(JSON.stringify([sessionIdContext, ALPNProtocols, requestCert, rejectUnauthorized, pem]))
  return hash.digest('hex').slice(0, 32)
}
