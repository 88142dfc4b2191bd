export { Http2Connection } from './connection.ts'
export type { Http2ConnectionHandler, Http2State, RequestProblem } from './connection-handler.ts'
export { ErrorCode, errorName } from './constants.ts'
export { isConnectionField } from './field-rules.ts'
export type { FieldsProblem, Http2Request, Http2Response } from './message-fields.ts'
export { type Http2Options, type ResolvedHttp2Options, resolveHttp2Options } from './options.ts'
export {
  Http2Stream,
  type Http2StreamHandler,
  type ResetOrigin,
  WRITE_DONE,
  WRITE_FULL,
  WRITE_PAUSE,
  WRITE_RETAINED,
  type WriteResult,
} from './stream.ts'
