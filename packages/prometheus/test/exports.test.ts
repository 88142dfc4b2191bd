import { expect, test } from 'vitest'
import * as prometheus from '../src/index.ts'

test('the exported names change on purpose only', () => {
  expect(Object.keys(prometheus).sort()).toMatchInlineSnapshot(`
    [
      "DURATION_BUCKETS_DEFAULT",
      "MetricsService",
      "ProxyMetrics",
      "metricsService",
      "proxyMetrics",
    ]
  `)
})
