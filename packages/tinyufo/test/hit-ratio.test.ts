import { TinyUfo } from '@cirque/tinyufo'
import { LRUCache } from 'lru-cache'
import { expect, test } from 'vitest'
import { hitRatio, scanTrace, zipfTrace } from '../bench/traces.ts'

const ITEM_COUNT = 10_000

function ufoRatio(size: number, trace: Uint32Array): number {
  const cache = new TinyUfo<number, number>({ weightLimit: size, seed: 1 })
  return hitRatio({ get: (key) => cache.get(key), put: (key, value) => void cache.put(key, value) }, trace)
}

function lruRatio(size: number, trace: Uint32Array): number {
  const cache = new LRUCache<number, number>({ max: size })
  return hitRatio({ get: (key) => cache.get(key), put: (key, value) => void cache.set(key, value) }, trace)
}

// The figures of Pingora's own bench for its TinyUFO: 10,000 items, hits in %.
test.each([
  { exponent: 0.9, size: 1000, published: 66.36 },
  { exponent: 1, size: 50, published: 45.15 },
  { exponent: 1, size: 500, published: 68.79 },
  { exponent: 1.1, size: 100, published: 64.24 },
  { exponent: 1.1, size: 2500, published: 90.66 },
])('Zipf $exponent with room for $size: hits within 1.5 points of the published $published %', (cell) => {
  const trace = zipfTrace(ITEM_COUNT, cell.exponent, 500_000, 42)
  expect(Math.abs(ufoRatio(cell.size, trace) - cell.published)).toBeLessThan(1.5)
})

test('a scan flushes it less than lru-cache: at least 3 points more hits', () => {
  const trace = scanTrace(zipfTrace(ITEM_COUNT, 1, 300_000, 42), ITEM_COUNT, 10_000, 10_000)
  for (const size of [100, 1000]) {
    expect(ufoRatio(size, trace)).toBeGreaterThan(lruRatio(size, trace) + 3)
  }
})
