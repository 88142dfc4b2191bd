import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { ProxyError } from '@cirque/error'
import { type RequestHeadParser, ResponseHeader } from '@cirque/http'
import { Http1ServerConnection } from '../http1/server-connection.ts'
import type { Http1ConnectionOwner } from '../http1/server-life.ts'
import { type Http2Counts, noHttp2Counts } from '../http2/counts.ts'
import { type PrefaceOwner, PrefaceReader } from '../http2/preface.ts'
import { type Http2ConnectionOwner, Http2ServerConnection } from '../http2/server-connection.ts'
import { isPromise } from '../is-promise.ts'
import { Places } from '../places.ts'
import type { ServerApp } from '../server/service.ts'
import type { ServerSession } from '../sessions/server-session.ts'
import { hostScopeOf } from '../tls/host-scope.ts'
import { HostCheckingOwner } from './host-check.ts'
import {
  type HttpServerOptions,
  type ResolvedHttpServerOptions,
  resolveHttpServerOptions,
} from './http-server-options.ts'

/** What an HTTP application does with each request. */
export interface HttpServerHandler {
  /**
   * A request has arrived; answer it through the session, now or later. Must not throw: the request fails with 500
   * then, or its response is cut.
   */
  onSession(session: ServerSession): void
}

/** What an HTTP application has served so far. */
export interface HttpServerStats {
  readonly connections: number
  readonly requests: number
  /** Heads that were refused, by the code of the refusal. */
  readonly refusedHeads: Readonly<Record<string, number>>
  /** Invariants of clients' connections that were broken. More than 0 is a defect of ours: report it. */
  readonly broken: number
  readonly http2: Readonly<Http2Counts>
}

type HttpConnection = Http1ServerConnection | Http2ServerConnection | PrefaceReader

/** The HTTP protocol over accepted connections: the layer between a listening service and an application. */
export class HttpServerApp implements ServerApp, Http1ConnectionOwner, Http2ConnectionOwner, PrefaceOwner {
  readonly options: ResolvedHttpServerOptions
  readonly alpnProtocols: readonly string[]
  draining = false
  keepsIdle: boolean = false
  spareParser: RequestHeadParser | null = null
  readonly http2Counts: Http2Counts = noHttp2Counts()

  readonly #handler: HttpServerHandler
  readonly #connections: Places<HttpConnection> = new Places()
  readonly #refused: Map<string, number> = new Map()
  #requests = 0
  #broken = 0

  /** @throws {TypeError | RangeError} If an option is unknown or out of bounds. */
  constructor(handler: HttpServerHandler, options?: HttpServerOptions) {
    this.#handler = handler
    this.options = resolveHttpServerOptions(options)
    this.alpnProtocols = this.options.http2 ? ['h2', 'http/1.1'] : ['http/1.1']
  }

  onConnection(socket: Socket): void {
    const { http2, h2c } = this.options
    if (socket instanceof TLSSocket) this.#serve(socket, http2 && socket.alpnProtocol === 'h2')
    else if (h2c) this.#add(new PrefaceReader(socket, this, this.options))
    else this.#add(new Http1ServerConnection(socket, this))
  }

  #add(connection: HttpConnection): void {
    connection.place = this.#connections.add(connection)
    // It came before the listener closed, and had its PROXY header or handshake since.
    if (this.draining && !this.keepsIdle) connection.drain()
  }

  #serve(socket: Socket, http2: boolean): Http1ServerConnection | Http2ServerConnection {
    if (http2) this.http2Counts.connections++
    const owner = this.#ownerOf(socket, http2)
    const connection = http2
      ? new Http2ServerConnection(socket, owner)
      : new Http1ServerConnection(socket, owner)
    this.#add(connection)
    return connection
  }

  #ownerOf(socket: Socket, http2: boolean): Http1ConnectionOwner & Http2ConnectionOwner {
    const { hostCheck } = this.options
    const scope = socket instanceof TLSSocket && hostCheck !== 'never' ? hostScopeOf(socket) : undefined
    return scope === undefined ? this : new HostCheckingOwner(this, scope, http2 || hostCheck === 'always')
  }

  onProtocol(reader: PrefaceReader, http2: boolean, buffer: Buffer, count: number): void {
    this.#connections.remove(reader.place, reader)
    this.#serve(reader.socket, http2).onSharedRead(count, buffer)
  }

  onPrefaceFailed(reader: PrefaceReader): void {
    this.#connections.remove(reader.place, reader)
  }

  onSession(session: ServerSession): void {
    this.#requests++
    if (session.request.version === 'HTTP/2') this.http2Counts.requests++
    try {
      const answer: unknown = this.#handler.onSession(session)
      if (isPromise(answer)) Promise.resolve(answer).catch((error: unknown) => handlerFailed(session, error))
    } catch (error) {
      handlerFailed(session, error)
    }
  }

  onHeadRefused(_status: number, code: string): void {
    this.#refused.set(code, (this.#refused.get(code) ?? 0) + 1)
  }

  onBroken(): void {
    this.#broken++
  }

  onConnectionClosed(connection: Http1ServerConnection | Http2ServerConnection): void {
    this.#connections.remove(connection.place, connection)
  }

  /** Every response of HTTP/1 is its connection's last one from now on; idle connections are left open. */
  announceDraining(): void {
    this.draining = true
    this.keepsIdle = true
  }

  startDraining(): void {
    this.draining = true
    this.keepsIdle = false
    for (const connection of this.#connections.values()) connection.drain()
  }

  stats(): HttpServerStats {
    return {
      connections: this.#connections.size,
      requests: this.#requests,
      broken: this.#broken,
      refusedHeads: Object.fromEntries(this.#refused),
      http2: { ...this.http2Counts },
    }
  }
}

/** A handler has thrown in spite of all: its request fails, and nothing else. */
function handlerFailed(session: ServerSession, cause: unknown): void {
  if (session.closed) return
  const error = new ProxyError('INTERNAL_ERROR', 'internal', 'The handler failed', { cause })
  if (session.responseStatus !== 0) {
    session.destroy(error)
    return
  }
  session.disableKeepAlive()
  session.writeHead(ResponseHeader.build(500), 0)
  session.endResponse(null)
}
