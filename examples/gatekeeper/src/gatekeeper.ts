import { HttpPeer } from '@cirque/core'
import type { ProxyHttp, Session } from '@cirque/proxy'
import type { GatekeeperOptions } from './options.ts'

/** Lets requests under one path through to one peer, and answers all others with 404. */
export class Gatekeeper implements ProxyHttp {
  readonly #peer: HttpPeer
  readonly #path: string

  constructor(options: Pick<GatekeeperOptions, 'peerAddress' | 'contextPath' | 'tls' | 'sni' | 'http2'>) {
    const { peerAddress, contextPath, tls, sni, http2 } = options
    const httpVersion = http2 ? 2 : 1
    this.#peer = new HttpPeer(peerAddress, { tls, httpVersion, ...(sni === undefined ? {} : { sni }) })
    this.#path = contextPath.endsWith('/') ? contextPath.slice(0, -1) : contextPath
  }

  requestFilter(session: Session): boolean {
    if (this.#admits(session.request.path)) return false
    session.respondError(404)
    return true
  }

  upstreamPeer(): HttpPeer {
    return this.#peer
  }

  /** `/api` admits `/api` and `/api/x`, not `/apix`; the path is compared as sent, and sent as compared. */
  #admits(path: string): boolean {
    const own = this.#path
    return path.startsWith(own) && (path.length === own.length || path.charCodeAt(own.length) === 0x2f)
  }
}
