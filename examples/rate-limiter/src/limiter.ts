import { HttpPeer } from '@cirque/core'
import type { ResponseHeader } from '@cirque/http'
import { type Decision, Gcra } from '@cirque/limits'
import type { ProxyHttp, Session } from '@cirque/proxy'
import type { LimiterOptions } from './options.ts'

interface Context {
  decision: Decision | undefined
}

/** Gives each client so many requests in a window, tells it how many are left, and answers further ones with 429. */
export class Limiter implements ProxyHttp<Context> {
  readonly #peer: HttpPeer
  /** Its memory is fixed, however many clients come: 192 KiB, enough to tell 16,384 of them apart. */
  readonly #limit: Gcra

  /** @param memory - Of `byteLength()` bytes; all threads that have the same one count together. */
  constructor(
    { peerAddress, limit, windowMs }: Pick<LimiterOptions, 'peerAddress' | 'limit' | 'windowMs'>,
    memory: SharedArrayBuffer,
  ) {
    this.#peer = new HttpPeer(peerAddress)
    this.#limit = new Gcra({ limit, windowMs, memory })
  }

  /** The memory of one limit. */
  static byteLength(): number {
    return Gcra.byteLength()
  }

  newCtx(): Context {
    return { decision: undefined }
  }

  requestFilter(session: Session, ctx: Context): boolean {
    const decision = this.#limit.take(clientOf(session))
    if (decision.allowed) {
      ctx.decision = decision
      return false
    }
    session.respond(429, {
      headers: [
        ...limitFields(decision),
        ['Retry-After', decision.retryAfter ?? '1'],
        ['Cache-Control', 'no-store'],
        ['Content-Type', 'text/plain'],
      ],
      body: 'Too many requests\n',
    })
    return true
  }

  upstreamPeer(): HttpPeer {
    return this.#peer
  }

  responseFilter(_session: Session, response: ResponseHeader, { decision }: Context): void {
    if (response.status < 200 || decision === undefined) return
    for (const [name, value] of limitFields(decision)) response.insertHeader(name, value)
  }
}

/**
 * Who is counted: the `appid` of the header or the query, otherwise the address. The kind stands in front, so
 * that nobody uses up another's quota by taking its address for an appid. Whether a client may call itself by
 * an appid is for an earlier check to say; here each new one brings a new quota.
 */
function clientOf(session: Session): string {
  const { request } = session
  const appid = request.get('appid') ?? new URLSearchParams(request.query).get('appid')
  return appid ? `appid ${appid}` : `address ${session.remoteAddress}`
}

/** The three that most clients know, and the two of the standard to come. */
function limitFields(decision: Decision): [name: string, value: string | number][] {
  const waitMs = decision.allowed ? decision.resetMs : decision.retryAfterMs
  return [
    ['X-Rate-Limit-Limit', decision.limit],
    ['X-Rate-Limit-Remaining', decision.remaining],
    ['X-Rate-Limit-Reset', Math.ceil(waitMs / 1_000)],
    ['RateLimit-Policy', decision.rateLimitPolicy],
    ['RateLimit', decision.rateLimit],
  ]
}
