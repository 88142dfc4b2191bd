// npm run soak -- --minutes 60
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { failuresOf, plotOf, reportOf } from './report.ts'
import { soak } from './soak.ts'

const HELP = `Usage: npm run soak -- [--minutes N] [--rate N] [--threads N] [--out FOLDER]

  --minutes N    how long; default 60
  --rate N       exchanges per second, about; default 60
  --threads N    worker threads that serve HTTP; default 1, the main thread
  --out FOLDER   where soak.md and soak.svg go; default soak/results
`
const PROGRESS_SAMPLES = 20

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '60' },
    rate: { type: 'string', default: '60' },
    threads: { type: 'string', default: '1' },
    out: { type: 'string', default: join(import.meta.dirname, '../results') },
    help: { type: 'boolean', default: false },
  },
})
const minutes = Number(values.minutes)
const perSecond = Number(values.rate)
const threads = Number(values.threads)
if (values.help || !(minutes > 0) || !(perSecond > 0) || !(Number.isInteger(threads) && threads > 0)) {
  process.stdout.write(HELP)
  process.exitCode = values.help ? 0 : 2
} else {
  let count = 0
  const result = await soak({
    minutes,
    perSecond,
    threads,
    onSample: ({ seconds, state, latencyP50Ms }) => {
      count += 1
      if (count % PROGRESS_SAMPLES !== 0) return
      const mib = Math.round(state.rssBytes / 1_048_576)
      process.stdout.write(
        `${Math.round(seconds)} s: ${mib} MiB, ${state.handles} handles, p50 ${latencyP50Ms.toFixed(1)} ms\n`,
      )
    },
  })
  mkdirSync(values.out, { recursive: true })
  writeFileSync(join(values.out, 'soak.md'), reportOf(result))
  writeFileSync(join(values.out, 'soak.svg'), plotOf(result))
  process.stdout.write(`\n${reportOf(result)}\nThe plot is ${join(values.out, 'soak.svg')}\n`)
  process.exitCode = failuresOf(result).length === 0 ? 0 : 1
}
