import type { TLSSocket } from 'node:tls'
import {
  HOST_ASKS_OTHERWISE,
  HOST_NOT_COVERED,
  HOST_SERVED,
  type HostScope,
  type HostVerdict,
  namesCover,
} from './host-scope.ts'
import type { PolicyPlan } from './policies.ts'
import type { Site, Sites } from './sites.ts'

/** What one connection may be used for, by the certificates of its listener. */
export class SiteScope implements HostScope {
  readonly #sites: Sites
  readonly #socket: TLSSocket
  readonly #policy: PolicyPlan
  readonly #serverName: string | undefined
  readonly #site: Site | undefined
  readonly #served: Site | undefined
  readonly #policyOf: (host: string | undefined) => PolicyPlan | undefined

  /**
   * @param policy - What the handshake was made with.
   * @param serverName - Undefined when none was asked for, or none is known.
   * @param fallback - The site of names that none is for; undefined where others give the certificate for those.
   * @param policyOf - What is asked of the clients of a host; undefined if that is not known.
   */
  constructor(
    sites: Sites,
    socket: TLSSocket,
    policy: PolicyPlan,
    serverName: string | undefined,
    fallback: Site | undefined,
    policyOf: (host: string | undefined) => PolicyPlan | undefined,
  ) {
    this.#sites = sites
    this.#socket = socket
    this.#policy = policy
    this.#serverName = serverName
    this.#site = sites.find(serverName)
    this.#served = this.#site ?? fallback
    this.#policyOf = policyOf
  }

  judgeHost(host: string | undefined): HostVerdict {
    const policy = this.#policyOf(host)
    // Of a name that nobody has asked for yet, or not for long: a connection for it finds out what it asks of clients.
    if (policy === undefined) return host === this.#serverName ? HOST_SERVED : HOST_ASKS_OTHERWISE
    const { clients } = policy
    if (clients !== undefined && clients.key !== this.#policy.clients?.key) return HOST_ASKS_OTHERWISE
    if (this.#serverName === undefined || host === this.#serverName) return HOST_SERVED
    const target = this.#sites.find(host)
    if (target !== undefined && target === this.#site) return HOST_SERVED
    return host !== undefined && this.#covers(host) ? HOST_SERVED : HOST_NOT_COVERED
  }

  #covers(host: string): boolean {
    if (this.#served !== undefined) return namesCover(this.#served.checked.names, host)
    // A certificate that others gave. In a resumed session Node.js does not tell which: nothing is held against it.
    return this.#socket.isSessionReused() || this.#socket.getX509Certificate()?.checkHost(host) !== undefined
  }
}
