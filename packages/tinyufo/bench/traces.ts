/** A repeatable random number generator (mulberry32): numbers from 0 up to, not including, 1. */
export function createRandom(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let h = Math.imul(state ^ (state >>> 15), state | 1)
    h ^= h + Math.imul(h ^ (h >>> 7), h | 61)
    return ((h ^ (h >>> 14)) >>> 0) / 2 ** 32
  }
}

/** `length` draws from Zipf's law over items 0 to `itemCount` − 1: item k with weight 1 / (k + 1)^exponent. */
export function zipfTrace(itemCount: number, exponent: number, length: number, seed: number): Uint32Array {
  const cumulative = new Float64Array(itemCount)
  let total = 0
  for (let item = 0; item < itemCount; item++) {
    total += (item + 1) ** -exponent
    cumulative[item] = total
  }
  const random = createRandom(seed)
  return Uint32Array.from({ length }, () => lowerBound(cumulative, random() * total))
}

/**
 * A Zipf trace in which, every `everyCount` reads, a scan of `scanCount` items comes past that nobody reads again:
 * a crawler, a backup, a list export.
 */
export function scanTrace(
  zipf: Uint32Array,
  itemCount: number,
  everyCount: number,
  scanCount: number,
): Uint32Array {
  const scans = Math.floor(zipf.length / everyCount)
  const trace = new Uint32Array(zipf.length + scans * scanCount)
  let written = 0
  let fresh = itemCount
  for (let index = 0; index < zipf.length; index++) {
    trace[written++] = zipf[index] as number
    if ((index + 1) % everyCount === 0) {
      for (let scanned = 0; scanned < scanCount; scanned++) trace[written++] = fresh++
    }
  }
  return trace
}

/** The part of a cache that a trace needs. */
export interface TraceCache {
  get(key: number): unknown
  put(key: number, value: number): void
}

/** Reads the trace through the cache, putting what is missing, and returns the hits as a percentage. */
export function hitRatio(cache: TraceCache, trace: Uint32Array): number {
  let hits = 0
  for (const key of trace) {
    if (cache.get(key) !== undefined) hits += 1
    else cache.put(key, key)
  }
  return (100 * hits) / trace.length
}

function lowerBound(sorted: Float64Array, value: number): number {
  let low = 0
  let high = sorted.length - 1
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((sorted[middle] as number) < value) low = middle + 1
    else high = middle
  }
  return low
}
