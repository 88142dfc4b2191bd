/** Milliseconds of a clock that never goes back; all threads that share a limiter must read the same one. */
export type Clock = () => number

// performance.now() starts at 0 in each thread. The offset moves it onto the process-wide monotonic clock.
const OFFSET_MS = Number(process.hrtime.bigint()) / 1e6 - performance.now()

/** The machine's monotonic clock, equal in all threads. */
export function monotonicMs(): number {
  return performance.now() + OFFSET_MS
}
