import { once } from 'node:events'
import http, { type OutgoingHttpHeaders } from 'node:http'
import http2, { type ClientHttp2Session, type ServerHttp2Session } from 'node:http2'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { CERTIFICATE } from './certificate.ts'

export { CERTIFICATE } from './certificate.ts'

/** What a test needs of a request and a response of either version. */
export type OriginRequest = http.IncomingMessage | http2.Http2ServerRequest
export interface OriginResponse {
  writeHead(status: number, headers?: OutgoingHttpHeaders): unknown
  write(chunk: string | Buffer): boolean
  end(chunk?: string | Buffer): void
  addTrailers(trailers: Record<string, string>): void
  writeEarlyHints(hints: Record<string, string>): void
  writeContinue(): void
  on(event: 'close' | 'drain', listener: () => void): unknown
  destroy(): unknown
}
export type OriginHandler = (request: OriginRequest, response: OriginResponse) => void | Promise<void>

/** An origin of one version. Disposal cuts its connections. */
export class Origin implements AsyncDisposable {
  readonly server: http.Server | http2.Http2Server | http2.Http2SecureServer
  readonly sessions: Set<ServerHttp2Session> = new Set()
  accepted = 0

  constructor(server: Origin['server'], handler: OriginHandler) {
    this.server = server
    server.on('request', (request: OriginRequest, response: OriginResponse) => {
      request.on('error', () => undefined)
      ;(response as http.ServerResponse).on('error', () => undefined)
      void handler(request, response)
    })
    server.on('connection', () => this.accepted++)
    server.on('session', (session: ServerHttp2Session) => {
      this.sessions.add(session)
      session.on('error', () => undefined)
      session.on('close', () => this.sessions.delete(session))
    })
    server.on('sessionError', () => undefined)
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port
  }

  get address(): string {
    return `127.0.0.1:${this.port}`
  }

  /** Cuts every connection. */
  cut(): void {
    for (const session of this.sessions) session.destroy()
    if ('closeAllConnections' in this.server) this.server.closeAllConnections()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.server, 'close')
    this.server.close()
    this.cut()
    await closed
  }
}

export async function startOrigin(
  version: 1 | 2 | 'tls' | 'tls1',
  handler: OriginHandler,
  options: http2.ServerOptions & { allowHTTP1?: boolean } = {},
): Promise<Origin> {
  const server =
    version === 1
      ? http.createServer()
      : version === 2
        ? http2.createServer(options)
        : version === 'tls'
          ? http2.createSecureServer({ ...CERTIFICATE, ...options })
          : https.createServer(CERTIFICATE)
  const origin = new Origin(server, handler)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return origin
}

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
  readonly informational: number[]
  readonly trailers: Readonly<Record<string, unknown>>
  readonly body: Buffer
  /** It came to its proper end. */
  readonly whole: boolean
}

export interface Ask {
  readonly method?: string
  readonly path?: string
  readonly headers?: OutgoingHttpHeaders
  readonly body?: string | Buffer
  readonly trailers?: Record<string, string>
}

/** A client of one version, over TLS or not; one connection in HTTP/2. Cut at the end of its scope. */
export class AnyClient implements AsyncDisposable {
  readonly #port: number
  readonly #agent: http.Agent | null
  readonly #protocol: 'http:' | 'https:'
  readonly session: ClientHttp2Session | null

  constructor(version: 1 | 2, port: number, tls: boolean = false) {
    this.#port = port
    this.#protocol = tls ? 'https:' : 'http:'
    const trust = { rejectUnauthorized: false }
    const agent = { keepAlive: true }
    if (version === 1) this.#agent = tls ? new https.Agent({ ...agent, ...trust }) : new http.Agent(agent)
    else this.#agent = null
    this.session = version === 2 ? http2.connect(`${this.#protocol}//127.0.0.1:${port}`, trust) : null
    this.session?.on('error', () => undefined)
  }

  ask(ask: Ask = {}): Promise<Answer> {
    return this.session === null ? this.#ask1(ask) : this.#ask2(this.session, ask)
  }

  async #ask1({ method = 'GET', path = '/', headers = {}, body, trailers }: Ask): Promise<Answer> {
    const agent = this.#agent as http.Agent
    const te =
      trailers === undefined ? {} : { 'transfer-encoding': 'chunked', trailer: Object.keys(trailers).join() }
    const all = { te: 'trailers', ...te, ...headers }
    const to = { protocol: this.#protocol, port: this.#port, host: '127.0.0.1' }
    const request = http.request({ ...to, agent, method, path, headers: all })
    const informational: number[] = []
    request.on('information', ({ statusCode }) => informational.push(statusCode))
    if (trailers !== undefined) request.addTrailers(trailers)
    request.on('error', () => undefined)
    request.end(body)
    const [response] = (await once(request, 'response')) as [http.IncomingMessage]
    const chunks: Buffer[] = []
    response.on('data', (chunk: Buffer) => chunks.push(chunk))
    response.on('error', () => undefined)
    await new Promise((resolve) => response.once('close', resolve))
    return {
      status: response.statusCode ?? 0,
      headers: response.headers,
      informational,
      trailers: response.trailers,
      body: Buffer.concat(chunks),
      whole: response.complete,
    }
  }

  async #ask2(session: ClientHttp2Session, ask: Ask): Promise<Answer> {
    const { method = 'GET', path = '/', headers = {}, body, trailers } = ask
    const endStream = body === undefined && trailers === undefined
    const stream = session.request(
      { ':method': method, ':path': path, ...headers },
      { endStream, waitForTrailers: trailers !== undefined },
    )
    stream.on('error', () => undefined)
    stream.on('wantTrailers', () => stream.sendTrailers(trailers ?? {}))
    const informational: number[] = []
    let answered: http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader = {}
    let trailing: http2.IncomingHttpHeaders = {}
    const chunks: Buffer[] = []
    stream.on('headers', (given) => informational.push(given[':status'] ?? 0))
    stream.on('response', (given) => {
      answered = given
    })
    stream.on('trailers', (given) => {
      trailing = given
    })
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    if (!endStream) stream.end(body)
    await new Promise((resolve) => stream.once('close', resolve))
    return {
      status: answered[':status'] ?? 0,
      headers: answered,
      informational,
      trailers: trailing,
      body: Buffer.concat(chunks),
      whole: stream.rstCode === 0,
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#agent?.destroy()
    const { session } = this
    if (session === null || session.destroyed) return
    const closed = new Promise((resolve) => session.once('close', resolve))
    session.destroy()
    await closed
  }
}
