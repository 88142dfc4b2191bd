export { HpackDecoder, type HpackDecoderOptions, type HpackFailure } from './decoder.ts'
export { HpackEncoder, type HpackEncoderOptions } from './encoder.ts'
