import { expect, test } from 'vitest'
import * as limits from '../src/index.ts'

test('the exported names change on purpose only', () => {
  expect(Object.keys(limits).sort()).toMatchInlineSnapshot(`
    [
      "ConcurrencyLimit",
      "Decision",
      "Estimator",
      "FallbackLimitStore",
      "Gcra",
      "Inflight",
      "MemoryLimitStore",
      "Rate",
      "SlidingWindow",
      "TokenBucket",
      "proportionalRate",
    ]
  `)
})
