import { cpus } from 'node:os'
import { RateLimiterMemory } from 'rate-limiter-flexible'
import {
  ConcurrencyLimit,
  Estimator,
  Gcra,
  Inflight,
  type LimitKey,
  Rate,
  SlidingWindow,
  TokenBucket,
} from '../src/index.ts'

const KEYS = 10_000
const ROUNDS = 300_000
const SAMPLES = 5

process.stdout.write(
  `Node ${process.version}, ${cpus()[0]?.model}; ${KEYS} keys, median of ${SAMPLES} runs\n`,
)

const addresses = Array.from(
  { length: KEYS },
  (_, index) => `10.${index >> 8}.${index & 255}.${(index * 7) & 255}`,
)
const numbers = Array.from({ length: KEYS }, (_, index) => Math.imul(index, 2_654_435_761))
const bytes = addresses.map((address) => Buffer.from(address.split('.').map(Number)))
let sink = 0

/** Times `act` over the keys in a shuffled but fixed order. */
async function time(name: string, keys: readonly LimitKey[], act: (key: never) => unknown): Promise<void> {
  const results: number[] = []
  for (let sample = 0; sample <= SAMPLES; sample++) {
    const startedMs = performance.now()
    for (let round = 0; round < ROUNDS; round++) {
      const result = act(keys[(round * 7_919) % KEYS] as never)
      if (result instanceof Promise) await result
      else if (result !== undefined) sink++
    }
    // The first run warms up.
    if (sample > 0) results.push(((performance.now() - startedMs) * 1e6) / ROUNDS)
  }
  results.sort((a, b) => a - b)
  process.stdout.write(
    `${name.padEnd(44)} ${(results[SAMPLES >> 1] as number).toFixed(0).padStart(6)} ns ` +
      `(${results[0]?.toFixed(0)} to ${results.at(-1)?.toFixed(0)})\n`,
  )
}

const big = { limit: 1_000_000, windowMs: 60_000, keysMax: 32_768 }
const shared = (byteLength: number) => ({ memory: new SharedArrayBuffer(byteLength) })

/** What most people write first: a Map that nothing bounds. */
const map = new Map<LimitKey, { count: number; resetAtMs: number }>()
await time('Map with a fixed window, unbounded', addresses, (key: string) => {
  const now = performance.now()
  const entry = map.get(key)
  if (entry === undefined || entry.resetAtMs <= now) map.set(key, { count: 1, resetAtMs: now + 60_000 })
  else entry.count++
  return key
})

const flexible = new RateLimiterMemory({ points: 1_000_000, duration: 60 })
await time('rate-limiter-flexible RateLimiterMemory', addresses, (key: string) => flexible.consume(key))

const gcra = new Gcra(big)
await time('Gcra.take', addresses, (key: string) => gcra.take(key))
await time('Gcra.take, number keys', numbers, (key: number) => gcra.take(key))
await time('Gcra.take, byte keys', bytes, (key: Uint8Array) => gcra.take(key))
const gcraCoarse = new Gcra({ ...big, now: () => 1 })
await time('Gcra.take, a clock that costs nothing', addresses, (key: string) => gcraCoarse.take(key))
const gcraShared = new Gcra({ ...big, ...shared(Gcra.byteLength(big)) })
await time('Gcra.take, shared', addresses, (key: string) => gcraShared.take(key))
await time('Gcra.take and its three header fields', addresses, (key: string) => {
  const decision = gcra.take(key)
  return decision.rateLimit + decision.rateLimitPolicy + decision.retryAfter
})

const sliding = new SlidingWindow({ limit: 1_000_000, windowMs: 60_000 })
await time('SlidingWindow.take', addresses, (key: string) => sliding.take(key))
const slidingShared = new SlidingWindow({
  limit: 1_000_000,
  windowMs: 60_000,
  ...shared(SlidingWindow.byteLength()),
})
await time('SlidingWindow.take, shared', addresses, (key: string) => slidingShared.take(key))

const rate = new Rate({ intervalMs: 1_000 })
await time('Rate.observe', addresses, (key: string) => rate.observe(key))
const rateShared = new Rate({ intervalMs: 1_000, ...shared(Rate.byteLength()) })
await time('Rate.observe, shared', addresses, (key: string) => rateShared.observe(key))

const estimator = new Estimator()
await time('Estimator.incr', addresses, (key: string) => estimator.incr(key))
const inflight = new Inflight()
await time('Inflight.tryAcquire and release', addresses, (key: string) =>
  inflight.tryAcquire(key, 1_000)?.release(),
)
const bucket = new TokenBucket({ capacity: 1_000_000_000, tokensPerSecond: 1e9 })
await time('TokenBucket.take', addresses, () => bucket.take())
const bucketShared = new TokenBucket({
  capacity: 1_000_000_000,
  tokensPerSecond: 1e9,
  ...shared(TokenBucket.byteLength()),
})
await time('TokenBucket.take, shared', addresses, () => bucketShared.take())
const concurrency = new ConcurrencyLimit({ limit: 10 })
await time('ConcurrencyLimit.tryAcquire and release', addresses, () => concurrency.tryAcquire()?.release())

process.stdout.write(
  `Memory: Gcra for ${big.keysMax} keys ${Gcra.byteLength(big)} bytes, SlidingWindow ${SlidingWindow.byteLength()}, ` +
    `Rate ${Rate.byteLength()}, Inflight ${Inflight.byteLength()}, whatever the number of clients\n`,
)
if (sink === 0) throw new Error('Nothing was counted')
