import { expect, test } from 'vitest'
import * as telemetry from '../src/index.ts'

test('the exported names change on purpose only', () => {
  expect(Object.keys(telemetry).sort()).toMatchInlineSnapshot(`
    [
      "OpenTelemetry",
      "openTelemetry",
    ]
  `)
})
