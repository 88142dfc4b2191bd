export { isFieldValue, isToken } from './characters.ts'
export { ChunkedDecoder, type ChunkedDecoderOptions, type ChunkSink, encodeChunkHead } from './chunked.ts'
export { FieldLines } from './field-lines.ts'
export type { HttpProfile } from './head-facts.ts'
export { HEAD_FAILURE_CODES, type HeadFailure, type HeadFailureCode } from './head-failure.ts'
export {
  HEAD_FAILED,
  type HeadLimits,
  type HeadMemo,
  type HeadParserOptions,
  NEED_MORE,
} from './head-parser.ts'
export { type FieldsInit, HeaderFields } from './header-fields.ts'
export { type HopByHopOptions, removeHopByHop } from './hop-by-hop.ts'
export { type HostPort, isHostPort, parseHostPort } from './host.ts'
export { httpDate, parseHttpDate } from './http-date.ts'
export { latin1 } from './latin1.ts'
export { COMMON_METHODS, isIdempotent } from './methods.ts'
export { RequestHeadParser } from './request-head-parser.ts'
export { type HttpVersion, RequestHeader } from './request-header.ts'
export { ResponseHeadParser } from './response-head-parser.ts'
export { ResponseHeader } from './response-header.ts'
export { bodylessStatus, canonicalReason } from './status.ts'
export { checkTrailers, isForbiddenTrailer } from './trailers.ts'
export {
  TRAIT_DATE,
  TRAIT_EXPECT,
  TRAIT_HOP_BY_HOP,
  TRAIT_SCATTERED,
  TRAIT_TE,
  TRAIT_UPGRADE,
} from './traits.ts'
