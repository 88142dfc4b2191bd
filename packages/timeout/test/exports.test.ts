import * as timeout from '@cirque/timeout'
import { expect, test } from 'vitest'

test('the package exports these names and no others', () => {
  expect(Object.keys(timeout).sort()).toMatchInlineSnapshot(`
    [
      "CoarseTimer",
      "SteppedWheel",
      "TIMER_MS_MAX",
      "TimeoutError",
      "TimerWheel",
      "now",
      "sharedWheel",
      "sleep",
      "timeout",
    ]
  `)
})
