import { Readable } from 'node:stream'
import { fromSystemError, isProxyError, type KnownErrorCode, ProxyError, peerError } from '@cirque/error'
import { bodylessStatus, isFieldValue, type RequestHeader, ResponseHeader } from '@cirque/http'
import type { Dispatcher } from 'undici'
import { ClientSession } from '../sessions/client-session.ts'
import { WRITE_DONE, WRITE_PAUSE, type WriteResult } from '../sessions/write-result.ts'
import type { ConnectionDigest } from '../sockets/digest.ts'
import type { HttpPeer } from './peer.ts'

/** Request body bytes that wait for the dispatcher. */
const BODY_QUEUE_BYTES_MAX = 65_536

/** Fields that belong to the connection, which here is the dispatcher's own. */
const DISPATCHERS_OWN: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'expect',
  'host',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
])

/** undici's own error codes, for those that say more than "the socket closed". */
const BY_UNDICI_CODE: ReadonlyMap<string, KnownErrorCode> = new Map<string, KnownErrorCode>([
  ['UND_ERR_CONNECT_TIMEOUT', 'CONNECT_TIMEOUT'],
  ['UND_ERR_HEADERS_TIMEOUT', 'READ_TIMEOUT'],
  ['UND_ERR_BODY_TIMEOUT', 'READ_TIMEOUT'],
  ['UND_ERR_SOCKET', 'CONNECTION_CLOSED'],
  ['UND_ERR_HEADERS_OVERFLOW', 'INVALID_HTTP_HEADER'],
  ['UND_ERR_RES_CONTENT_LENGTH_MISMATCH', 'PREMATURE_BODY_END'],
])

/** An exchange that an undici dispatcher carries: an Agent, a ProxyAgent, a MockAgent, interceptors. */
export class DispatcherSession extends ClientSession implements Dispatcher.DispatchHandler {
  readonly #peer: HttpPeer
  readonly #establishedAt: number = Date.now()
  #controller: Dispatcher.DispatchController | null = null
  #body: Readable | null = null
  #drainWanted = false
  #closed = false
  #method = ''

  constructor(peer: HttpPeer) {
    super()
    this.#peer = peer
  }

  /** A dispatcher does not tell which connection it uses. */
  digest(): ConnectionDigest {
    return {
      remoteAddress: undefined,
      remotePort: undefined,
      localAddress: undefined,
      localPort: undefined,
      establishedAt: this.#establishedAt,
      requestCount: 1,
      tls: undefined,
      proxy: undefined,
    }
  }

