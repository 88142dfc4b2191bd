import * as memoryCache from '@cirque/memory-cache'
import { expect, test } from 'vitest'

test('the package exports these names and no others', () => {
  expect(Object.keys(memoryCache).sort()).toMatchInlineSnapshot(`
    [
      "CacheLoadError",
      "MemoryCache",
      "ReadThroughCache",
      "isHit",
    ]
  `)
})
