import { expect, test } from 'vitest'
import * as accessLog from '../src/index.ts'

test('the exported names change on purpose only', () => {
  expect(Object.keys(accessLog).sort()).toMatchInlineSnapshot(`
    [
      "ACCESS_LOG_PRESETS",
      "ACCESS_LOG_VARIABLES",
      "AccessLog",
      "REDACTED_HEADERS_DEFAULT",
      "REDACTED_QUERY_DEFAULT",
      "accessLog",
      "fileDestination",
      "syslogDestination",
    ]
  `)
})
