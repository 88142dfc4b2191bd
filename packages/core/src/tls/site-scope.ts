import type { TLSSocket } from 'node:tls'
import type { PolicyPlan } from './acceptor-plan.ts'
import {
  HOST_ASKS_OTHERWISE,
  HOST_NOT_COVERED,
  HOST_SERVED,
  type HostScope,
  type HostVerdict,
  namesCover,
} from './host-scope.ts'
import type { Site, Sites } from './sites.ts'

/** What one connection may be used for, by the certificates of its listener. */
export class SiteScope implements HostScope {
  readonly #sites: Sites
  readonly #socket: TLSSocket
  readonly #policy: PolicyPlan
  readonly #serverName: string | undefined
  readonly #site: Site | undefined
  readonly #served: Site | undefined

  /**
   * @param policy - What the handshake was made with.
   * @param serverName - Undefined when none was asked for, or none is known.
   * @param fallback - The site of names that none is for; undefined where others give the certificate for those.
   */
  constructor(
    sites: Sites,
    socket: TLSSocket,
    policy: PolicyPlan,
    serverName: string | undefined,
    fallback: Site | undefined,
  ) {
    this.#sites = sites
    this.#socket = socket
    this.#policy = policy
    this.#serverName = serverName
    this.#site = sites.find(serverName)
    this.#served = this.#site ?? fallback
  }

  judgeHost(host: string | undefined): HostVerdict {
    const { clients } = this.#sites.policyFor(host)
    if (clients !== undefined && clients !== this.#policy.clients) return HOST_ASKS_OTHERWISE
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
