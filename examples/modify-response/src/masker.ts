import { HttpPeer } from '@cirque/core'
import { ProxyError } from '@cirque/error'
import type { RequestHeader, ResponseHeader } from '@cirque/http'
import type { ProxyHttp, Session } from '@cirque/proxy'

const JSON_TYPE = /^application\/(?:[\w.-]+\+)?json\s*(?:;|$)/i

/** The longest body that is rewritten, in bytes: it has to be in memory as a whole. */
const BODY_BYTES_MAX = 1_048_576

/** What is true of the bytes that the upstream sent, and of no others. */
const FIELDS_OF_THE_ORIGINAL = ['ETag', 'Accept-Ranges', 'Content-Digest', 'Repr-Digest', 'Content-MD5']

/** A JSON body on its way, as far as it has arrived; undefined for any other response. */
interface Context {
  json: { chunks: Buffer[]; bytes: number } | undefined
}

/**
 * Hides the values of some members in all JSON that goes to clients. What it cannot read, it does not pass on.
 *
 * The new body has another length. There is nothing to do about that: a response with a body filter goes out
 * without the old Content-Length, in chunks.
 */
export class Masker implements ProxyHttp<Context> {
  readonly #peer: HttpPeer
  readonly #hidden: ReadonlySet<string>

  /** @param names - Members to hide, in lower case. */
  constructor(peerAddress: string, names: Iterable<string>) {
    this.#peer = new HttpPeer(peerAddress)
    this.#hidden = new Set(names)
  }

  newCtx(): Context {
    return { json: undefined }
  }

  upstreamPeer(): HttpPeer {
    return this.#peer
  }

  /** Asks for the whole of it, and as plain text. */
  upstreamRequestFilter(_session: Session, request: RequestHeader): void {
    request.removeHeader('Range')
    request.insertHeader('Accept-Encoding', 'identity')
  }

  responseFilter(session: Session, response: ResponseHeader, ctx: Context): void {
    if (response.status < 200 || !JSON_TYPE.test(response.get('Content-Type') ?? '')) return
    // Nothing was sent yet: this throw becomes a 502.
    if (response.has('Content-Encoding')) throw unreadable('is compressed, although that was not asked for')
    for (const name of FIELDS_OF_THE_ORIGINAL) response.removeHeader(name)
    if (session.request.method === 'HEAD') response.removeHeader('Content-Length')
    ctx.json = { chunks: [], bytes: 0 }
  }

  responseBodyFilter(
    _session: Session,
    chunk: Buffer | null,
    endOfStream: boolean,
    { json }: Context,
  ): Buffer | null | undefined {
    if (json === undefined) return undefined
    if (chunk !== null) {
      json.bytes += chunk.length
      if (json.bytes > BODY_BYTES_MAX) throw unreadable(`exceeds ${BODY_BYTES_MAX} bytes`)
      json.chunks.push(chunk)
    }
    if (!endOfStream) return null // held back until the rest is here
    return json.bytes === 0 ? null : this.#mask(Buffer.concat(json.chunks).toString())
  }

  /** The head is sent by now: a throw cuts the connection, so that nobody takes half a body for a whole one. */
  #mask(text: string): Buffer {
    try {
      const masked: unknown = JSON.parse(text, (name, value: unknown) =>
        this.#hidden.has(name.toLowerCase()) ? '***' : value,
      )
      return Buffer.from(JSON.stringify(masked))
    } catch (cause) {
      throw unreadable('is no JSON, although it says so', cause)
    }
  }
}

function unreadable(reason: string, cause?: unknown): ProxyError {
  return new ProxyError('CUSTOM_UNREADABLE_JSON', 'upstream', `The upstream's body ${reason}`, { cause })
}
