import { createSecureContext, type SecureContext, type TlsOptions } from 'node:tls'
import { type AcceptorPlan, type IdentityPlan, type SitePlan, secrets } from './acceptor-plan.ts'
import type { CheckedIdentity } from './identity.ts'
import { type PolicyPlan, withoutIdentity } from './policies.ts'
import { normalServerName, ServerNameMap } from './server-names.ts'

/** A certificate that is served, and what a handshake with it is made with. */
export interface Site {
  readonly policy: PolicyPlan
  /** Those that were given; undefined: those in the certificate. */
  readonly serverNames: readonly string[] | undefined
  readonly files: IdentityPlan['files']
  readonly passphrase: string | undefined
  /** Changed, as is the next, by {@link Sites.replace} only. */
  checked: CheckedIdentity
  /** Undefined for the default certificate: it is the TLS server's own. */
  context: SecureContext | undefined
}

/** The certificates of a listener, found by the name that a client asks for. Each may be replaced by a newer one. */
export class Sites {
  /** Serves the names that no other does, where it is one that we have read ourselves. */
  readonly default: Site | undefined
  /** All of them, the default one first. */
  readonly all: readonly Site[]
  readonly #plan: AcceptorPlan
  readonly #named: readonly Site[]
  #names: ServerNameMap<Site>

  /** @throws {TypeError} If two certificates were given the same name. @throws {Error} What OpenSSL refuses. */
  constructor(plan: AcceptorPlan) {
    const { identity, policy } = plan
    this.#plan = plan
    this.default =
      identity === undefined ? undefined : siteOf({ ...identity, policy, serverNames: undefined }, undefined)
    this.#named = plan.sites.map((site) =>
      siteOf(site, createSecureContext(contextOptions(site.policy.tls, site.checked))),
    )
    this.all = this.default === undefined ? this.#named : [this.default, ...this.#named]
    this.#names = this.#indexNames()
  }

  /** The site of a name in its normal form; undefined also for no name. */
  find(serverName: string | undefined): Site | undefined {
    return serverName === undefined ? undefined : this.#names.find(serverName)
  }

  /** What a handshake that asks for a name is made with. */
  policyFor(serverName: string | undefined): PolicyPlan {
    return this.find(serverName)?.policy ?? this.#plan.policy
  }

  /**
   * Serves a newer certificate from now on.
   *
   * @param replaceDefault - Has the TLS server take that of the default site; called once OpenSSL has accepted it.
   * @throws {Error} If OpenSSL refuses it; then nothing has changed.
   */
  replace(site: Site, checked: CheckedIdentity, replaceDefault: (options: TlsOptions) => void): void {
    const options = contextOptions(site.policy.tls, checked)
    const context = createSecureContext(options)
    if (site === this.default) replaceDefault(options)
    else site.context = context
    site.checked = checked
    this.#names = this.#indexNames()
  }

  /**
   * Makes the contexts of the sites of a policy with other options.
   *
   * @returns What puts them in use, and what the policy's TLS server is to have.
   * @throws {Error} If OpenSSL refuses one.
   */
  prepare(policy: PolicyPlan, tls: TlsOptions): { commit(): void; readonly server: TlsOptions } {
    const own = this.default?.policy === policy ? this.default : undefined
    const server = own === undefined ? tls : contextOptions(tls, own.checked)
    createSecureContext(server)
    const made = this.#named
      .filter((site) => site.policy === policy)
      .map((site) => ({ site, context: createSecureContext(contextOptions(tls, site.checked)) }))
    return {
      server,
      commit: () => {
        for (const { site, context } of made) site.context = context
      },
    }
  }

  /** Names that were given go first, then those in certificates, then those of the default one. */
  #indexNames(): ServerNameMap<Site> {
    const names = new ServerNameMap<Site>()
    for (const site of this.#named) {
      for (const name of site.serverNames ?? []) {
        if (!names.add(name, site)) {
          throw new TypeError(
            `Two certificates of TLS on ${this.#plan.address} have the server name "${name}"`,
          )
        }
      }
    }
    const others = this.#named.filter((site) => site.serverNames === undefined)
    for (const site of this.default === undefined ? others : [...others, this.default]) {
      for (const name of site.checked.names) {
        if (normalServerName(name.replace(/^\*\./, '')) !== undefined) names.add(name, site)
      }
    }
    return names
  }
}

function siteOf(plan: SitePlan, context: SecureContext | undefined): Site {
  const { policy, serverNames, files, passphrase, checked } = plan
  return { policy, serverNames, files, passphrase, checked, context }
}

function contextOptions(tls: TlsOptions, checked: CheckedIdentity): TlsOptions {
  return { ...withoutIdentity(tls), ...secrets({ checked }) }
}
