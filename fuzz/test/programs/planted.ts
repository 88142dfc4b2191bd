// A target with a defect, for the tests of the driver: planted.ts defect, or planted.ts hang FILE.

import fc from 'fast-check'
import { show } from '../../src/corpus.ts'
import { Coverage } from '../../src/coverage.ts'
import { fuzz } from '../../src/engine.ts'
import { Watchdog } from '../../src/watchdog.ts'

const SOURCE = `
if (input[0] === 102) { if (input[1] === 117) { if (input[2] === 122) { if (input[3] === 122) {
  if (input[4] === 33) throw new Error('the planted defect')
} } } }`

const coverage = new Coverage()
const defect = new Function('input', coverage.instrument(SOURCE)) as (input: Buffer) => void
const hang = (input: Buffer): void => {
  while (input.includes('x')) {}
}

const [mode = '', file = ''] = process.argv.slice(2)
const target = {
  name: 'planted',
  seeds: ['a'],
  inputs: fc.constant(Buffer.from('aaaa')),
  run: mode === 'hang' ? hang : defect,
}
const watchdog = mode === 'hang' ? { watchdog: new Watchdog(file, 4_096, 1) } : {}
const report = await fuzz(target, coverage, { seconds: 30, seed: 1, corpus: [], findingsMax: 1, ...watchdog })
for (const { input } of report.findings) process.stdout.write(`found ${show(input)}\n`)
