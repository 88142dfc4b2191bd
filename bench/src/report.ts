import type { Case, IdleSample, Sample } from './measure.ts'
import { formatSize } from './options.ts'
import { median } from './statistics.ts'

/** The proxy that all others are compared with. */
const REFERENCE = 'nginx'

/** A proxy's CPU cost as a multiple of the reference's, from the rounds that both took part in. */
export interface Ratio {
  median: number
  min: number
  max: number
}

/** Compares round by round: what disturbs the machine then disturbs both sides alike. */
export function ratioToReference(samples: readonly Sample[], proxy: string): Ratio | undefined {
  const ratios: number[] = []
  for (const sample of samples) {
    const reference = samples.find(({ proxy: name, round }) => name === REFERENCE && round === sample.round)
    if (sample.proxy !== proxy || sample.cpuMicrosPerRequest === undefined) continue
    if (reference?.cpuMicrosPerRequest === undefined) continue
    ratios.push(sample.cpuMicrosPerRequest / reference.cpuMicrosPerRequest)
  }
  const middle = median(ratios)
  return middle === undefined
    ? undefined
    : { median: middle, min: Math.min(...ratios), max: Math.max(...ratios) }
}

/** Rows as text, columns aligned; all but the first to the right. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const widths: number[] = []
  for (const row of rows) {
    row.forEach((cell, index) => {
      widths[index] = Math.max(widths[index] ?? 0, cell.length)
    })
  }
  return rows
    .map((row) =>
      row
        .map((cell, index) =>
          index === 0 ? cell.padEnd(widths[index] ?? 0) : cell.padStart(widths[index] ?? 0),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

function middleOf(
  samples: readonly Sample[],
  pick: (sample: Sample) => number | undefined,
): number | undefined {
  return median(samples.map(pick).filter((value) => value !== undefined))
}

function fixed(value: number | undefined, digits: number): string {
  return value === undefined ? '–' : value.toFixed(digits)
}

function mebibytes(bytes: number | undefined): string {
  return fixed(bytes === undefined ? undefined : bytes / 1024 / 1024, 0)
}

function milliseconds(micros: number | undefined): string {
  return fixed(micros === undefined ? undefined : micros / 1_000, 2)
}

/** The table of one case: medians over the rounds; the ratio with its range. */
export function formatCase({ bodyBytes, connections, mode, samples }: Case): string {
  const header = [
    '',
    'CPU µs/req',
    `× ${REFERENCE}`,
    'min–max',
    'req/s',
    'p50 ms',
    'p99 ms',
    'RSS MiB',
    'peak MiB',
    'errors',
  ]
  const names = [...new Set(samples.map(({ proxy }) => proxy))]
  const rows = names.map((name) => {
    const own = samples.filter(({ proxy }) => proxy === name)
    const ratio = ratioToReference(samples, name)
    return {
      cpu: middleOf(own, (sample) => sample.cpuMicrosPerRequest) ?? Number.POSITIVE_INFINITY,
      cells: [
        name,
        fixed(
          middleOf(own, (sample) => sample.cpuMicrosPerRequest),
          1,
        ),
        fixed(ratio?.median, 2),
        ratio === undefined ? '–' : `${ratio.min.toFixed(2)}–${ratio.max.toFixed(2)}`,
        fixed(
          middleOf(own, (sample) => sample.requestsPerSecond),
          0,
        ),
        milliseconds(middleOf(own, (sample) => sample.p50Micros)),
        milliseconds(middleOf(own, (sample) => sample.p99Micros)),
        mebibytes(middleOf(own, (sample) => sample.residentBytes)),
        mebibytes(Math.max(...own.map((sample) => sample.peakBytes ?? 0)) || undefined),
        String(own.reduce((sum, { errors }) => sum + errors, 0)),
      ],
    }
  })
  rows.sort((a, b) => a.cpu - b.cpu)
  const title = `${formatSize(bodyBytes)} body, ${connections} connections, ${mode === 'close' ? 'a new one per request' : mode}`
  return `${title}\n${formatTable([header, ...rows.map(({ cells }) => cells)])}`
}

/** The table of the idle test. */
export function formatIdle(samples: readonly IdleSample[]): string {
  const header = ['', 'standing', 'RSS MiB', 'before MiB', 'KiB/connection']
  const rows = samples.map(({ proxy, connections, residentBytes, baseBytes }) => {
    const grown =
      residentBytes === undefined || baseBytes === undefined ? undefined : residentBytes - baseBytes
    const each = grown === undefined || connections === 0 ? undefined : grown / 1024 / connections
    return [proxy, String(connections), mebibytes(residentBytes), mebibytes(baseBytes), fixed(each, 1)]
  })
  return `idle keep-alive connections\n${formatTable([header, ...rows])}`
}
