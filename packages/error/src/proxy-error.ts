import { type ErrorCode, type ErrorSource, errorCodes, type RetryDecision } from './codes.ts'

/** The optional facts of a {@link ProxyError}. */
export interface ProxyErrorOptions {
  /** The failure behind this one, of any type. */
  readonly cause?: unknown
  /** Default: taken over from `cause` when that is a `ProxyError`, else `'never'`. */
  readonly retry?: RetryDecision | undefined
  /** What was going on, for the log: `'attempt 2 of 3'`. No header values, bodies or keys. */
  readonly context?: string | undefined
  /**
   * The answer's status, 100 to 599. Required with the code `HTTP_STATUS`; with any other code it replaces the
   * status that {@link statusForError} would choose, such as 431 in place of 400.
   */
  readonly status?: number | undefined
}

const BRAND: unique symbol = Symbol.for('@cirque/error.ProxyError')

/**
 * An expected failure while serving a request. Match on `code`; `message` may change in any release.
 *
 * Building one captures a stack, which costs microseconds. What a peer can cause at will is built by
 * {@link peerError} instead.
 *
 * @throws {RangeError} If `code`, `source`, `retry` or `status` is none of the documented values.
 * @throws {TypeError} If `message` or `context` is not a string.
 * @example
 * throw new ProxyError('NO_PEER', 'internal', 'Cannot choose a backend for "api"', { retry: 'never' })
 */
export class ProxyError extends Error {
  override readonly name: string = 'ProxyError'
  readonly code: ErrorCode
  readonly source: ErrorSource
  /** Whether the request may be sent again; the phases that decide on retries may change it. */
  retry: RetryDecision
  readonly context: string | undefined
  /** The status the answer shall have, or `undefined` to leave that to {@link statusForError}. */
  readonly status: number | undefined

  constructor(code: ErrorCode, source: ErrorSource, message: string, options?: ProxyErrorOptions) {
    const cause = options?.cause
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
    this.source = source
    this.retry = options?.retry ?? (isProxyError(cause) ? cause.retry : 'never')
    this.context = options?.context
    this.status = options?.status
    validate(this, message)
  }
}
Object.defineProperty(ProxyError.prototype, BRAND, { value: true })

/** True for a `ProxyError` of any installed copy of this package, where `instanceof` would say no. */
export function isProxyError(value: unknown): value is ProxyError {
  return typeof value === 'object' && value !== null && (value as { [BRAND]?: unknown })[BRAND] === true
}

function validate(error: ProxyError, message: string): void {
  const { code, source, retry, context, status, cause } = error
  // A newer copy of this package may know more codes: its errors can still be wrapped.
  if (!isErrorCode(code) && !(isProxyError(cause) && cause.code === code)) {
    throw new RangeError(`code must be a known error code or begin with "CUSTOM_", got ${received(code)}`)
  }
  if (source !== 'downstream' && source !== 'upstream' && source !== 'internal') {
    throw new RangeError(`source must be "downstream", "upstream" or "internal", got ${received(source)}`)
  }
  if (retry !== 'never' && retry !== 'allowed' && retry !== 'if-reused') {
    throw new RangeError(`retry must be "never", "allowed" or "if-reused", got ${received(retry)}`)
  }
  if (typeof message !== 'string') throw new TypeError(`message must be a string, got ${received(message)}`)
  if (context !== undefined && typeof context !== 'string') {
    throw new TypeError(`context must be a string, got ${received(context)}`)
  }
  if (status === undefined ? code === 'HTTP_STATUS' : !isStatus(status)) {
    throw new RangeError(`status must be an integer from 100 to 599, got ${received(status)}`)
  }
}

function isErrorCode(code: unknown): boolean {
  return typeof code === 'string' && (Object.hasOwn(errorCodes, code) || /^CUSTOM_./s.test(code))
}

function isStatus(status: unknown): boolean {
  return Number.isInteger(status) && (status as number) >= 100 && (status as number) <= 599
}

function received(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value.slice(0, 80)) : String(value)
}
