import { expect, test } from 'vitest'
import * as http2 from '../src/index.ts'

test('the exported names change on purpose only', () => {
  expect(Object.keys(http2).sort()).toMatchInlineSnapshot(`
    [
      "ErrorCode",
      "Http2Connection",
      "Http2Stream",
      "WRITE_DONE",
      "WRITE_FULL",
      "WRITE_PAUSE",
      "WRITE_RETAINED",
      "errorName",
      "isConnectionField",
      "resolveHttp2Options",
    ]
  `)
})
