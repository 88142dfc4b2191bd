import { grpcWeb, type HttpModules, HttpPeer } from '@cirque/core'
import type { ProxyError } from '@cirque/error'
import type { LoadBalancer } from '@cirque/load-balancing'
import type { ProxyHttp, Session } from '@cirque/proxy'

/**
 * Balances gRPC call by call: many calls of one client share its connection, and still each goes to the next
 * service. Browsers may call with gRPC-Web.
 */
export class GrpcBalancer implements ProxyHttp {
  readonly #services: LoadBalancer
  readonly #say: (line: string) => void

  constructor(services: LoadBalancer, say: (line: string) => void) {
    this.#services = services
    this.#say = say
  }

  initDownstreamModules(modules: HttpModules): void {
    modules.add(grpcWeb())
  }

  upstreamPeer(session: Session): HttpPeer {
    const tried = session.record.attempts.map(({ peer }) => peer?.address?.text)
    const service = this.#services.select(undefined, {
      accept: ({ address }, eligible) => eligible && !tried.includes(address),
    })
    return new HttpPeer(service, { httpVersion: 2 })
  }

  logging(session: Session, error: ProxyError | undefined): void {
    const where = session.attempt?.peer?.address?.text ?? 'no service'
    this.#say(`${session.request.path} -> ${where}${error === undefined ? '' : ` (${error.code})`}`)
  }
}
