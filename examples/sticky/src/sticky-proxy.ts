import { HttpPeer } from '@cirque/core'
import type { ResponseHeader } from '@cirque/http'
import type { LoadBalancer, StickySessions } from '@cirque/load-balancing'
import type { ProxyHttp, Session } from '@cirque/proxy'

interface Context {
  /** To be given to the client; undefined if it has a good one. */
  token: string | undefined
}

/**
 * Keeps each client on the upstream it met first, by a cookie. If that one is down, the client moves to
 * another and stays there.
 */
export class StickyProxy implements ProxyHttp<Context> {
  readonly #upstreams: LoadBalancer
  readonly #sticky: StickySessions

  constructor(upstreams: LoadBalancer, sticky: StickySessions) {
    this.#upstreams = upstreams
    this.#sticky = sticky
  }

  newCtx(): Context {
    return { token: undefined }
  }

  upstreamPeer(session: Session, ctx: Context): HttpPeer {
    const tried = session.record.attempts.map(({ peer }) => peer?.address?.text)
    const token = this.#sticky.tokenFromCookie(session.request.get('Cookie'))
    const choice = this.#sticky.select(this.#upstreams, token, undefined, {
      accept: ({ address }, eligible) => eligible && !tried.includes(address),
    })
    ctx.token = choice?.token
    return new HttpPeer(choice?.backend)
  }

  /** An upstream that cannot be reached is not left for the next round of checks to find out. */
  failToConnect(): void {
    void this.#upstreams.runHealthCheck()
  }

  responseFilter(_session: Session, response: ResponseHeader, { token }: Context): void {
    if (response.status < 200 || token === undefined) return
    response.appendHeader('Set-Cookie', this.#sticky.cookie(token))
  }
}
