// Hit ratios of TinyUfo beside lru-cache over Zipf traces and traces polluted by scans. Fixed seeds: the figures
// do not depend on the machine. "published" are the figures of Pingora's own bench for its TinyUFO.
import { cpus } from 'node:os'
import { TinyUfo } from '@cirque/tinyufo'
import { LRUCache } from 'lru-cache'
import { hitRatio, scanTrace, type TraceCache, zipfTrace } from './traces.ts'

const ITEM_COUNT = 10_000
const READ_COUNT = 2_000_000
const SHARES = [0.005, 0.01, 0.05, 0.1, 0.25]
const PUBLISHED = new Map([
  [0.9, [33.35, 40.06, 57.8, 66.36, 78.53]],
  [1, [45.15, 52.3, 68.79, 75.92, 85.28]],
  [1.05, [51.12, 58.41, 73.93, 80.24, 88.14]],
  [1.1, [57.28, 64.24, 78.55, 84.01, 90.66]],
  [1.5, [89.69, 92.94, 97.23, 98.24, 99.09]],
])

function lru(size: number): TraceCache {
  const cache = new LRUCache<number, number>({ max: size })
  return { get: (key) => cache.get(key), put: (key, value) => void cache.set(key, value) }
}

function ufo(size: number, force = false): TraceCache {
  const cache = new TinyUfo<number, number>({ weightLimit: size, seed: 1 })
  return {
    get: (key) => cache.get(key),
    put: (key, value) => void (force ? cache.forcePut(key, value) : cache.put(key, value)),
  }
}

function row(size: number, trace: Uint32Array): Record<string, string> {
  return {
    'lru-cache': hitRatio(lru(size), trace).toFixed(2),
    TinyUfo: hitRatio(ufo(size), trace).toFixed(2),
    forcePut: hitRatio(ufo(size, true), trace).toFixed(2),
  }
}

console.log(
  `Node ${process.version}, ${cpus()[0]?.model}; hits in %, ${ITEM_COUNT} items, ${READ_COUNT} reads`,
)
for (const [exponent, published] of PUBLISHED) {
  const trace = zipfTrace(ITEM_COUNT, exponent, READ_COUNT, 42)
  console.log(`\nZipf ${exponent}`)
  const table = SHARES.map((share, index) => ({
    'size of items': `${share * 100} %`,
    ...row(ITEM_COUNT * share, trace),
    published: published[index]?.toFixed(2),
  }))
  console.table(table)
}

console.log(
  '\nZipf 1, after every 10,000 reads a scan of 10,000 items that are never read again (they count as misses)',
)
const zipf = zipfTrace(ITEM_COUNT, 1, READ_COUNT, 42)
const scanned = scanTrace(zipf, ITEM_COUNT, 10_000, 10_000)
console.table(
  SHARES.map((share) => ({ 'size of items': `${share * 100} %`, ...row(ITEM_COUNT * share, scanned) })),
)
