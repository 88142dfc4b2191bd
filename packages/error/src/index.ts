export {
  type ErrorCode,
  type ErrorCodeInfo,
  type ErrorSource,
  errorCodes,
  type KnownErrorCode,
  type RetryDecision,
} from './codes.ts'
export { displayError, rootCause } from './display.ts'
export { peerError, withContext } from './peer-error.ts'
export { isProxyError, ProxyError, type ProxyErrorOptions } from './proxy-error.ts'
export { brokenInvariants, type InvariantMessage, type StateMoves, States } from './states.ts'
export { statusForError } from './status.ts'
export { fromSystemError } from './system-error.ts'
