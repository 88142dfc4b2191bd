import * as error from '@cirque/error'
import { expect, test } from 'vitest'

test('the package exports these names and no others', () => {
  expect(Object.keys(error).sort()).toMatchInlineSnapshot(`
    [
      "ProxyError",
      "States",
      "brokenInvariants",
      "displayError",
      "errorCodes",
      "fromSystemError",
      "isProxyError",
      "peerError",
      "rootCause",
      "statusForError",
      "withContext",
    ]
  `)
})
