import { expect, test } from 'vitest'
import * as ketama from '../src/index.ts'

test('the exported names change on purpose only', () => {
  expect(Object.keys(ketama).sort()).toMatchInlineSnapshot(`
    [
      "Continuum",
      "buildContinuum",
    ]
  `)
})
