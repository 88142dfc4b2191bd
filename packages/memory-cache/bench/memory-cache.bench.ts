// Nanoseconds per call and bytes per entry of MemoryCache and ReadThroughCache beside lru-cache with a ttl.
// Run with --expose-gc to get the bytes.
import { cpus } from 'node:os'
import { MemoryCache, ReadThroughCache } from '@cirque/memory-cache'
import { LRUCache } from 'lru-cache'
import { Bench } from 'tinybench'

const SIZE = 1000
const BATCH = 10_000
const TTL_MS = 600_000
const keys = Array.from({ length: SIZE }, (_, index) => `/articles/${index * 7919}?page=1`)

console.log(
  `Node ${process.version}, ${cpus()[0]?.model}; ${SIZE} entries with a ttl, ${BATCH} calls per sample`,
)

const plain = new LRUCache<string, number>({ max: SIZE, ttl: TTL_MS })
const lru = new MemoryCache<string, number>({ entriesMax: SIZE, policy: 'lru' })
const ufo = new MemoryCache<string, number>({ entriesMax: SIZE, policy: 'tinyufo' })
const readThrough = new ReadThroughCache<string, number>({
  entriesMax: SIZE,
  ttlMs: TTL_MS,
  load: () => ({ value: 1 }),
})
for (const [index, key] of keys.entries()) {
  plain.set(key, index)
  lru.forcePut(key, index, TTL_MS)
  ufo.forcePut(key, index, TTL_MS)
  readThrough.put(key, index)
}

let sum = 0
function each(use: (key: string) => void): void {
  for (let index = 0; index < BATCH; index++) use(keys[(index * 31) % SIZE] as string)
}
async function eachAwaited(use: (key: string) => unknown): Promise<void> {
  for (let index = 0; index < BATCH; index++) await use(keys[(index * 31) % SIZE] as string)
}

const bench = new Bench({ time: 300 })
bench
  .add('hit, lru-cache with ttl', () => each((key) => (sum += plain.get(key) ?? 0)))
  .add('hit, MemoryCache lru', () => each((key) => (sum += lru.get(key).value ?? 0)))
  .add('hit, MemoryCache tinyufo', () => each((key) => (sum += ufo.get(key).value ?? 0)))
  .add('hit, ReadThroughCache', () =>
    each((key) => {
      const answer = readThrough.get(key)
      if (!(answer instanceof Promise)) sum += answer.value ?? 0
    }),
  )
  .add('hit awaited, ReadThroughCache', () => eachAwaited((key) => readThrough.get(key)))
  .add('put, lru-cache with ttl', () => each((key) => plain.set(key, 1)))
  .add('put, MemoryCache lru', () => each((key) => lru.put(key, 1, TTL_MS)))
  .add('put, MemoryCache tinyufo', () => each((key) => ufo.put(key, 1, TTL_MS)))
  .add('load, ReadThroughCache', () =>
    eachAwaited((key) => {
      readThrough.remove(key)
      return readThrough.get(key)
    }),
  )
await bench.run()
for (const task of bench.tasks) {
  const { result } = task
  if (!('latency' in result)) continue
  console.log(
    `${task.name.padEnd(32)} ${((result.latency.p50 * 1e6) / BATCH).toFixed(1)} ns per call (median)`,
  )
}
if (Number.isNaN(sum)) throw new Error('The reads went wrong')

const { gc } = globalThis
if (gc !== undefined) {
  const count = 100_000
  const used = (): number => {
    gc()
    const { heapUsed, arrayBuffers } = process.memoryUsage()
    return heapUsed + arrayBuffers
  }
  const measure = (name: string, fill: () => object): void => {
    const before = used()
    const held = fill()
    console.log(`${name.padEnd(32)} ${((used() - before) / count).toFixed(1)} bytes per entry of ${count}`)
    if (Object.is(held, null)) throw new Error('Nothing was filled')
  }
  measure('lru-cache with ttl', () => {
    const cache = new LRUCache<number, number>({ max: count, ttl: TTL_MS })
    for (let key = 0; key < count; key++) cache.set(key, key)
    return cache
  })
  for (const policy of ['lru', 'tinyufo'] as const) {
    measure(`MemoryCache ${policy}`, () => {
      const cache = new MemoryCache<number, number>({ entriesMax: count, policy })
      for (let key = 0; key < count; key++) cache.forcePut(key, key, TTL_MS)
      return cache
    })
  }
}
