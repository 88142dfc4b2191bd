import { HttpPeer } from '@cirque/core'
import type { LoadBalancer } from '@cirque/load-balancing'
import type { ProxyHttp, Session } from '@cirque/proxy'

/** Sends each request to the next upstream that is well, a retry to one not yet tried; 503 when there is none. */
export class Spreader implements ProxyHttp {
  readonly #upstreams: LoadBalancer

  constructor(upstreams: LoadBalancer) {
    this.#upstreams = upstreams
  }

  upstreamPeer(session: Session): HttpPeer {
    const tried = session.record.attempts.map(({ peer }) => peer?.address?.text)
    const upstream = this.#upstreams.select(undefined, {
      accept: ({ address }, eligible) => eligible && !tried.includes(address),
    })
    return new HttpPeer(upstream)
  }

  /** An upstream that cannot be reached is not left for the next round of checks to find out. */
  failToConnect(): void {
    void this.#upstreams.runHealthCheck()
  }
}
