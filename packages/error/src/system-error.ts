import type { ErrorSource, KnownErrorCode } from './codes.ts'
import { peerError } from './peer-error.ts'
import { isProxyError, type ProxyError, type ProxyErrorOptions } from './proxy-error.ts'

/**
 * Translates an error of Node's (`error.code`, `error.syscall`) into a {@link ProxyError} with that error as its cause.
 *
 * Called once, where the failure enters. A `ProxyError` is returned as it is. Lack of descriptors, buffers or local
 * addresses is our own fault whoever the other side was, so these come out as `internal`.
 *
 * @param error - What a socket, a TLS socket or the resolver gave; any value is taken.
 * @param source - Whose connection it was.
 * @param act - What failed, in the way of a message: `'Cannot connect to "10.0.0.1:80"'`.
 * @param options - `cause` is always `error`. `retry` is `'never'` unless given.
 */
export function fromSystemError(
  error: unknown,
  source: ErrorSource,
  act: string,
  options?: Omit<ProxyErrorOptions, 'cause'>,
): ProxyError {
  if (isProxyError(error)) return error
  const { code, syscall } = facts(error)
  const known = translate(code, syscall)
  const isOurs = known === 'RESOURCE_EXHAUSTED' || known === 'BIND_FAILED'
  const message = code === '' ? act : `${act}: ${code}`
  return peerError(known, isOurs ? 'internal' : source, message, { ...options, cause: error })
}

/** What Node's errors carry, as far as it is read here. */
interface SystemFacts {
  readonly code?: unknown
  readonly syscall?: unknown
  readonly errors?: unknown
}

/** `code` and `syscall` of an error; of its first part when Node tried several addresses and each one failed. */
function facts(error: unknown): { code: string; syscall: string } {
  if (typeof error !== 'object' || error === null) return { code: '', syscall: '' }
  const outer: SystemFacts = error
  const inner: SystemFacts = (Array.isArray(outer.errors) ? outer.errors[0] : undefined) ?? outer
  const code = outer.code ?? inner.code
  return {
    code: typeof code === 'string' ? code : '',
    syscall: typeof inner.syscall === 'string' ? inner.syscall : '',
  }
}

const BY_CODE: ReadonlyMap<string, KnownErrorCode> = new Map<string, KnownErrorCode>([
  ['ECONNREFUSED', 'CONNECT_REFUSED'],
  ['EHOSTUNREACH', 'CONNECT_NO_ROUTE'],
  ['ENETUNREACH', 'CONNECT_NO_ROUTE'],
  ['ENOTFOUND', 'DNS_FAILED'],
  ['ECONNRESET', 'CONNECTION_CLOSED'],
  ['ECONNABORTED', 'CONNECTION_CLOSED'],
  ['ENOTCONN', 'CONNECTION_CLOSED'],
  ['EPIPE', 'CONNECTION_CLOSED'],
  ['ERR_STREAM_PREMATURE_CLOSE', 'CONNECTION_CLOSED'],
  ['ERR_STREAM_DESTROYED', 'CONNECTION_CLOSED'],
  ['ERR_SOCKET_CLOSED', 'CONNECTION_CLOSED'],
  ['ERR_SOCKET_CLOSED_BEFORE_CONNECTION', 'CONNECTION_CLOSED'],
  ['ERR_SOCKET_CONNECTION_TIMEOUT', 'CONNECT_TIMEOUT'],
  ['EADDRNOTAVAIL', 'BIND_FAILED'],
  ['EADDRINUSE', 'BIND_FAILED'],
  ['EMFILE', 'RESOURCE_EXHAUSTED'],
  ['ENFILE', 'RESOURCE_EXHAUSTED'],
  ['ENOBUFS', 'RESOURCE_EXHAUSTED'],
  ['ENOMEM', 'RESOURCE_EXHAUSTED'],
  ['EPROTO', 'TLS_HANDSHAKE_FAILED'],
  ['ERR_TLS_HANDSHAKE_TIMEOUT', 'TLS_HANDSHAKE_TIMEOUT'],
])

/** What is left once the code says nothing: the call that failed. */
const BY_SYSCALL: ReadonlyMap<string, KnownErrorCode> = new Map<string, KnownErrorCode>([
  ['connect', 'CONNECT_ERROR'],
  ['read', 'READ_ERROR'],
  ['write', 'WRITE_ERROR'],
  ['shutdown', 'WRITE_ERROR'],
  ['accept', 'ACCEPT_ERROR'],
  ['bind', 'BIND_FAILED'],
  ['listen', 'BIND_FAILED'],
  ['open', 'FILE_OPEN_ERROR'],
  ['getaddrinfo', 'DNS_FAILED'],
])

/** How OpenSSL's reasons not to trust a certificate begin or end, as Node spells them in `error.code`. */
const CERTIFICATE =
  /^(?:ERR_TLS_CERT_|CERT_|CRL_|UNABLE_TO_|ERROR_IN_C|INVALID_CA$|INVALID_PURPOSE$|PATH_LENGTH_|HOSTNAME_MISMATCH$)|SELF_SIGNED/

function translate(code: string, syscall: string): KnownErrorCode {
  if (code === 'ETIMEDOUT') return timeoutOf(syscall)
  const known = BY_CODE.get(code)
  if (known !== undefined) return known
  if (CERTIFICATE.test(code)) return 'INVALID_CERT'
  if (code.startsWith('ERR_SSL_') || code.startsWith('ERR_TLS_')) return 'TLS_HANDSHAKE_FAILED'
  if (code.startsWith('ERR_HTTP2_')) return 'H2_ERROR'
  if (code.startsWith('EAI_') || syscall.startsWith('query')) return 'DNS_FAILED'
  return BY_SYSCALL.get(syscall) ?? 'UNKNOWN_ERROR'
}

/** The kernel says ETIMEDOUT also on an open connection whose peer stopped answering; only the call tells. */
function timeoutOf(syscall: string): KnownErrorCode {
  if (syscall === 'read') return 'READ_TIMEOUT'
  if (syscall === 'write' || syscall === 'shutdown') return 'WRITE_TIMEOUT'
  return 'CONNECT_TIMEOUT'
}
