import { expect, test } from 'vitest'
import * as proxy from '../src/index.ts'

test('the exported names change on purpose only', () => {
  expect(Object.keys(proxy).sort()).toMatchInlineSnapshot(`
    [
      "CONNECT_ALLOW_MAX",
      "HttpProxy",
      "HttpProxyService",
      "LIMIT_DECISIONS_MAX",
      "PHASES",
      "Session",
      "TokenRetryBudget",
      "httpProxyService",
    ]
  `)
})
