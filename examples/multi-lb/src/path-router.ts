import { HttpPeer } from '@cirque/core'
import type { LoadBalancer } from '@cirque/load-balancing'
import type { ProxyHttp, Session } from '@cirque/proxy'

/** The upstreams that serve the paths under a prefix. */
export interface Cluster {
  /** Without a slash at the end: `''` for all paths, `/api` for `/api` and `/api/x`, not `/apix`. */
  readonly prefix: string
  readonly upstreams: LoadBalancer
}

interface Context {
  upstreams: LoadBalancer | undefined
}

/** Sends each request to the cluster of the first prefix that its path is under; 404 without one. */
export class PathRouter implements ProxyHttp<Context> {
  readonly #clusters: readonly Cluster[]

  constructor(clusters: readonly Cluster[]) {
    this.#clusters = clusters
  }

  newCtx(): Context {
    return { upstreams: undefined }
  }

  requestFilter(session: Session, ctx: Context): boolean {
    const { path } = session.request
    ctx.upstreams = this.#clusters.find(({ prefix }) => isUnder(path, prefix))?.upstreams
    if (ctx.upstreams !== undefined) return false
    session.respondError(404)
    return true
  }

  /** A retry goes to an upstream of the same cluster that was not tried yet; if none is left, the answer is 503. */
  upstreamPeer(session: Session, { upstreams }: Context): HttpPeer {
    const tried = session.record.attempts.map(({ peer }) => peer?.address?.text)
    const upstream = upstreams?.select(undefined, {
      accept: ({ address }, eligible) => eligible && !tried.includes(address),
    })
    return new HttpPeer(upstream)
  }

  /** An upstream that cannot be reached is not left for the next round of checks to find out. */
  failToConnect(_session: Session, _peer: HttpPeer, _error: Error, { upstreams }: Context): void {
    void upstreams?.runHealthCheck()
  }
}

function isUnder(path: string, prefix: string): boolean {
  return path.startsWith(prefix) && (path.length === prefix.length || path.charCodeAt(prefix.length) === 0x2f)
}
