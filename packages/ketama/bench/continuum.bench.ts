import { cpus } from 'node:os'
import { crc32 as zlibCrc32 } from 'node:zlib'
import { Bench } from 'tinybench'
import { crc32 } from '../src/crc32.ts'
import { buildContinuum, Continuum } from '../src/index.ts'

const servers = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ address: `10.0.${index >> 8}.${index & 255}:80` }))
const keys = Array.from({ length: 4096 }, (_, index) => `/path/to/${(index * 2_654_435_761) >>> 0}`)
const hundred = new Continuum(servers(100))
const tenThousand = new Continuum(servers(10_000))

process.stdout.write(`Node ${process.version}, ${cpus()[0]?.model}\n`)
process.stdout.write(`10,000 servers: ${tenThousand.pointCount} points, ${tenThousand.byteLength} bytes\n`)

let sink = 0
const bench = new Bench({ time: 500, warmupTime: 200 })
bench.add('build 100 servers', () => {
  sink += new Continuum(servers(100)).pointCount
})
bench.add('build 10,000 servers at once', () => {
  sink += new Continuum(servers(10_000)).pointCount
})
bench.add('build 10,000 servers in slices', async () => {
  sink += (await buildContinuum(servers(10_000))).pointCount
})
bench.add('4096 look-ups, 100 servers', () => {
  for (const key of keys) sink += hundred.nodeIndex(key) as number
})
bench.add('4096 look-ups, 10,000 servers', () => {
  for (const key of keys) sink += tenThousand.nodeIndex(key) as number
})
bench.add('4096 times the three servers to try, 100 servers', () => {
  for (const key of keys) {
    let count = 3
    for (const node of hundred.nodeIndices(key)) {
      sink += node
      if (--count === 0) break
    }
  }
})
for (const length of [16, 32, 48, 64]) {
  const texts = Array.from({ length: 4096 }, (_, index) => `${index}`.padStart(length, 'abcdefgh'))
  bench.add(`4096 CRCs of ${length} characters, ours below 48`, () => {
    for (const text of texts) sink += crc32(text)
  })
  bench.add(`4096 CRCs of ${length} characters, zlib`, () => {
    for (const text of texts) sink += zlibCrc32(text)
  })
}
await bench.run()
for (const task of bench.tasks) {
  if (task.result.state !== 'completed') throw new Error(`${task.name}: ${task.result.state}`)
  const { latency } = task.result
  const each = task.name.startsWith('4096') ? `${((latency.p50 * 1e6) / 4096).toFixed(1)} ns each` : ''
  process.stdout.write(`${task.name.padEnd(56)} ${latency.p50.toFixed(3).padStart(9)} ms median  ${each}\n`)
}
if (Number.isNaN(sink)) throw new Error('Nothing was counted')
