import { createHash } from 'node:crypto'
import type { TlsOptions } from 'node:tls'
import { inspect } from 'node:util'
import {
  type ClientCertificates,
  type ClientPolicy,
  type ClientTrust,
  planClientCertificates,
} from './client-certificates.ts'
import type { TlsListenerOptions } from './listener-options.ts'

/** What a handshake is made with, apart from its certificate. Equal ones share a TLS server and its sessions. */
export interface PolicyPlan {
  readonly alpnProtocols: readonly string[] | undefined
  readonly clients: ClientPolicy | undefined
  /** What {@link tls} is made of: it does not depend on files. */
  readonly base: TlsOptions
  /** Another object whenever it has changed. */
  tls: TlsOptions
}

/** Longest list, and longest name in it: RFC 7301 §3.1 has one byte for its length. */
const ALPN_PROTOCOLS_MAX = 32
const ALPN_BYTES_MAX = 255

/** Makes each policy once: those that ask the same of clients share sessions, others never do. */
export class Policies {
  readonly all: PolicyPlan[] = []
  readonly #shared: TlsOptions
  readonly #options: TlsListenerOptions
  readonly #where: string
  readonly #clients: Map<object, ClientPolicy> = new Map()

  /** @param shared - The options of Node.js that stand for all names. */
  constructor(shared: TlsOptions, options: TlsListenerOptions, where: string) {
    this.#shared = shared
    this.#options = options
    this.#where = where
  }

  /** @throws {TypeError | RangeError} */
  get(
    alpnProtocols: readonly string[] | undefined,
    clientCertificates: ClientCertificates | 'none' | undefined,
  ): PolicyPlan {
    const clients = this.#known(clientCertificates)
    const alpn = JSON.stringify(alpnProtocols)
    const known = this.all.find(
      (policy) => policy.clients === clients && JSON.stringify(policy.alpnProtocols) === alpn,
    )
    if (known !== undefined) return known
    const policy = this.make(alpnProtocols, clients)
    this.all.push(policy)
    return policy
  }

  make(alpnProtocols: readonly string[] | undefined, clients: ClientPolicy | undefined): PolicyPlan {
    const base: TlsOptions = { ...this.#shared }
    if (alpnProtocols !== undefined && base.ALPNCallback === undefined)
      base.ALPNProtocols = [...alpnProtocols]
    return { alpnProtocols, clients, base, tls: withClients(base, clients) }
  }

  /** @throws {TypeError} For what is no list of protocols, or would have no effect. */
  checkAlpn(alpnProtocols: unknown, where: string): readonly string[] {
    const isList =
      Array.isArray(alpnProtocols) &&
      alpnProtocols.length > 0 &&
      alpnProtocols.length <= ALPN_PROTOCOLS_MAX &&
      alpnProtocols.every((name) => typeof name === 'string' && name !== '' && name.length <= ALPN_BYTES_MAX)
    if (!isList) {
      throw new TypeError(
        `Expected alpnProtocols of ${where} to be an array of up to ${ALPN_PROTOCOLS_MAX} names, received ${inspect(alpnProtocols)}`,
      )
    }
    if (this.#shared.ALPNCallback !== undefined) {
      throw new TypeError(`"alpnProtocols" of ${where} has no effect beside "ALPNCallback"`)
    }
    return alpnProtocols as readonly string[]
  }

  /** Checks what is asked of clients. @throws {TypeError | RangeError} */
  plan(clientCertificates: ClientCertificates | 'none' | undefined, where: string): ClientPolicy | undefined {
    const { requestCert, rejectUnauthorized, ca, crl } = this.#options
    if (clientCertificates === 'none' && requestCert === true) {
      throw new TypeError(
        `${this.#where} takes "clientCertificates" instead of "requestCert" to ask some clients only`,
      )
    }
    if (clientCertificates === undefined || clientCertificates === 'none') return undefined
    if ([requestCert, rejectUnauthorized, ca, crl].some((option) => option !== undefined)) {
      throw new TypeError(
        `${this.#where} takes "clientCertificates" or "requestCert", "rejectUnauthorized", "ca" and "crl", not both`,
      )
    }
    return planClientCertificates(clientCertificates, where)
  }

  #known(clientCertificates: ClientCertificates | 'none' | undefined): ClientPolicy | undefined {
    const isObject = typeof clientCertificates === 'object' && clientCertificates !== null
    const known = isObject ? this.#clients.get(clientCertificates) : undefined
    if (known !== undefined) return known
    const policy = this.plan(clientCertificates, this.#where)
    if (isObject && policy !== undefined) this.#clients.set(clientCertificates, policy)
    return policy
  }
}

/** The options of a policy's handshakes. */
export function withClients(
  base: TlsOptions,
  clients: ClientPolicy | undefined,
  trust: ClientTrust | undefined = clients?.trust,
): TlsOptions {
  const tls: TlsOptions = { ...base }
  if (clients !== undefined && trust !== undefined) {
    tls.requestCert = true
    tls.rejectUnauthorized = clients.mode === 'require'
    tls.ca = trust.ca
    if (trust.crl !== undefined) tls.crl = trust.crl
  }
  tls.sessionIdContext = sessionScope(tls)
  return tls
}

/** Options of Node.js without a certificate and key. */
export function withoutIdentity(tls: TlsOptions): TlsOptions {
  const { cert: _cert, key: _key, passphrase: _passphrase, pfx: _pfx, ...rest } = tls
  return rest
}

/**
 * Sessions are resumed only where the same was asked of the client: otherwise one made without a certificate would
 * open a site that requires one (as in CVE-2025-23419), and one that was made when an authority was trusted would
 * outlive it. Node.js's default is made from the command line, which differs between a process and its successor.
 */
function sessionScope(tls: TlsOptions): string {
  const { ALPNProtocols, requestCert, rejectUnauthorized, ca, crl, sessionIdContext } = tls
  const hash = createHash('sha256')
  const pem = [ca, crl].map((part) => [part ?? []].flat().map(String))
  hash.update(JSON.stringify([sessionIdContext, ALPNProtocols, requestCert, rejectUnauthorized, pem]))
  return hash.digest('hex').slice(0, 32)
}
