/** The middle of the sorted values, or the mean of the two in the middle; `undefined` for none. */
export function median(values: readonly number[]): number | undefined {
  if (values.length === 0) return undefined
  const sorted = values.toSorted((a, b) => a - b)
  const half = Math.floor(sorted.length / 2)
  const upper = sorted[half] as number
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[half - 1] as number)) / 2
}

const GROWTH = 1.02
const BUCKETS = 1024

/** Latencies in fixed memory: buckets 2 % wide from 1 microsecond to about 10 minutes. */
export class Histogram {
  readonly #counts: Float64Array = new Float64Array(BUCKETS)
  #total = 0

  /** Counts one latency, in microseconds. */
  add(micros: number): void {
    const bucket = micros <= 1 ? 0 : Math.ceil(Math.log(micros) / Math.log(GROWTH))
    const index = Math.min(bucket, BUCKETS - 1)
    this.#counts[index] = (this.#counts[index] as number) + 1
    this.#total += 1
  }

  /** The upper edge of the bucket that holds the given share of all latencies, in microseconds; 0 for none. */
  percentile(share: number): number {
    let seen = 0
    for (let index = 0; index < BUCKETS; index += 1) {
      seen += this.#counts[index] as number
      if (this.#total > 0 && seen >= this.#total * share) return GROWTH ** index
    }
    return 0
  }
}
