/**
 * Time of one choice, in nanoseconds: `node --expose-gc --conditions=@cirque/source bench/select.bench.ts`.
 * Also shows how many bytes a choice allocates.
 */
import { cpus } from 'node:os'
import {
  Backend,
  boundedLoad,
  fnvHash,
  ketama,
  LoadBalancer,
  leastRequests,
  maglev,
  peakEwma,
  powerOfTwoChoices,
  RetryBudget,
  random,
  rendezvous,
  roundRobin,
  type Selection,
  StickySessions,
} from '@cirque/load-balancing'

const ROUNDS = 5
const CALLS = 400_000

const selections: Record<string, () => Selection> = {
  roundRobin,
  random,
  powerOfTwoChoices,
  leastRequests,
  peakEwma,
  fnvHash,
  ketama,
  rendezvous,
  maglev,
  'boundedLoad(maglev)': () => boundedLoad(maglev()),
}
const keys = Array.from({ length: 1_024 }, (_, index) => `192.168.${index >> 8}.${index & 255}`)

function backends(count: number, weightOf: (index: number) => number): Backend[] {
  return Array.from(
    { length: count },
    (_, index) =>
      new Backend(`10.${index >> 16}.${(index >> 8) & 255}.${index & 255}:80`, { weight: weightOf(index) }),
  )
}

/** Best of some rounds, and the bytes that one call allocates. */
function measure(calls: number, run: (index: number) => unknown): { ns: number; bytes: number } {
  let ns = Number.POSITIVE_INFINITY
  let bytes = Number.POSITIVE_INFINITY
  for (let round = 0; round < ROUNDS; round++) {
    globalThis.gc?.()
    const heapBefore = process.memoryUsage().heapUsed
    const startedAt = performance.now()
    for (let index = 0; index < calls; index++) run(index)
    ns = Math.min(ns, ((performance.now() - startedAt) * 1e6) / calls)
    bytes = Math.min(bytes, Math.max(0, process.memoryUsage().heapUsed - heapBefore) / calls)
  }
  return { ns, bytes }
}

function print(name: string, { ns, bytes }: { ns: number; bytes: number }): void {
  console.log(`${name.padEnd(46)} ${ns.toFixed(0).padStart(8)} ns ${bytes.toFixed(1).padStart(8)} bytes`)
}

console.log(`Node ${process.version}, ${cpus()[0]?.model}; time and heap of one call\n`)
for (const [name, make] of Object.entries(selections)) {
  for (const [kind, set] of [
    ['10 equal', backends(10, () => 1)],
    ['10 weighted', backends(10, (index) => 1 + (index % 4))],
    ['1,000 equal', backends(1_000, () => 1)],
  ] as const) {
    const balancer = LoadBalancer.fromBackends(set, make())
    const calls = set.length === 1_000 ? CALLS / 10 : CALLS
    print(
      `select: ${name}, ${kind}`,
      measure(calls, (index) => balancer.select(keys[index & 1_023])),
    )
  }
}

const half = LoadBalancer.fromBackends(
  backends(10, () => 1),
  roundRobin(),
)
for (const backend of half.backends.slice(0, 5)) half.setEnabled(backend, false)
print(
  'select: roundRobin, 5 of 10 down',
  measure(CALLS, () => half.select()),
)

const plain = LoadBalancer.fromBackends(
  backends(10, () => 1),
  powerOfTwoChoices(),
)
print(
  'acquire and release',
  measure(CALLS, () => plain.acquire()?.release({ ok: true })),
)
const watched = LoadBalancer.fromBackends(
  backends(10, () => 1),
  peakEwma(),
  { outlier: {}, circuitBreaker: {} },
)
print(
  'the same with peak EWMA, ejection and breaker',
  measure(CALLS, () => watched.acquire()?.release({ ok: true, latencyMs: 5 })),
)

const budget = new RetryBudget()
print(
  'RetryBudget.recordRequest',
  measure(CALLS, () => budget.recordRequest()),
)
const sticky = new StickySessions({ secrets: ['sixteen bytes or more'] })
const token = sticky.select(plain, undefined)?.token
print(
  'StickySessions.select with a good token',
  measure(CALLS / 20, () => sticky.select(plain, token)),
)
