import { HttpPeer } from '@cirque/core'
import type { RequestHeader } from '@cirque/http'
import type { ProxyHttp, Session } from '@cirque/proxy'
import type { GatewayOptions } from './options.ts'

/** Sends WebSockets for one path to one peer, and everything else to another. */
export class WebSocketGateway implements ProxyHttp {
  readonly #sockets: HttpPeer
  readonly #rest: HttpPeer
  readonly #path: string

  constructor(options: Pick<GatewayOptions, 'path' | 'socketAddress' | 'socketIdleMs' | 'peerAddress'>) {
    this.#path = options.path
    this.#sockets = new HttpPeer(options.socketAddress, { tunnelIdleTimeoutMs: options.socketIdleMs })
    this.#rest = new HttpPeer(options.peerAddress)
  }

  upstreamPeer({ request }: Session): HttpPeer {
    return request.path === this.#path && wantsWebSocket(request) ? this.#sockets : this.#rest
  }
}

/** Whether a request asks for a WebSocket; over HTTP/2 an extended CONNECT looks the same by now. */
function wantsWebSocket(request: RequestHeader): boolean {
  return request.get('upgrade')?.toLowerCase() === 'websocket'
}
