/** Who caused a failure. It picks the answer, and decides whose health the failure counts against. */
export type ErrorSource = 'downstream' | 'upstream' | 'internal'

/**
 * Whether the request may be sent again. `if-reused`: only when it failed on a pooled connection, which the
 * upstream may have closed at that same moment. Even an `allowed` retry still needs a body that can be replayed.
 */
export type RetryDecision = 'never' | 'allowed' | 'if-reused'

/** A failure that Cirque itself reports. A code is documented, never renamed and never reused. */
export type KnownErrorCode =
  // Connecting
  | 'CONNECT_TIMEOUT'
  | 'CONNECT_REFUSED'
  | 'CONNECT_NO_ROUTE'
  | 'CONNECT_ERROR'
  | 'CONNECT_PROXY_FAILED'
  | 'DNS_FAILED'
  | 'BIND_FAILED'
  | 'ACCEPT_ERROR'
  | 'SOCKET_ERROR'
  | 'HANDSHAKE_ERROR'
  | 'TLS_HANDSHAKE_FAILED'
  | 'TLS_HANDSHAKE_TIMEOUT'
  | 'TLS_WANT_X509_LOOKUP'
  | 'INVALID_CERT'
  | 'NO_PEER'
  | 'TUNNEL_REFUSED'
  // Speaking
  | 'INVALID_HTTP_HEADER'
  | 'INVALID_CHUNK'
  | 'INVALID_TRAILER'
  | 'PREMATURE_BODY_END'
  | 'SURPLUS_DATA'
  | 'BODY_TOO_LARGE'
  | 'RESPONSE_TOO_LARGE'
  | 'H1_ERROR'
  | 'H2_ERROR'
  | 'H2_DOWNGRADE'
  | 'INVALID_H2'
  | 'PING_TIMEOUT'
  | 'HTTP_STATUS'
  // Reading and writing
  | 'READ_ERROR'
  | 'WRITE_ERROR'
  | 'READ_TIMEOUT'
  | 'WRITE_TIMEOUT'
  | 'HEADER_TIMEOUT'
  | 'REQUEST_TIMEOUT'
  | 'CONNECTION_CLOSED'
  // Load and shutdown
  | 'QUEUE_FULL'
  | 'QUEUE_TIMEOUT'
  | 'CIRCUIT_OPEN'
  | 'RETRY_BUDGET_EXHAUSTED'
  | 'RESOURCE_EXHAUSTED'
  | 'SHUTTING_DOWN'
  // User code, files and the rest
  | 'FILTER_FAILED'
  | 'FILTER_TIMEOUT'
  | 'FILE_OPEN_ERROR'
  | 'FILE_CREATE_ERROR'
  | 'FILE_READ_ERROR'
  | 'FILE_WRITE_ERROR'
  | 'INVARIANT_BROKEN'
  | 'INTERNAL_ERROR'
  | 'UNKNOWN_ERROR'

/** A code of Cirque's, or one of yours: any name that begins with `CUSTOM_`. */
export type ErrorCode = KnownErrorCode | `CUSTOM_${string}`

/** What is usual for a code. The error itself has the last word on its source and its retry decision. */
export interface ErrorCodeInfo {
  /** Who is to blame in most cases. */
  readonly source: ErrorSource
  /** The answer's status when it comes from that source; `null` for `HTTP_STATUS`, which carries its own. */
  readonly status: number | null
  /** The most that can be right for this code; an error is only retried when its maker said so. */
  readonly retry: RetryDecision
  /** One line for people. */
  readonly meaning: string
}

function info(
  source: ErrorSource,
  status: number | null,
  retry: RetryDecision,
  meaning: string,
): ErrorCodeInfo {
  return Object.freeze({ source, status, retry, meaning })
}

