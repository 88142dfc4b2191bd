import { rejectUnknown } from '../option-checks.ts'
import type { ClientCertificates, ClientPolicy } from './client-certificates.ts'
import type { TlsIdentity } from './identity.ts'
import type { Policies, PolicyPlan } from './policies.ts'

/** What `loadCertificate` gives for a name: its certificate, and what is particular to its clients. */
export interface LoadedCertificate extends TlsIdentity {
  /** As in `certificates`; needs `runtimeCertificates.perNamePolicies`. Default: those of the listener's app. */
  readonly alpnProtocols?: readonly string[]
  /**
   * As in `certificates`, without files; needs `runtimeCertificates.perNamePolicies`. Default: what the listener asks;
   * `'none'` asks for nothing.
   */
  readonly clientCertificates?: ClientCertificates | 'none'
}

const LOADED_KEYS: readonly string[] = ['alpnProtocols', 'cert', 'clientCertificates', 'key', 'passphrase']

/**
 * The policies of certificates that are loaded at run time. Those that ask the same are one; one that no certificate
 * has any more is forgotten, so there are at most as many as certificates.
 */
export class RuntimePolicies {
  /** That of the listener: of names that have none of their own. */
  readonly fallback: PolicyPlan
  readonly #policies: Policies
  readonly #clientCertificates: ClientCertificates | 'none' | undefined
  readonly #known: Map<string, { readonly policy: PolicyPlan; uses: number }> = new Map()

  constructor(
    policies: Policies,
    fallback: PolicyPlan,
    clientCertificates: ClientCertificates | 'none' | undefined,
  ) {
    this.#policies = policies
    this.fallback = fallback
    this.#clientCertificates = clientCertificates
  }

  /** All there are, beside the listener's. */
  get all(): PolicyPlan[] {
    return Array.from(this.#known.values(), ({ policy }) => policy)
  }

  /**
   * The policy of what was loaded for a name; give it back with {@link release}.
   *
   * @throws {TypeError | RangeError} If something in it is wrong, or nobody would read it.
   */
  acquire(loaded: LoadedCertificate, name: string, mayDiffer: boolean): PolicyPlan {
    const where = `what loadCertificate gave for "${name}"`
    rejectUnknown(loaded, LOADED_KEYS, where)
    const { alpnProtocols, clientCertificates } = loaded
    if (alpnProtocols === undefined && clientCertificates === undefined) return this.fallback
    if (!mayDiffer) {
      const option = alpnProtocols === undefined ? 'clientCertificates' : 'alpnProtocols'
      throw new TypeError(`"${option}" of ${where} needs runtimeCertificates: { perNamePolicies: true }`)
    }
    const alpn =
      alpnProtocols === undefined
        ? this.fallback.alpnProtocols
        : this.#policies.checkAlpn(alpnProtocols, where)
    const clients = this.#clientsOf(clientCertificates, where)
    const key = policyKey(alpn, clients)
    if (key === policyKey(this.fallback.alpnProtocols, this.fallback.clients)) return this.fallback
    let known = this.#known.get(key)
    if (known === undefined) {
      known = { policy: this.#policies.make(alpn, clients), uses: 0 }
      this.#known.set(key, known)
    }
    known.uses++
    return known.policy
  }

  /** A certificate no longer has the policy. */
  release(policy: PolicyPlan): void {
    if (policy === this.fallback) return
    for (const [key, known] of this.#known) {
      if (known.policy !== policy) continue
      if (--known.uses === 0) this.#known.delete(key)
      return
    }
  }

  #clientsOf(given: LoadedCertificate['clientCertificates'], where: string): ClientPolicy | undefined {
    // That of the listener may follow files: it stays one and the same.
    if (given === undefined || given === this.#clientCertificates) return this.fallback.clients
    if (given !== 'none' && (given?.caFile !== undefined || given?.crlFile !== undefined)) {
      throw new TypeError(
        `clientCertificates of ${where} take "ca" and "crl", not files: it is asked for again after refreshMs`,
      )
    }
    return this.#policies.plan(given, where)
  }
}

function policyKey(alpnProtocols: readonly string[] | undefined, clients: ClientPolicy | undefined): string {
  return JSON.stringify([alpnProtocols, clients?.key])
}
