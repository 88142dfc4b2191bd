// npm run fuzz -- --target head --seconds 600
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { CORPUS_INPUT_BYTES_MAX, corpusFile, keptInputs, readInputs, show, writeInputs } from './corpus.ts'
import { Coverage } from './coverage.ts'
import { distill, type FuzzReport, fuzz } from './engine.ts'
import { loadTarget, TARGETS } from './target.ts'
import { Watchdog } from './watchdog.ts'

const HELP = `Usage: npm run fuzz -- [--target NAME] [--seconds N] [--seed N] [--replay FILE] [--keep]

  --target NAME    what to fuzz; given again, several; default all
  --seconds N      how long, shared by all targets; default 60
  --seed N         default: the time
  --replay FILE    run the inputs of FILE (a JSON string per line) and nothing else
  --keep           put the shortest inputs that reach the same code into fuzz/corpora/

Targets: ${[...TARGETS.keys()].join(', ')}
`
const HANG_SECONDS = 10
const SHARED_INPUT_BYTES = 1_048_576
const FINDINGS: string = join(import.meta.dirname, '../findings')

function numberOf(name: string, text: string | undefined, fallback: number): number {
  const number = text === undefined ? fallback : Number(text)
  if (!Number.isFinite(number) || number < 0)
    throw new TypeError(`--${name} needs a number, received "${text}"`)
  return number
}

function line({ runs, seconds, reached, corpus, findings }: FuzzReport): string {
  const rate = Math.round(runs / Math.max(seconds, 0.001))
  return `${runs} runs in ${seconds.toFixed(1)} s (${rate}/s), ${reached} places reached by ${corpus.length} inputs, ${findings.length} findings`
}

function tellFindings(name: string, { findings }: FuzzReport): void {
  process.exitCode = 1
  for (const { input, error } of findings) {
    process.stdout.write(`\n${name} fails on ${show(input)}\n${error.stack ?? error.message}\n\n`)
  }
  writeInputs(
    join(FINDINGS, `${name}.jsonl`),
    findings.map(({ input }) => input),
  )
  process.stdout.write(
    `run them again: npm run fuzz -- --target ${name} --replay fuzz/findings/${name}.jsonl\n`,
  )
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      target: { type: 'string', multiple: true },
      seconds: { type: 'string' },
      seed: { type: 'string' },
      replay: { type: 'string' },
      keep: { type: 'boolean' },
      help: { type: 'boolean' },
    },
  })
  if (values.help === true) {
    process.stdout.write(HELP)
    return
  }
  const names = values.target ?? [...TARGETS.keys()]
  for (const name of names) {
    if (!TARGETS.has(name))
      throw new TypeError(`Unknown target "${name}"; known are ${[...TARGETS.keys()].join(', ')}`)
  }
  const seconds = numberOf('seconds', values.seconds, 60) / names.length
  const seed = numberOf('seed', values.seed, Date.now() % 1_000_000_000)
  const coverage = new Coverage()
  coverage.install([...new Set(names.flatMap((name) => TARGETS.get(name) as readonly string[]))])
  mkdirSync(FINDINGS, { recursive: true })
  const watchdog = new Watchdog(join(FINDINGS, 'hang.jsonl'), SHARED_INPUT_BYTES, HANG_SECONDS)
  process.stdout.write(`seed ${seed}\n`)
  for (const name of names) {
    const target = await loadTarget(name)
    if (values.replay !== undefined) {
      for (const input of readInputs(values.replay)) await target.run(input)
      process.stdout.write(`${name}: nothing found\n`)
      continue
    }
    const report = await fuzz(target, coverage, {
      seconds,
      seed,
      corpus: keptInputs(name),
      watchdog,
      onProgress: (progress) => process.stdout.write(`${name}: ${line(progress)}\n`),
    })
    process.stdout.write(`${name}: ${line(report)}\n`)
    if (report.findings.length > 0) tellFindings(name, report)
    if (values.keep === true) {
      const short = report.corpus.filter(({ length }) => length <= CORPUS_INPUT_BYTES_MAX)
      writeInputs(corpusFile(name), await distill(target, coverage, short))
    }
  }
  await watchdog.stop()
}

await main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof TypeError ? error.message : String((error as Error).stack)}\n`)
  process.exitCode = 2
})
