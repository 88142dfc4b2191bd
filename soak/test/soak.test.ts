import { expect, test } from 'vitest'
import { failuresOf, reportOf } from '../src/report.ts'
import { soak } from '../src/soak.ts'

/** Whoever waits for the tests gets half a minute of it, a machine that nobody waits for more. */
const MINUTES = process.env['CI'] === undefined ? 0.6 : 2

test('a while of everything: nothing grows, nothing fails, and all is given back', async () => {
  const result = await soak({ minutes: MINUTES, perSecond: 40 })
  expect(failuresOf(result), reportOf(result)).toEqual([])
  expect(result.upgrades).toBeGreaterThan(0)
  expect(result.reloads).toBeGreaterThan(2)
}, 400_000)
