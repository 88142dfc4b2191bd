import * as tinyufo from '@cirque/tinyufo'
import { expect, test } from 'vitest'

test('the package exports these names and no others', () => {
  expect(Object.keys(tinyufo).sort()).toMatchInlineSnapshot(`
    [
      "TinyUfo",
    ]
  `)
})
