import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { keptInputs, show } from '../src/corpus.ts'
import { loadTarget, TARGETS } from '../src/target.ts'

const targets = await Promise.all([...TARGETS.keys()].map((name) => loadTarget(name)))

describe.each(targets.map((target) => [target.name, target] as const))('%s', (name, target) => {
  test('holds for every kept input', async () => {
    const inputs = keptInputs(name)
    expect(inputs.length).toBeGreaterThan(0)
    for (const input of inputs) await expectHolds(input, target.run)
  })

  test('holds for inputs of the format', async () => {
    await fc.assert(
      fc.asyncProperty(target.inputs, async (input) => {
        await target.run(input)
      }),
      { numRuns: 300, seed: 6 },
    )
  })
})

async function expectHolds(input: Buffer, run: (input: Buffer) => void | Promise<void>): Promise<void> {
  try {
    await run(input)
  } catch (cause) {
    throw new Error(`It fails on ${show(input)}: ${(cause as Error).message}`, { cause })
  }
}
