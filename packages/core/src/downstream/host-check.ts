import { parseHostPort, type RequestHeadParser } from '@cirque/http'
import type { Http1ServerConnection } from '../http1/server-connection.ts'
import type { Http1ConnectionOwner } from '../http1/server-life.ts'
import type { Http2ConnectionOwner, Http2ServerConnection } from '../http2/server-connection.ts'
import type { ServerSession } from '../sessions/server-session.ts'
import { HOST_ASKS_OTHERWISE, HOST_SERVED, type HostScope } from '../tls/host-scope.ts'
import { normalServerName } from '../tls/server-names.ts'
import type { ResolvedHttpServerOptions } from './http-server-options.ts'
import { HttpSession } from './http-session.ts'

/** What owns the connections of an HTTP application. */
type ConnectionOwner = Http1ConnectionOwner & Http2ConnectionOwner

/**
 * Stands between an application and one TLS connection, and answers 421 to requests for hosts that the connection
 * is not for (RFC 9110 §15.5.20). Everything else goes on to the application.
 */
export class HostCheckingOwner implements Http1ConnectionOwner, Http2ConnectionOwner {
  readonly #app: ConnectionOwner
  readonly #scope: HostScope
  /** Also refuse hosts that the certificate does not name. */
  readonly #byName: boolean

  constructor(app: ConnectionOwner, scope: HostScope, byName: boolean) {
    this.#app = app
    this.#scope = scope
    this.#byName = byName
  }

  get options(): ResolvedHttpServerOptions {
    return this.#app.options
  }

  get http2Counts(): ConnectionOwner['http2Counts'] {
    return this.#app.http2Counts
  }

  get draining(): boolean {
    return this.#app.draining
  }

  get keepsIdle(): boolean {
    return this.#app.keepsIdle
  }

  get spareParser(): RequestHeadParser | null {
    return this.#app.spareParser
  }

  set spareParser(parser: RequestHeadParser | null) {
    this.#app.spareParser = parser
  }

  onSession(session: ServerSession): void {
    if (!this.#isMisdirected(session)) {
      this.#app.onSession(session as Parameters<ConnectionOwner['onSession']>[0])
      return
    }
    this.onHeadRefused(421, 'MISDIRECTED_REQUEST')
    // What follows an upgrade may be meant for the tunnel.
    if (session.isUpgrade) session.disableKeepAlive()
    new HttpSession(session, this.options.serverName).respondError(421)
  }

  /** A CONNECT names somebody else's host, and an old client may name none. */
  #isMisdirected({ request }: ServerSession): boolean {
    const authority = request.host
    if (authority === undefined || request.method === 'CONNECT') return false
    const verdict = this.#scope.judgeHost(normalServerName(parseHostPort(authority)?.host))
    return verdict === HOST_SERVED ? false : this.#byName || verdict === HOST_ASKS_OTHERWISE
  }

  onHeadRefused(status: number, code: string): void {
    this.#app.onHeadRefused(status, code)
  }

  onBroken(): void {
    this.#app.onBroken()
  }

  onConnectionClosed(connection: Http1ServerConnection & Http2ServerConnection): void {
    this.#app.onConnectionClosed(connection)
  }
}
