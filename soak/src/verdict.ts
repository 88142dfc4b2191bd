import type { GatewayState } from './programs/gateway.ts'
import { fitLine, type Line } from './statistics.ts'

/** What was measured at one moment. */
export interface Sample {
  readonly seconds: number
  readonly state: GatewayState
  /** Of the requests of a good client since the sample before, in milliseconds. */
  readonly latencyP50Ms: number
  readonly latencyP99Ms: number
}

/** Something that must not grow. */
export interface Metric {
  readonly name: string
  readonly unit: 'MiB' | 'ms' | ''
  /** Growth over the second half of a run up to here is no leak. */
  readonly growthMax: number
  /** Undefined: not measured in this sample. */
  of(sample: Sample): number | undefined
}

const MIB = 1_048_576

/** Memory in use is read right after a collection; the resident set holds what the allocator keeps as well. */
export const METRICS: readonly Metric[] = [
  { name: 'resident set', unit: 'MiB', growthMax: 32, of: ({ state }) => state.rssBytes / MIB },
  {
    name: 'heap in use',
    unit: 'MiB',
    growthMax: 3,
    of: ({ state }) => (state.collected ? state.heapBytes / MIB : undefined),
  },
  {
    name: 'buffers in use',
    unit: 'MiB',
    growthMax: 4,
    of: ({ state }) => (state.collected ? state.externalBytes / MIB : undefined),
  },
  { name: 'handles', unit: '', growthMax: 20, of: ({ state }) => state.handles },
  { name: 'sockets', unit: '', growthMax: 20, of: ({ state }) => state.sockets },
  { name: 'file descriptors', unit: '', growthMax: 20, of: ({ state }) => state.descriptors },
  { name: 'client connections', unit: '', growthMax: 20, of: ({ state }) => state.connections },
  { name: 'requests under way', unit: '', growthMax: 10, of: ({ state }) => state.active },
  { name: 'upstream connections', unit: '', growthMax: 20, of: ({ state }) => state.upstreamOpen },
  { name: 'latency p50', unit: 'ms', growthMax: 15, of: ({ latencyP50Ms }) => latencyP50Ms },
]

/** The second half of a run in one metric. */
export interface Judgement {
  readonly metric: Metric
  readonly line: Line
  /** Growth that is beyond doubt is above the bound. */
  readonly isGrowing: boolean
}

/** Judges the second half: grows is what grows by more than its bound, with 97.5 % certainty. */
export function judge(samples: readonly Sample[]): Judgement[] {
  const half = samples.slice(samples.length >> 1)
  return METRICS.flatMap((metric) => {
    const values = half.map((sample) => metric.of(sample)).filter((value) => value !== undefined)
    if (values.length < 4) return []
    const line = fitLine(values)
    return [{ metric, line, isGrowing: line.growth - line.uncertainty > metric.growthMax }]
  })
}

/** What must be back to where it was when everything has ended: each line is something that is not. */
export function notGivenBack(before: GatewayState, after: GatewayState): string[] {
  const left: string[] = []
  const check = (name: string, value: number | undefined, most: number | undefined): void => {
    if (value !== undefined && most !== undefined && value > most)
      left.push(`${name}: ${value}, at most ${most} expected`)
  }
  // The connection over which the question comes is one of its own service.
  check('client connections', after.connections, before.connections)
  check('requests under way', after.active, before.active)
  check('broken invariants', after.broken, 0)
  check('TCP sessions', after.tcpOpen, before.tcpOpen)
  check('UDP sessions', after.udpOpen, before.udpOpen)
  check('upstream connections in use', after.upstreamOpen - after.upstreamIdle, 0)
  check('sockets', after.sockets, before.sockets + after.upstreamIdle)
  check(
    'file descriptors',
    after.descriptors,
    before.descriptors && before.descriptors + after.upstreamIdle + 4,
  )
  return left
}
