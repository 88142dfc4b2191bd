/** Why a head, a chunk or a trailer was refused. Codes are stable: never renamed, never reused. */
export type HeadFailureCode =
  | 'BARE_CR'
  | 'BARE_LF'
  | 'CONTENT_LENGTH_WITH_TRANSFER_ENCODING'
  | 'DUPLICATE_CONTENT_LENGTH'
  | 'DUPLICATE_HOST'
  | 'DUPLICATE_TRANSFER_ENCODING'
  | 'FORBIDDEN_CONNECTION_OPTION'
  | 'FORBIDDEN_TRAILER'
  | 'HEAD_TOO_LARGE'
  | 'HOST_MISMATCH'
  | 'HTTP2_PREFACE'
  | 'INVALID_CHUNK'
  | 'INVALID_CONTENT_LENGTH'
  | 'INVALID_FIELD_NAME'
  | 'INVALID_FIELD_VALUE'
  | 'INVALID_HOST'
  | 'INVALID_METHOD'
  | 'INVALID_REQUEST_LINE'
  | 'INVALID_STATUS_LINE'
  | 'INVALID_TARGET'
  | 'INVALID_TRANSFER_ENCODING'
  | 'INVALID_VERSION'
  | 'LEADING_SPACE'
  | 'METHOD_TOO_LONG'
  | 'MISSING_HOST'
  | 'OBSOLETE_FOLD'
  | 'SPACE_BEFORE_COLON'
  | 'TARGET_TOO_LONG'
  | 'TOO_MANY_CONNECTION_OPTIONS'
  | 'TOO_MANY_FIELDS'
  | 'TRANSFER_ENCODING_ON_HTTP_1_0'
  | 'UNSUPPORTED_EXPECTATION'
  | 'UNSUPPORTED_VERSION'

/** A refusal. One frozen object per code: a peer that sends rubbish costs no allocation and no stack. */
export interface HeadFailure {
  /** What to answer: a client's fault is 4xx or 5xx as the rule says, an upstream's is always 502. */
  readonly status: 400 | 414 | 417 | 431 | 501 | 502 | 505
  readonly code: HeadFailureCode
  /** For a log line; may change in any release. Holds nothing that the peer sent. */
  readonly message: string
}

const MESSAGES: Readonly<Record<HeadFailureCode, string>> = {
  BARE_CR: 'Carriage return without a line feed after it',
  BARE_LF: 'Line feed without a carriage return before it',
  CONTENT_LENGTH_WITH_TRANSFER_ENCODING: 'Content-Length together with Transfer-Encoding',
  DUPLICATE_CONTENT_LENGTH: 'More than one Content-Length value',
  DUPLICATE_HOST: 'More than one Host field',
  DUPLICATE_TRANSFER_ENCODING: 'More than one Transfer-Encoding field',
  FORBIDDEN_CONNECTION_OPTION: 'Connection lists a field that is not for one hop only',
  FORBIDDEN_TRAILER: 'Trailer section holds a field for framing, routing or control',
  HEAD_TOO_LARGE: 'Head is larger than allowed',
  HOST_MISMATCH: 'Host differs from the authority of the target',
  HTTP2_PREFACE: 'HTTP/2 connection preface on an HTTP/1 connection',
  INVALID_CHUNK: 'Chunk line, chunk end or trailer section is malformed or too large',
  INVALID_CONTENT_LENGTH: 'Content-Length is not a decimal number below 2^53',
  INVALID_FIELD_NAME: 'Field name is not a token followed by a colon',
  INVALID_FIELD_VALUE: 'Field value holds a control character',
  INVALID_HOST: 'Host is not a host with an optional port',
  INVALID_METHOD: 'Method is not a token',
  INVALID_REQUEST_LINE: 'Request line is not method, target and version with single spaces',
  INVALID_STATUS_LINE: 'Status line is not version, three digits and a reason',
  INVALID_TARGET: 'Target has a form or a character that the method does not allow',
  INVALID_TRANSFER_ENCODING: 'Transfer-Encoding is not exactly "chunked"',
  INVALID_VERSION: 'Version is malformed',
  LEADING_SPACE: 'White space before the first field',
  METHOD_TOO_LONG: 'Method is longer than 32 bytes',
  MISSING_HOST: 'HTTP/1.1 request without a Host field',
  OBSOLETE_FOLD: 'Field value continues on the next line',
  SPACE_BEFORE_COLON: 'White space between field name and colon',
  TARGET_TOO_LONG: 'Target is longer than allowed',
  TOO_MANY_CONNECTION_OPTIONS: 'Connection lists more options than allowed',
  TOO_MANY_FIELDS: 'More fields than allowed',
  TRANSFER_ENCODING_ON_HTTP_1_0: 'Transfer-Encoding in an HTTP/1.0 message',
  UNSUPPORTED_EXPECTATION: 'Expect asks for something else than one 100-continue',
  UNSUPPORTED_VERSION: 'Version is neither HTTP/1.0 nor HTTP/1.1',
}

const REQUEST_STATUS: Readonly<Partial<Record<HeadFailureCode, HeadFailure['status']>>> = {
  HEAD_TOO_LARGE: 431,
  HTTP2_PREFACE: 505,
  METHOD_TOO_LONG: 501,
  TARGET_TOO_LONG: 414,
  TOO_MANY_CONNECTION_OPTIONS: 431,
  TOO_MANY_FIELDS: 431,
  UNSUPPORTED_EXPECTATION: 417,
  UNSUPPORTED_VERSION: 505,
}

/** Every code, sorted: what `docs/user-guide/http1-strictness.md` is compared with. */
export const HEAD_FAILURE_CODES: readonly HeadFailureCode[] = Object.freeze(
  (Object.keys(MESSAGES) as HeadFailureCode[]).sort(),
)

type FailureTable = Readonly<Record<HeadFailureCode, HeadFailure>>

function tableOf(statusOf: (code: HeadFailureCode) => HeadFailure['status']): FailureTable {
  const entries = HEAD_FAILURE_CODES.map((code) => {
    const failure: HeadFailure = Object.freeze({ status: statusOf(code), code, message: MESSAGES[code] })
    return [code, failure] as const
  })
  return Object.freeze(Object.fromEntries(entries)) as FailureTable
}

/** Failures of what a client sent. */
export const REQUEST_FAILURES: FailureTable = tableOf((code) => REQUEST_STATUS[code] ?? 400)

/** Failures of what an upstream sent: the client gets 502. */
export const RESPONSE_FAILURES: FailureTable = tableOf(() => 502)
