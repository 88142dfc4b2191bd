import type { ErrorCode, ErrorSource } from './codes.ts'
import { ProxyError, type ProxyErrorOptions } from './proxy-error.ts'

/**
 * Builds a {@link ProxyError} without capturing a stack, for the failures that a peer can cause at will.
 *
 * A stack would name our own lines, the same ones each time, and cost more than serving the request
 * (`bench/error.bench.ts`). The `stack` of the result is its first line only.
 *
 * @param message - The act that failed, as for the constructor; the arguments are checked alike.
 * @example
 * throw peerError('HEADER_TIMEOUT', 'downstream', `No request head within ${ms} ms`)
 */
export function peerError(
  code: ErrorCode,
  source: ErrorSource,
  message: string,
  options?: ProxyErrorOptions,
): ProxyError {
  const stackTraceLimit = Error.stackTraceLimit
  // Reflect.set gives false where the property is frozen (node --frozen-intrinsics); an assignment would throw.
  if (!Reflect.set(Error, 'stackTraceLimit', 0)) return new ProxyError(code, source, message, options)
  try {
    return new ProxyError(code, source, message, options)
  } finally {
    Error.stackTraceLimit = stackTraceLimit
  }
}

/**
 * The same failure with a note on what was going on: a new error of the same code, source, message, retry
 * decision and status, with the given one as its cause. {@link displayError} shows the shared parts once.
 *
 * @param context - What the error itself could not know, such as `'while purging'`. It gets logged.
 */
export function withContext(error: ProxyError, context: string): ProxyError {
  const { code, source, message, retry, status } = error
  return peerError(code, source, message, { cause: error, retry, context, status })
}
