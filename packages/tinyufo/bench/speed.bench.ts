// Operations per second and bytes per entry of TinyUfo beside lru-cache, with string keys.
// Run with --expose-gc to get the bytes.
import { cpus } from 'node:os'
import { TinyUfo } from '@cirque/tinyufo'
import { LRUCache } from 'lru-cache'
import { Bench } from 'tinybench'
import { zipfTrace } from './traces.ts'

const ITEM_COUNT = 10_000
const SIZE = 1000
const BATCH = 10_000
const keys = Array.from({ length: ITEM_COUNT }, (_, index) => `/articles/${index * 7919}?page=1`)
const trace = zipfTrace(ITEM_COUNT, 1, 1_000_000, 42)

console.log(`Node ${process.version}, ${cpus()[0]?.model}; ${SIZE} entries; one operation = ${BATCH} calls`)

const lru = new LRUCache<string, number>({ max: SIZE })
const ufo = new TinyUfo<string, number>({ weightLimit: SIZE, seed: 1 })
for (let index = 0; index < SIZE; index++) {
  lru.set(keys[index] as string, index)
  ufo.put(keys[index] as string, index)
}

let offset = 0
function eachKey(use: (key: string) => void): void {
  offset = (offset + BATCH) % trace.length
  for (let index = offset; index < offset + BATCH; index++) use(keys[trace[index] as number] as string)
}
function eachResident(use: (key: string) => void): void {
  for (let index = 0; index < BATCH; index++) use(keys[(index * 31) % SIZE] as string)
}

const bench = new Bench({ time: 300 })
bench
  .add('hit, lru-cache', () => eachResident((key) => lru.get(key)))
  .add('hit, TinyUfo', () => eachResident((key) => ufo.get(key)))
  .add('Zipf 1, put on miss, lru-cache', () => eachKey((key) => lru.get(key) ?? lru.set(key, 1)))
  .add('Zipf 1, put on miss, TinyUfo', () => eachKey((key) => ufo.get(key) ?? ufo.put(key, 1)))
await bench.run()
for (const task of bench.tasks) {
  const { result } = task
  if (!('latency' in result)) continue
  console.log(
    `${task.name.padEnd(32)} ${((result.latency.p50 * 1e6) / BATCH).toFixed(1)} ns per call (median)`,
  )
}

const { gc } = globalThis
if (gc !== undefined) {
  const count = 100_000
  const used = (): number => {
    gc()
    const { heapUsed, arrayBuffers } = process.memoryUsage()
    return heapUsed + arrayBuffers
  }
  const measure = (name: string, fill: () => unknown): void => {
    const before = used()
    const held = fill()
    console.log(`${name.padEnd(32)} ${((used() - before) / count).toFixed(1)} bytes per entry of ${count}`)
    if (held === undefined) throw new Error('Nothing was filled')
  }
  measure('lru-cache', () => {
    const cache = new LRUCache<number, number>({ max: count })
    for (let key = 0; key < count; key++) cache.set(key, key)
    return cache
  })
  measure('TinyUfo', () => {
    const cache = new TinyUfo<number, number>({ weightLimit: count })
    for (let key = 0; key < count; key++) cache.put(key, key)
    return cache
  })
}
