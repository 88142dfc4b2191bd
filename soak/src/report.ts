import { cpus, release, type } from 'node:os'
import { type Panel, plot } from './plot.ts'
import type { Count } from './traffic.ts'
import type { Judgement, Sample } from './verdict.ts'

/** What a soak came to. */
export interface SoakResult {
  readonly minutes: number
  readonly threads: number
  readonly perSecond: number
  readonly samples: readonly Sample[]
  readonly judgements: readonly Judgement[]
  readonly counts: readonly Count[]
  readonly errors: ReadonlyMap<string, number>
  readonly upgrades: number
  readonly reloads: number
  /** What was not back to where it was at the end. */
  readonly left: readonly string[]
}

/** Why a run is a failure, each in a line; none if it is none. */
export function failuresOf({ judgements, errors, left, counts }: SoakResult): string[] {
  return [
    ...judgements
      .filter(({ isGrowing }) => isGrowing)
      .map(
        ({ metric, line }) =>
          `${metric.name} grows: ${round(line.growth)} ${metric.unit} over the second half`,
      ),
    ...[...errors].map(([error, times]) => `${times} × ${error}`),
    ...left.map((line) => `not given back: ${line}`),
    ...counts.filter(({ done }) => done === 0).map(({ name }) => `never done: ${name}`),
  ]
}

/** The report as Markdown. */
export function reportOf(result: SoakResult): string {
  const failures = failuresOf(result)
  const [cpu] = cpus()
  const lines = [
    `# Soak of ${round(result.minutes)} minutes: ${failures.length === 0 ? 'nothing grows, nothing failed' : 'FAILED'}`,
    '',
    `Node.js ${process.versions.node}, ${type()} ${release()}, ${cpus().length} × ${cpu?.model.trim() ?? 'unknown'}. ` +
      `${result.threads} thread${result.threads === 1 ? '' : 's'}, about ${result.perSecond} exchanges per second, ${result.reloads} reloads, and ${result.upgrades} upgrades of a second gateway.`,
    '',
    ...failures.map((failure) => `- ${failure}`),
    ...(failures.length === 0 ? [] : ['']),
    '## The gateway over the second half',
    '',
    'Growth is the slope of a straight line times the time, with its 95 % confidence interval. It fails when all of the interval is above the bound.',
    '',
    '| metric | mean | growth | at most | |',
    '| --- | ---: | ---: | ---: | --- |',
    ...result.judgements.map(({ metric, line, isGrowing }) => {
      const unit = metric.unit === '' ? '' : ` ${metric.unit}`
      const growth = `${round(line.growth)} ± ${round(line.uncertainty)}${unit}`
      return `| ${metric.name} | ${round(line.mean)}${unit} | ${growth} | ${metric.growthMax}${unit} | ${isGrowing ? 'GROWS' : 'ok'} |`
    }),
    '',
    '## Traffic',
    '',
    '| kind | done | failed | skipped |',
    '| --- | ---: | ---: | ---: |',
    ...result.counts.map(
      ({ name, done, failed, skipped }) => `| ${name} | ${done} | ${failed} | ${skipped} |`,
    ),
  ]
  return `${lines.join('\n')}\n`
}

/** The plot of a run: memory, handles and latency. */
export function plotOf({ samples, minutes }: SoakResult): string {
  const values = (of: (sample: Sample) => number | undefined): (number | undefined)[] => samples.map(of)
  const mib = (bytes: number): number => bytes / 1_048_576
  const panels: Panel[] = [
    {
      title: 'Memory, MiB',
      series: [
        { name: 'resident set', values: values(({ state }) => mib(state.rssBytes)) },
        {
          name: 'heap in use',
          values: values(({ state }) => (state.collected ? mib(state.heapBytes) : undefined)),
        },
        {
          name: 'buffers in use',
          values: values(({ state }) => (state.collected ? mib(state.externalBytes) : undefined)),
        },
      ],
    },
    {
      title: 'Handles',
      series: [
        { name: 'handles', values: values(({ state }) => state.handles) },
        { name: 'file descriptors', values: values(({ state }) => state.descriptors) },
        { name: 'client connections', values: values(({ state }) => state.connections) },
        { name: 'upstream connections', values: values(({ state }) => state.upstreamOpen) },
      ],
    },
    {
      title: 'Latency of a good client, ms',
      series: [
        { name: 'p50', values: values(({ latencyP50Ms }) => latencyP50Ms) },
        { name: 'p99', values: values(({ latencyP99Ms }) => latencyP99Ms) },
      ],
    },
  ]
  return plot(
    `Soak of ${round(minutes)} minutes`,
    samples.map(({ seconds }) => seconds),
    panels,
  )
}

function round(value: number): string {
  return String(Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(2)))
}
