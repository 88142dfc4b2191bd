import { isProxyError, type ProxyError } from './proxy-error.ts'

/**
 * The status to answer with when `error` ends a request, or 0 when nothing can be answered: the client is gone.
 *
 * An error that carries a status keeps it. Else load and shutdown codes give 503, `BODY_TOO_LARGE` 413, an upstream
 * 504 for its timeouts and 502 for the rest, a downstream 408 for its timeouts, 0 for its connection and 400 for the
 * rest, and everything else, foreign errors too, 500. Called once per failed request.
 */
export function statusForError(error: unknown): number {
  if (!isProxyError(error)) return 500
  if (error.status !== undefined) return error.status
  switch (error.code) {
    case 'QUEUE_FULL':
    case 'QUEUE_TIMEOUT':
    case 'NO_PEER':
    case 'CIRCUIT_OPEN':
    case 'SHUTTING_DOWN':
    case 'RETRY_BUDGET_EXHAUSTED':
      return 503
    case 'BODY_TOO_LARGE':
      return 413
  }
  if (error.source === 'upstream') return upstreamStatus(error)
  if (error.source === 'downstream') return downstreamStatus(error)
  return 500
}

function upstreamStatus(error: ProxyError): number {
  switch (error.code) {
    case 'CONNECT_TIMEOUT':
    case 'READ_TIMEOUT':
    case 'WRITE_TIMEOUT':
      return 504
    default:
      return 502
  }
}

function downstreamStatus(error: ProxyError): number {
  switch (error.code) {
    case 'HEADER_TIMEOUT':
    case 'REQUEST_TIMEOUT':
    case 'READ_TIMEOUT':
      return 408
    case 'READ_ERROR':
    case 'WRITE_ERROR':
    case 'CONNECTION_CLOSED':
      return 0
    default:
      return 400
  }
}
