import { expect, test } from 'vitest'
import * as hpack from '../src/index.ts'

test('the exported names change on purpose only', () => {
  expect(Object.keys(hpack).sort()).toMatchInlineSnapshot(`
    [
      "HpackDecoder",
      "HpackEncoder",
    ]
  `)
})
