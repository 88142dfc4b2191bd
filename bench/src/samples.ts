import type { CasePlan } from './cases.ts'
import type { RelaySample } from './relay.ts'

/** One proxy, one case, one round. Memory in bytes, as it was at the end of the measurement. */
export interface Sample {
  proxy: string
  round: number
  cpuMicrosPerRequest: number | undefined
  requestsPerSecond: number
  p50Micros: number
  p99Micros: number
  residentBytes: number | undefined
  peakBytes: number | undefined
  errors: number
}

/** A combination, and all that was measured with it. */
export interface Case extends CasePlan {
  samples: Sample[]
}

/** What idle connections cost a proxy. */
export interface IdleSample {
  proxy: string
  /** Connections that were opened, used once and still stood when the memory was read. */
  connections: number
  residentBytes: number | undefined
  /** Resident memory before, after one warm-up request. */
  baseBytes: number | undefined
}

/** All measurements of one run. */
export interface Measurements {
  origin: string
  versions: Record<string, string>
  /** Proxies that were asked for and did not run, and why. */
  skipped: Record<string, string>
  /** What each proxy agreed on with a client over TLS. */
  ciphers: Record<string, string>
  cases: Case[]
  idle: IdleSample[]
  relay: RelaySample[]
}
