import { subscribe } from 'node:diagnostics_channel'
import { afterEach, expect } from 'vitest'

/** Tests that break invariants by force; in all others a broken one is a failure, whatever else they look at. */
const FORCED = /invariants\.test\.ts$|states\.test\.ts$|proxy-metrics\.test\.ts$/

const broken: string[] = []
subscribe('cirque:invariant', (message) => {
  const { machine, from, to } = message as { machine: string; from: string; to: string }
  broken.push(`${machine}: from "${from}" to "${to}"`)
})

afterEach(() => {
  const found = broken.splice(0)
  if (!FORCED.test(expect.getState().testPath ?? '')) expect(found, 'broken invariants').toEqual([])
})
