import { type LoadBalancer, TcpHealthCheck } from '@cirque/load-balancing'
import {
  StreamPeer,
  type StreamPeerOptions,
  type StreamProxy,
  type StreamSession,
} from '@cirque/stream-proxy'

/** Sends each connection to the next backend that is up, and to another one when that does not connect. */
export class Relay implements StreamProxy {
  readonly #backends: LoadBalancer
  readonly #options: StreamPeerOptions

  constructor(backends: LoadBalancer, options: StreamPeerOptions) {
    backends.setHealthCheck(new TcpHealthCheck(), { intervalMs: 1_000 })
    this.#backends = backends
    this.#options = options
  }

  upstreamPeer(session: StreamSession): StreamPeer {
    const backend = this.#backends.select(undefined, {
      accept: ({ address }, eligible) => eligible && !session.triedAddresses.includes(address),
    })
    return new StreamPeer(backend, this.#options)
  }
}
