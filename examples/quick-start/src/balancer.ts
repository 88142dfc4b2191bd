import { HttpPeer, type HttpPeerOptions } from '@cirque/core'
import type { RequestHeader } from '@cirque/http'
import type { LoadBalancer } from '@cirque/load-balancing'
import type { ProxyHttp, Session } from '@cirque/proxy'

/** Where requests go, and how. */
export interface BalancerOptions {
  readonly upstreams: LoadBalancer
  /** The name that the upstreams' certificates are for, and that they are asked for. */
  readonly host: string
  /** Sends `Host: host`. Without it the upstreams see the client's own. */
  readonly setHost: boolean
  /** Who signed the certificates, PEM; undefined for the authorities that Node.js trusts. */
  readonly ca: string | undefined
}

/** Goes round the upstreams, over TLS that is verified. */
export class Balancer implements ProxyHttp {
  readonly #options: BalancerOptions
  readonly #tls: HttpPeerOptions

  constructor(options: BalancerOptions) {
    this.#options = options
    const { host, ca } = options
    this.#tls = { tls: true, sni: host, ...(ca === undefined ? {} : { ca }) }
  }

  upstreamPeer(): HttpPeer {
    return new HttpPeer(this.#options.upstreams.select(), this.#tls)
  }

  upstreamRequestFilter(_session: Session, request: RequestHeader): void {
    if (this.#options.setHost) request.insertHeader('Host', this.#options.host)
  }
}
