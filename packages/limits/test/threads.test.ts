import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { expect, test, vi } from 'vitest'
import {
  ConcurrencyLimit,
  Estimator,
  Gcra,
  Inflight,
  Rate,
  SlidingWindow,
  TokenBucket,
} from '../src/index.ts'
import { frozen, type Job } from './thread.ts'

const THREADS = 4

// Four threads start for each test, which takes its time on a busy machine.
vi.setConfig({ testTimeout: 60_000 })

/** Runs a task of thread.ts in real threads on one memory; their results, and the memory as they left it. */
async function run(task: Job['task'], byteLength: number, rounds: number) {
  const memory = new SharedArrayBuffer(byteLength)
  const gate = new SharedArrayBuffer(4_096)
  const results = await Promise.all(
    Array.from({ length: THREADS }, async (_, lane) => {
      const job: Job = { task, memory, gate, threads: THREADS, lane, rounds }
      const worker = new Worker(new URL('./thread.ts', import.meta.url), {
        workerData: job,
        execArgv: ['--conditions=@cirque/source'],
      })
      const [result] = (await once(worker, 'message')) as [number]
      await worker.terminate()
      return result
    }),
  )
  return { memory, gate, results, sum: results.reduce((sum, result) => sum + result, 0) }
}

test('Estimator loses no update of four threads', async () => {
  const { memory } = await run('estimator', Estimator.byteLength(), 32_000)
  const estimator = new Estimator({ memory })
  for (let key = 0; key < 16; key++) expect(estimator.get(`key ${key}`)).toBe((THREADS * 32_000 * 2) / 16)
})

test('Rate loses no update of four threads', async () => {
  const { memory } = await run('rate', Rate.byteLength(), 32_000)
  const rate = new Rate({ intervalMs: 1_000, memory, now: frozen })
  for (let key = 0; key < 16; key++) expect(rate.observe(key, 0)).toBe((THREADS * 32_000) / 16)
})

test('Rate loses no update of four threads while its windows turn', async () => {
  const rounds = 50_000
  const { gate } = await run('windows', Rate.byteLength({ rows: 1, columns: 16 }), rounds)
  const counted = new Int32Array(gate, 12).reduce((sum, count) => sum + count, 0)
  expect(Math.abs(counted - THREADS * rounds)).toBeLessThan(rounds / 100)
})

test('Inflight never lets in more than its maximum, and all of it comes back', async () => {
  const size = { lanes: THREADS }
  const { memory, results } = await run('inflight', Inflight.byteLength(size), 5_000)
  expect(Math.max(...results)).toBeLessThanOrEqual(2)
  const inflight = new Inflight({ ...size, memory })
  for (let key = 0; key < 4; key++) expect(inflight.get(`key ${key}`)).toBe(0)
  // The threads are gone and never released these.
  expect(inflight.get('kept')).toBe(5 * THREADS)
  for (let lane = 0; lane < THREADS; lane++) inflight.releaseLane(lane)
  expect(inflight.get('kept')).toBe(0)
})

test('Inflight in one lane never lets in more than its maximum', async () => {
  const { sum } = await run('oneLane', Inflight.byteLength({ rows: 4, columns: 64 }), 10_000)
  expect(sum).toBeLessThanOrEqual(20_000)
  expect(sum).toBeGreaterThan(20_000 - THREADS)
})

test('TokenBucket gives four threads exactly its tokens', async () => {
  const { memory, sum } = await run('bucket', TokenBucket.byteLength(), 10_000)
  expect(sum).toBe(20_000)
  expect(
    new TokenBucket({ capacity: 20_000, tokensPerSecond: 1, memory, now: frozen }).peek().remaining,
  ).toBe(0)
})

test('Gcra gives four threads exactly the quota of each key', async () => {
  const { sum } = await run('gcra', Gcra.byteLength({ keysMax: 1_024 }), 20_000)
  expect(sum).toBe(20 * 1_000)
})

test('SlidingWindow gives four threads no more than the quota of each key, and next to all of it', async () => {
  const { memory, sum } = await run('window', SlidingWindow.byteLength(), 20_000)
  expect(sum).toBeLessThanOrEqual(20 * 1_000)
  expect(sum).toBeGreaterThan(20 * 1_000 - 20 * THREADS)
  const limit = new SlidingWindow({ limit: 1_000, windowMs: 60_000, memory, now: frozen })
  expect(
    Array.from({ length: 20 }, (_, key) => 1_000 - limit.peek(`key ${key}`).remaining).reduce(
      (a, b) => a + b,
    ),
  ).toBe(sum)
})

test('ConcurrencyLimit keeps four threads to two at a time, and every waiter is served', async () => {
  const { memory, results } = await run('concurrency', ConcurrencyLimit.byteLength({ lanes: THREADS }), 100)
  expect(Math.max(...results)).toBeLessThanOrEqual(2)
  expect(new ConcurrencyLimit({ limit: 2, memory, lanes: THREADS }).active).toBe(0)
})

test('memory of another kind, of other options or too small is refused', () => {
  const memory = new SharedArrayBuffer(Rate.byteLength())
  new Rate({ intervalMs: 1_000, memory })
  expect(() => new Rate({ intervalMs: 1_000, memory })).not.toThrow()
  expect(() => new Rate({ intervalMs: 2_000, memory })).toThrow(/belongs to another limiter/)
  expect(() => new Estimator({ memory })).toThrow(RangeError)
  expect(() => new Gcra({ limit: 1, windowMs: 1, memory })).toThrow(/must hold 196672 bytes, received 49216/)
  const short = new SharedArrayBuffer(Rate.byteLength() - 1)
  expect(() => new Rate({ intervalMs: 1_000, memory: short })).toThrow(RangeError)
  // @ts-expect-error memory is shared memory
  expect(() => new Rate({ intervalMs: 1_000, memory: new ArrayBuffer(1e6) })).toThrow(TypeError)
})

test('two limiters on one memory count together in one thread too', () => {
  const memory = new SharedArrayBuffer(Estimator.byteLength())
  const [one, two] = [new Estimator({ memory }), new Estimator({ memory })]
  one.incr('a')
  expect(two.incr('a')).toBe(2)
  expect(new Estimator().incr('a')).toBe(1)
})
