export { type ErrorCode, type ErrorCodeInfo, errorCodes, type KnownErrorCode } from './codes.ts'
export { displayError, rootCause } from './display.ts'
export { peerError, withContext } from './peer-error.ts'
export {
  type ErrorSource,
  isProxyError,
  ProxyError,
  type ProxyErrorOptions,
  type RetryDecision,
} from './proxy-error.ts'
export { brokenInvariants, type InvariantMessage, type StateMoves, States } from './states.ts'
export { statusForError } from './status.ts'
export { fromSystemError } from './system-error.ts'