  sendHead(header: RequestHeader, contentLength: number, upgrade: boolean): void {
    this.#method = header.method
    if (upgrade) {
      this.#failSoon(
        new ProxyError('TUNNEL_REFUSED', 'internal', 'A dispatcher peer carries no upgrades', {
          status: 501,
        }),
      )
      return
    }
    const address = this.#peer.address
    if (address?.kind !== 'tcp') {
      this.#failSoon(
        new ProxyError(
          'CONNECT_ERROR',
          'internal',
          `A dispatcher needs a host and port, not "${this.#peer}"`,
        ),
      )
      return
    }
    const headers: string[] = ['host', header.host ?? address.text]
    header.forEachField((name, value) => {
      const lower = name.toLowerCase()
      if (!DISPATCHERS_OWN.has(lower)) headers.push(name, value)
      // undici sends no Expect: the body is on its way at once, so the client may as well begin.
      else if (lower === 'expect') queueMicrotask(() => this.#announceContinue())
    })
    if (contentLength > 0) headers.push('content-length', `${contentLength}`)
    if (contentLength !== 0) this.#body = this.#bodyStream()
    const options: Dispatcher.DispatchOptions = {
      origin: `${this.#peer.options.tls ? 'https' : 'http'}://${address.text}`,
      method: header.method,
      path: header.target,
      headers,
      body: this.#body,
      headersTimeout: this.#peer.options.readTimeoutMs,
      bodyTimeout: this.#peer.options.readTimeoutMs,
    }
    try {
      this.#peer.options.dispatcher?.dispatch(options, this)
    } catch (error) {
      this.#failSoon(
        new ProxyError('CONNECT_ERROR', 'internal', `The dispatcher refused the request to ${this.#peer}`, {
          cause: error,
        }),
      )
    }
  }

  #bodyStream(): Readable {
    const body = new Readable({
      highWaterMark: BODY_QUEUE_BYTES_MAX,
      read: () => {
        if (!this.#drainWanted) return
        this.#drainWanted = false
        this.handler?.onUpstreamDrain()
      },
    })
    body.on('error', () => {})
    return body
  }

  #announceContinue(): void {
    if (!this.responseStarted) this.handler?.onInformational(ResponseHeader.build(100))
  }

  writeBody(buffer: Buffer, start: number, end: number): WriteResult {
    if (this.#closed || this.#body === null || start === end) return WRITE_DONE
    if (this.#body.push(Buffer.from(buffer.subarray(start, end)))) return WRITE_DONE
    this.#drainWanted = true
    return WRITE_PAUSE
  }

  endRequest(): void {
    if (this.requestEnded) return
    this.requestEnded = true
    this.#body?.push(null)
  }

  flush(): void {}

  resumeResponse(): void {
    this.#controller?.resume()
  }

  get reusable(): boolean {
    return false
  }

  destroy(): void {
    this.handler = null
    if (this.#closed) return
    this.#closed = true
    if (this.responseEnded && this.requestEnded) return
    this.#controller?.abort(new Error('The exchange was given up'))
    this.#body?.destroy()
  }

  // --- called by the dispatcher ------------------------------------------------------------------

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#closed) controller.abort(new Error('The exchange was given up'))
    else this.requestSent = true
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: unknown,
    reason?: string,
  ): void {
    if (this.#closed) return
    this.responseStarted = true
    const header = ResponseHeader.build(
      status,
      undefined,
      reason === undefined || !isFieldValue(reason) ? undefined : reason,
    )
    let contentLength = -1
    const fields = flatFields(controller.rawHeaders ?? headers)
    for (let i = 0; i + 1 < fields.length; i += 2) {
      const name = fields[i] as string
      const lower = name.toLowerCase()
      if (lower === 'content-length') contentLength = Number(fields[i + 1])
      if (lower !== 'transfer-encoding' && lower !== 'connection' && lower !== 'keep-alive') {
        header.appendHeader(name, fields[i + 1] as string)
      }
    }
    if (status < 200) this.handler?.onInformational(header)
    else {
      const bodyless = this.#method === 'HEAD' || bodylessStatus(status)
      this.handler?.onResponseHead(header, bodyless ? 0 : contentLength)
    }
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    const handler = this.handler
    if (this.#closed || handler === null) return
    this.responseBodyBytes += chunk.length
    if (handler.onResponseData(chunk, 0, chunk.length) >= WRITE_PAUSE) controller.pause()
    this.handler?.onResponseFlush()
  }

  onResponseEnd(controller: Dispatcher.DispatchController, trailers: unknown): void {
    if (this.#closed) return
    this.responseEnded = true
    const fields = flatFields(controller.rawTrailers ?? trailers)
    this.handler?.onResponseEnd(fields.length === 0 ? null : fields)
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    if (this.#closed) return
    this.#closed = true
    this.#body?.destroy()
    this.handler?.onUpstreamError(this.#translate(error))
  }

  #translate(error: Error & { code?: unknown }): ProxyError {
    if (isProxyError(error)) return error
    const code = typeof error.code === 'string' ? BY_UNDICI_CODE.get(error.code) : undefined
    const message = `The dispatcher could not carry the request to ${this.#peer}`
    if (code === undefined) {
      const translated = fromSystemError(error, 'upstream', message)
      // Nothing was sent: trying elsewhere is harmless.
      if (!this.requestSent && translated.source === 'upstream') translated.retry = 'allowed'
      return translated
    }
    return peerError(code, 'upstream', message, {
      cause: error,
      retry: this.requestSent ? 'never' : 'allowed',
    })
  }

  #failSoon(error: ProxyError): void {
    queueMicrotask(() => {
      if (this.#closed) return
      this.#closed = true
      this.handler?.onUpstreamError(error)
    })
  }
}

/** Whatever form a dispatcher or an interceptor gives fields in, as a flat list of latin1 text. */
function flatFields(given: unknown): string[] {
  if (given === null || given === undefined || typeof given !== 'object') return []
  const text = (value: unknown) => (Buffer.isBuffer(value) ? value.toString('latin1') : String(value))
  if (Array.isArray(given)) return given.map(text)
  const fields: string[] = []
  for (const [name, value] of Object.entries(given)) {
    for (const one of Array.isArray(value) ? value : [value])
      if (one !== undefined) fields.push(name, text(one))
  }
  return fields
}
