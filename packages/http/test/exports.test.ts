import { expect, test } from 'vitest'
import * as http from '../src/index.ts'

test('the names this package promises', () => {
  expect(Object.keys(http).sort()).toMatchInlineSnapshot(`
    [
      "COMMON_METHODS",
      "ChunkedDecoder",
      "FieldLines",
      "HEAD_FAILED",
      "HEAD_FAILURE_CODES",
      "HeaderFields",
      "NEED_MORE",
      "RequestHeadParser",
      "RequestHeader",
      "ResponseHeadParser",
      "ResponseHeader",
      "TRAIT_DATE",
      "TRAIT_EXPECT",
      "TRAIT_HOP_BY_HOP",
      "TRAIT_SCATTERED",
      "TRAIT_TE",
      "TRAIT_UPGRADE",
      "bodylessStatus",
      "canonicalReason",
      "checkTrailers",
      "encodeChunkHead",
      "httpDate",
      "isFieldValue",
      "isForbiddenTrailer",
      "isHostPort",
      "isIdempotent",
      "isToken",
      "latin1",
      "parseHostPort",
      "parseHttpDate",
      "removeHopByHop",
    ]
  `)
})
