import { expect, test } from 'vitest'
import { failuresOf, reportOf } from '../src/report.ts'
import { soak } from '../src/soak.ts'

test('half a minute of everything: nothing grows, nothing fails, and all is given back', async () => {
  const result = await soak({ minutes: 0.6, perSecond: 40 })
  expect(failuresOf(result), reportOf(result)).toEqual([])
  expect(result.upgrades).toBeGreaterThan(0)
  expect(result.reloads).toBeGreaterThan(2)
}, 240_000)
