import * as pool from '@cirque/pool'
import { expect, test } from 'vitest'

test('the package exports these names and no others', () => {
  expect(Object.keys(pool).sort()).toMatchInlineSnapshot(`
    [
      "ConnectionPool",
    ]
  `)
})
