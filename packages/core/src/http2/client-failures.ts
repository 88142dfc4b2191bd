import { fromSystemError, ProxyError, peerError, type RetryDecision } from '@cirque/error'
import type { RequestHeader } from '@cirque/http'
import { ErrorCode, errorName, type ResetOrigin } from '@cirque/http2'
import type { ClientSession } from '../sessions/client-session.ts'
import type { HttpPeer } from '../upstream/peer.ts'
import type { Http2ClientConnection } from './client-connection.ts'

/** Why the peer cannot be asked for `upgrade`; null when it can. */
export function upgradeRefusal(
  connection: Http2ClientConnection,
  peer: HttpPeer,
  upgrade: RequestHeader,
): ProxyError | null {
  if (connection.connectProtocol !== true) {
    if (peer.options.httpVersion === 'auto') {
      connection.owner.onNoConnectProtocol(peer)
      return peerError('H2_DOWNGRADE', 'upstream', 'Upstream takes upgrades over HTTP/1.1 only', {
        retry: 'allowed',
      })
    }
    return new ProxyError('TUNNEL_REFUSED', 'internal', `The HTTP/2 peer ${peer} carries no upgrades`, {
      status: 501,
    })
  }
  if (
    upgrade.get('upgrade')?.toLowerCase() !== 'websocket' ||
    upgrade.get('sec-websocket-key') === undefined
  ) {
    return new ProxyError('TUNNEL_REFUSED', 'internal', 'Only WebSockets are tunnelled over HTTP/2', {
      status: 501,
    })
  }
  return null
}

/** What a stream that ended too early says, and whether the request may be sent again. The connection learns from it. */
export function resetError(
  session: ClientSession,
  connection: Http2ClientConnection,
  peer: HttpPeer,
  code: number,
  origin: ResetOrigin,
): ProxyError {
  if (!session.responseStarted && (origin === 'unprocessed' || code === ErrorCode.REFUSED_STREAM)) {
    // It was not served, so that sending it again cannot do anything twice (RFC 9113 §8.7).
    session.requestSent = false
    connection.learnLimit()
    return peerError('H2_ERROR', 'upstream', 'Upstream refused the stream', { retry: 'allowed' })
  }
  if (code === ErrorCode.HTTP_1_1_REQUIRED) {
    connection.owner.onDowngrade(peer)
    connection.retire()
    const again = peer.options.httpVersion === 'auto' && !session.responseStarted
    if (again) session.requestSent = false
    return peerError('H2_DOWNGRADE', 'upstream', 'Upstream asks for HTTP/1.1', {
      retry: again ? 'allowed' : 'never',
    })
  }
  if (origin === 'rules') return peerError('H2_ERROR', 'upstream', 'Upstream sent a malformed response')
  const act = `Upstream reset the stream (${errorName(code)})`
  if (code === ErrorCode.ENHANCE_YOUR_CALM && !session.responseStarted) {
    // Too much for this connection, as node:http2 has it once 10 MB wait in a session; not for one with less to do.
    connection.learnLimit()
    return peerError('H2_ERROR', 'upstream', act, { retry: 'if-reused' })
  }
  return peerError('H2_ERROR', 'upstream', act)
}

/** The whole connection has ended. */
export function connectionError(session: ClientSession, connection: Http2ClientConnection): ProxyError {
  const retry: RetryDecision = session.responseStarted
    ? 'never'
    : session.requestSent
      ? 'if-reused'
      : 'allowed'
  if (connection.broken !== null) return connection.broken
  const own = connection.ownFailure
  if (own !== null) return peerError(own.code, 'upstream', own.message, { cause: own, retry })
  const { cause } = connection
  if (cause !== null && 'syscall' in cause) {
    return fromSystemError(cause, 'upstream', 'Connection to upstream failed', { retry })
  }
  if (connection.isBroken) {
    return peerError('INVALID_H2', 'upstream', 'Upstream broke the rules of HTTP/2', { cause })
  }
  return peerError('CONNECTION_CLOSED', 'upstream', 'Upstream closed the connection', { cause, retry })
}
