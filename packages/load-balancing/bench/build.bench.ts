/** Time to build a balancer over a set at once: `node --conditions=@cirque/source bench/build.bench.ts`. */
import { cpus } from 'node:os'
import {
  Backend,
  ketama,
  LoadBalancer,
  maglev,
  rendezvous,
  roundRobin,
  type Selection,
} from '@cirque/load-balancing'
import { Bench } from 'tinybench'

const selections: Record<string, () => Selection> = { roundRobin, rendezvous, maglev, ketama }

const bench = new Bench({ time: 200, warmupTime: 50 })
for (const count of [10, 100, 1_000]) {
  const backends = Array.from(
    { length: count },
    (_, index) => new Backend(`10.0.${index >> 8}.${index & 255}:80`, { weight: 1 + (index % 3) }),
  )
  for (const [name, make] of Object.entries(selections)) {
    bench.add(`${name}, ${count} backends`, () => {
      LoadBalancer.fromBackends(backends, make())
    })
  }
}
await bench.run()

console.log(`Node ${process.version}, ${cpus()[0]?.model}; milliseconds\n`)
for (const { name, result } of bench.tasks) {
  if (result.state !== 'completed') continue
  console.log(
    `${name.padEnd(28)} ${result.latency.p50.toFixed(3).padStart(10)} p50 ${result.latency.p99.toFixed(3).padStart(10)} p99`,
  )
}