/** Every code of Cirque's, with its usual source, status and retry decision. `docs/user-guide/errors.md` is this table. */
export const errorCodes: Readonly<Record<KnownErrorCode, ErrorCodeInfo>> = Object.freeze({
  CONNECT_TIMEOUT: info('upstream', 504, 'allowed', 'No connection within the connect timeout'),
  CONNECT_REFUSED: info('upstream', 502, 'allowed', 'The peer refused the connection'),
  CONNECT_NO_ROUTE: info('upstream', 502, 'allowed', 'The network knows no way to the peer'),
  CONNECT_ERROR: info('upstream', 502, 'allowed', 'Connecting failed for another reason'),
  CONNECT_PROXY_FAILED: info('upstream', 502, 'allowed', 'The next-hop proxy did not open the tunnel'),
  DNS_FAILED: info('upstream', 502, 'allowed', 'The peer’s name did not resolve'),
  BIND_FAILED: info('internal', 500, 'never', 'A local address could not be used'),
  ACCEPT_ERROR: info('internal', 500, 'never', 'A listener could not accept a connection'),
  SOCKET_ERROR: info('internal', 500, 'never', 'A socket could not be created or set up'),
  HANDSHAKE_ERROR: info('upstream', 502, 'allowed', 'A protocol handshake other than TLS failed'),
  TLS_HANDSHAKE_FAILED: info('upstream', 502, 'allowed', 'The TLS handshake failed'),
  TLS_HANDSHAKE_TIMEOUT: info('upstream', 502, 'allowed', 'The TLS handshake did not finish in time'),
  TLS_WANT_X509_LOOKUP: info('internal', 500, 'never', 'Looking up a certificate for a handshake failed'),
  INVALID_CERT: info('upstream', 502, 'allowed', 'The peer’s certificate was not accepted'),
  NO_PEER: info('internal', 503, 'never', 'No backend was there to choose'),
  TUNNEL_REFUSED: info('upstream', 502, 'never', 'The peer did not switch protocols as asked'),

  INVALID_HTTP_HEADER: info('downstream', 400, 'never', 'A message head breaks the rules of HTTP'),
  INVALID_CHUNK: info('downstream', 400, 'never', 'A chunked body breaks the rules of HTTP/1.1'),
  INVALID_TRAILER: info('downstream', 400, 'never', 'A trailer section breaks the rules of HTTP'),
  PREMATURE_BODY_END: info('upstream', 502, 'never', 'The connection ended within a body'),
  SURPLUS_DATA: info('upstream', 502, 'never', 'Bytes arrived that belong to no message'),
  BODY_TOO_LARGE: info('downstream', 413, 'never', 'A request body is over its limit'),
  RESPONSE_TOO_LARGE: info('upstream', 502, 'never', 'A response is over a limit, such as the cache’s'),
  H1_ERROR: info('upstream', 502, 'never', 'Another violation of HTTP/1'),
  H2_ERROR: info('upstream', 502, 'never', 'An HTTP/2 stream or connection failed'),
  H2_DOWNGRADE: info('upstream', 502, 'allowed', 'The peer asks for HTTP/1.1 in place of HTTP/2'),
  INVALID_H2: info('upstream', 502, 'allowed', 'The peer answered HTTP/2 with something else'),
  PING_TIMEOUT: info('upstream', 502, 'if-reused', 'An HTTP/2 ping was not answered in time'),
  HTTP_STATUS: info('internal', null, 'never', 'User code asked for an answer with this status'),

  READ_ERROR: info('upstream', 502, 'if-reused', 'Reading from a connection failed'),
  WRITE_ERROR: info('upstream', 502, 'if-reused', 'Writing to a connection failed'),
  READ_TIMEOUT: info('upstream', 504, 'never', 'Nothing was received within the read timeout'),
  WRITE_TIMEOUT: info('upstream', 504, 'never', 'Nothing could be sent within the write timeout'),
  HEADER_TIMEOUT: info('downstream', 408, 'never', 'A request head did not arrive in time'),
  REQUEST_TIMEOUT: info('downstream', 408, 'never', 'A request did not arrive as a whole in time'),
  CONNECTION_CLOSED: info('upstream', 502, 'if-reused', 'The connection was closed or reset'),

  QUEUE_FULL: info('internal', 503, 'never', 'A waiting queue was at its cap'),
  QUEUE_TIMEOUT: info('internal', 503, 'never', 'The wait in a queue took too long'),
  CIRCUIT_OPEN: info('internal', 503, 'never', 'A circuit breaker holds requests back'),
  RETRY_BUDGET_EXHAUSTED: info('internal', 503, 'never', 'Too many of the recent requests were retries'),
  RESOURCE_EXHAUSTED: info('internal', 500, 'never', 'The process ran out of file descriptors or buffers'),
  SHUTTING_DOWN: info('internal', 503, 'never', 'The server is ending and takes no more work'),

  FILTER_FAILED: info('internal', 500, 'never', 'A filter of the user’s threw'),
  FILTER_TIMEOUT: info('internal', 500, 'never', 'A filter of the user’s did not end in time'),
  FILE_OPEN_ERROR: info('internal', 500, 'never', 'A file could not be opened'),
  FILE_CREATE_ERROR: info('internal', 500, 'never', 'A file could not be created'),
  FILE_READ_ERROR: info('internal', 500, 'never', 'A file could not be read'),
  FILE_WRITE_ERROR: info('internal', 500, 'never', 'A file could not be written'),
  INVARIANT_BROKEN: info('internal', 500, 'never', 'A state of ours changed as it never may'),
  INTERNAL_ERROR: info('internal', 500, 'never', 'A fault of ours'),
  UNKNOWN_ERROR: info('internal', 500, 'never', 'A failure that nothing here knows how to name'),
})
