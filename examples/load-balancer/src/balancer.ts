import { HttpPeer } from '@cirque/core'
import type { ProxyError } from '@cirque/error'
import type { LoadBalancer } from '@cirque/load-balancing'
import type { ProxyHttp, Session } from '@cirque/proxy'

/** Sends each request to the balancer's next upstream, a retry to one not yet tried, and says where it went. */
export class Balancer implements ProxyHttp {
  readonly #upstreams: LoadBalancer
  readonly #nameOf: (address: string) => string
  readonly #say: (line: string) => void

  constructor(upstreams: LoadBalancer, nameOf: (address: string) => string, say: (line: string) => void) {
    this.#upstreams = upstreams
    this.#nameOf = nameOf
    this.#say = say
  }

  upstreamPeer(session: Session): HttpPeer {
    // Requests side by side take turns, so the next turn may be that of the upstream that has just failed.
    const tried = session.record.attempts.map(({ peer }) => peer?.address?.text)
    const upstream = this.#upstreams.select(undefined, {
      accept: ({ address }, eligible) => eligible && !tried.includes(address),
    })
    return new HttpPeer(upstream, { connectTimeoutMs: 1_000 })
  }

  /** An upstream that cannot be reached is not left for the next round of checks to find out. */
  failToConnect(): void {
    void this.#upstreams.runHealthCheck()
  }

  logging(session: Session, error: ProxyError | undefined): void {
    const { attempts, startedAt, endedAt } = session.record
    const { method, path } = session.request
    const address = session.attempt?.peer?.address?.text
    const upstream = address === undefined ? 'no upstream' : this.#nameOf(address)
    const tries = attempts.length === 1 ? '1 attempt' : `${attempts.length} attempts`
    const status = session.downstream.responseStatus || 'no answer'
    const time = (endedAt - startedAt).toFixed(1)
    this.#say(
      `${method} ${path} -> ${upstream}, ${tries}, ${status}, ${time} ms${error === undefined ? '' : ` (${error.code})`}`,
    )
  }
}
