import { type CasePlan, isHttp2, type Mode, PROTOCOL_NAMES, STREAMS_PER_CONNECTION } from './cases.ts'
import { formatSize } from './options.ts'
import type { RelaySample } from './relay.ts'
import type { Case, IdleSample, Sample } from './samples.ts'
import { median } from './statistics.ts'

/** The proxies that all others are compared with: the first of them that took part. */
const REFERENCES: readonly string[] = ['nginx', 'haproxy']

const MODE_NAMES: Readonly<Record<Mode, string>> = {
  'keep-alive': 'keep-alive',
  close: 'a new one per request',
  resume: 'a new one per request, TLS session resumed',
  upload: 'keep-alive, uploads',
}

/** A proxy's CPU cost as a multiple of the reference's, from the rounds that both took part in. */
export interface Ratio {
  median: number
  min: number
  max: number
}

/** What a ratio is made of. */
interface Measured {
  readonly proxy: string
  readonly round: number
  readonly cpu: number | undefined
}

function referenceOf(samples: readonly { readonly proxy: string }[]): string {
  return REFERENCES.find((name) => samples.some(({ proxy }) => proxy === name)) ?? (REFERENCES[0] as string)
}

/** Compares round by round: what disturbs the machine then disturbs both sides alike. */
function ratioOf(samples: readonly Measured[], proxy: string): Ratio | undefined {
  const name = referenceOf(samples)
  const ratios: number[] = []
  for (const sample of samples) {
    const reference = samples.find((other) => other.proxy === name && other.round === sample.round)
    if (sample.proxy !== proxy || sample.cpu === undefined || reference?.cpu === undefined) continue
    ratios.push(sample.cpu / reference.cpu)
  }
  const middle = median(ratios)
  return middle === undefined
    ? undefined
    : { median: middle, min: Math.min(...ratios), max: Math.max(...ratios) }
}

/** CPU time per request beside the reference's. */
export function ratioToReference(samples: readonly Sample[], proxy: string): Ratio | undefined {
  return ratioOf(
    samples.map(({ cpuMicrosPerRequest: cpu, ...sample }) => ({ ...sample, cpu })),
    proxy,
  )
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
export function formatCase({ samples, ...plan }: Case): string {
  const header = [
    '',
    'CPU µs/req',
    `× ${referenceOf(samples)}`,
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
        ...ratioCells(ratio),
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
  return `${titleOf(plan)}\n${formatTable([header, ...rows.map(({ cells }) => cells)])}`
}

function ratioCells(ratio: Ratio | undefined): string[] {
  const range = ratio === undefined ? '–' : `${ratio.min.toFixed(2)}–${ratio.max.toFixed(2)}`
  return [fixed(ratio?.median, 2), range]
}

/** What a case is called. */
export function titleOf({ protocol, threads, bodyBytes, connections, mode }: CasePlan): string {
  const streams = isHttp2(protocol) ? Math.min(connections, STREAMS_PER_CONNECTION) : 1
  const count = Math.ceil(connections / streams)
  const clients = streams > 1 ? `${count} connections of ${streams} streams` : `${count} connections`
  const body = protocol === 'grpc' ? '13 B message' : `${formatSize(bodyBytes)} body`
  const workers = threads === 1 ? '' : `, ${threads} threads`
  return `${PROTOCOL_NAMES[protocol]}, ${body}, ${clients}, ${MODE_NAMES[mode]}${workers}`
}

/** The table of the TCP proxies, a line for each way. */
export function formatRelay(samples: readonly RelaySample[]): string {
  const rows = (['down', 'up'] as const).flatMap((direction) => {
    const way = samples.filter((sample) => sample.direction === direction)
    const measured = way.map(({ cpuMicrosPerMebibyte: cpu, ...sample }) => ({ ...sample, cpu }))
    return [...new Set(way.map(({ proxy }) => proxy))].map((proxy) => {
      const own = measured.filter((sample) => sample.proxy === proxy)
      const middle = (pick: (sample: (typeof own)[number]) => number | undefined) =>
        median(own.map(pick).filter((value) => value !== undefined))
      return [
        `${proxy}, ${direction}`,
        fixed(
          middle(({ cpu }) => cpu),
          0,
        ),
        ...ratioCells(ratioOf(measured, proxy)),
        fixed(
          middle(({ mebibytesPerSecond }) => mebibytesPerSecond),
          0,
        ),
        mebibytes(middle(({ residentBytes }) => residentBytes)),
        mebibytes(Math.max(...own.map(({ peakBytes }) => peakBytes ?? 0)) || undefined),
      ]
    })
  })
  const header = ['', 'CPU µs/MiB', `× ${referenceOf(samples)}`, 'min–max', 'MiB/s', 'RSS MiB', 'peak MiB']
  return `TCP, one connection\n${formatTable([header, ...rows])}`
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
