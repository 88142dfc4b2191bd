import type { CasePlan } from './cases.ts'

/** What a load generator saw. */
export interface LoadResult {
  /** Responses that came back whole. */
  requests: number
  /** All bytes received, those of unfinished responses too. */
  bytes: number
  seconds: number
  p50Micros: number
  p99Micros: number
  /** Failed connections, reads and writes, timeouts, and every status but 200. */
  errors: number
}

/** What to load. */
export interface LoadTarget extends Pick<CasePlan, 'connections' | 'mode'> {
  /** Default `h1`. */
  protocol?: CasePlan['protocol']
  port: number
  path: string
  seconds: number
  /** The body of each request, which is a POST then; 0: none, and a GET. */
  uploadBytes: number
}
