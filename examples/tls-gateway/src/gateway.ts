import { HttpPeer } from '@cirque/core'
import type { RequestHeader } from '@cirque/http'
import type { ProxyHttp, Session } from '@cirque/proxy'

/** Passes requests on, and tells the upstream how the client came. */
export class TlsGateway implements ProxyHttp {
  readonly #peer: HttpPeer

  constructor(peerAddress: string) {
    this.#peer = new HttpPeer(peerAddress)
  }

  upstreamPeer(): HttpPeer {
    return this.#peer
  }

  upstreamRequestFilter(session: Session, request: RequestHeader): void {
    const { tls } = session.digest()
    request.insertHeader('X-Forwarded-Proto', 'https')
    request.insertHeader('X-Tls', `${tls?.version ?? 'none'} ${tls?.sni ?? '-'}`)
  }
}
