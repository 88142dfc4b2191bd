import { fromSystemError, type ProxyError, peerError } from '@cirque/error'
import type { HttpPeer } from './peer.ts'

/** How OpenSSL names an answer that is no TLS record: mostly a peer that speaks cleartext. */
const ANSWERS_OF_NO_TLS: ReadonlySet<string> = new Set([
  'ERR_SSL_WRONG_VERSION_NUMBER',
  'ERR_SSL_PACKET_LENGTH_TOO_LONG',
  'ERR_SSL_HTTP_REQUEST',
])

/** What a transport that could not be opened failed with, as an error of the peer: another attempt may do better. */
export function connectError(cause: Error, peer: HttpPeer): ProxyError {
  const error = fromSystemError(cause, 'upstream', `Cannot connect to ${peer}`)
  if (ANSWERS_OF_NO_TLS.has((cause as NodeJS.ErrnoException).code ?? '')) {
    const act = `Cannot connect to ${peer}: the peer does not seem to speak TLS`
    return peerError('TLS_HANDSHAKE_FAILED', 'upstream', act, { cause, retry: 'allowed' })
  }
  // A reset before the connection stood is a failed connect, not a lost exchange: nothing was sent.
  if (error.code === 'CONNECTION_CLOSED' || error.code === 'UNKNOWN_ERROR') {
    return peerError('CONNECT_ERROR', 'upstream', `Cannot connect to ${peer}`, { cause, retry: 'allowed' })
  }
  if (error.source === 'upstream') error.retry = 'allowed'
  return error
}
