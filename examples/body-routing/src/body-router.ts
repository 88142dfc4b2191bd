import { HttpPeer } from '@cirque/core'
import type { ProxyHttp, Session } from '@cirque/proxy'

/** The longest body that is read to decide, in bytes; more is answered with 413. */
const BODY_BYTES_MAX = 262_144

interface Context {
  peer: HttpPeer | undefined
}

/** Chooses the peer by a member of the JSON in the request's body, such as the model that a prompt is for. */
export class BodyRouter implements ProxyHttp<Context> {
  readonly #field: string
  readonly #peers: ReadonlyMap<unknown, HttpPeer>

  /** @param routes - Addresses by the value of `field`. */
  constructor(field: string, routes: Iterable<readonly [value: string, address: string]>) {
    this.#field = field
    this.#peers = new Map(Array.from(routes, ([value, address]) => [value, new HttpPeer(address)]))
  }

  newCtx(): Context {
    return { peer: undefined }
  }

  /** Reads the body ahead of the choice. The proxy keeps it and sends it on, byte for byte, on each attempt. */
  async requestFilter(session: Session, ctx: Context): Promise<boolean> {
    const body = await session.bufferRequestBody({ maxBytes: BODY_BYTES_MAX })
    let message: unknown
    try {
      message = JSON.parse(body.toString())
    } catch {
      session.respondError(400, 'The body must be JSON\n')
      return true
    }
    ctx.peer = this.#peers.get((message as Readonly<Record<string, unknown>> | null)?.[this.#field])
    if (ctx.peer !== undefined) return false
    session.respondError(404, `Nobody serves this "${this.#field}"\n`)
    return true
  }

  upstreamPeer(_session: Session, { peer }: Context): HttpPeer {
    return peer as HttpPeer
  }
}
