// What the pool costs per request: one acquire and one release.
// Run: node --expose-gc --conditions=@cirque/source packages/pool/bench/pool.bench.ts
import { cpus } from 'node:os'
import { ConnectionPool, type PoolEntry } from '@cirque/pool'

const ROUNDS = 5
const COUNT = 500_000

interface Connection {
  readonly id: number
}

function poolWith(keyCount: number, perKey: number): { pool: ConnectionPool<Connection>; keys: string[] } {
  const pool = new ConnectionPool<Connection>({ idleMax: keyCount * perKey })
  const keys = Array.from(
    { length: keyCount },
    (_, index) => `10.0.${index >> 8}.${index & 255}:443|tls|example.org`,
  )
  for (const key of keys) {
    const entries = Array.from({ length: perKey }, (_, id) => pool.add(key, { id }))
    for (const entry of entries) pool.release(entry)
  }
  return { pool, keys }
}

async function measure(name: string, run: (count: number) => void): Promise<void> {
  run(COUNT)
  const rounds: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    globalThis.gc?.()
    await new Promise(setImmediate)
    const start = performance.now()
    run(COUNT)
    rounds.push(((performance.now() - start) * 1e6) / COUNT)
  }
  rounds.sort((left, right) => left - right)
  console.log(
    `${name.padEnd(48)} ${rounds[0]?.toFixed(1).padStart(8)} ${rounds.at(-1)?.toFixed(1).padStart(8)}`,
  )
}

console.log(`Node ${process.version}, ${cpus()[0]?.model}; ns per operation, best and worst of ${ROUNDS}`)
for (const [keyCount, perKey] of [
  [1, 1],
  [1, 64],
  [100, 8],
  [10_000, 1],
] as const) {
  const { pool, keys } = poolWith(keyCount, perKey)
  await measure(`acquire, release: ${keyCount} keys, ${perKey} idle each`, (count) => {
    for (let index = 0; index < count; index++) {
      pool.release(pool.acquire(keys[index % keyCount] as string) as PoolEntry<Connection>)
    }
  })
  pool.close()
}
const { pool } = poolWith(1, 0)
await measure('acquire: a miss', (count) => {
  for (let index = 0; index < count; index++) pool.acquire('nothing here')
})
await measure('add, remove: a connection that is not reused', (count) => {
  for (let index = 0; index < count; index++) pool.remove(pool.add('key', { id: index }))
})
