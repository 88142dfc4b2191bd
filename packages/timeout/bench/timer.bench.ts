// Coarse timers beside Node's own: what a connection pays per request for its deadlines.
// Run: node --expose-gc --conditions=@cirque/source packages/timeout/bench/timer.bench.ts
import { cpus } from 'node:os'
import { CoarseTimer, sharedWheel } from '@cirque/timeout'

const ROUNDS = 5
const COUNT = 300_000
const ARMED_COUNT = 10_000

const owner = { onTimer(): void {} }
const noop = (): void => {}

/** Best and worst of some rounds, in nanoseconds per call. */
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
    `${name.padEnd(52)} ${rounds[0]?.toFixed(1).padStart(8)} ${rounds.at(-1)?.toFixed(1).padStart(8)}`,
  )
}

async function all(): Promise<void> {
  const timer = new CoarseTimer(owner)
  await measure('CoarseTimer: arm, cancel', (count) => {
    for (let index = 0; index < count; index++) {
      timer.arm(5_000)
      timer.cancel()
    }
  })
  await measure('setTimeout, clearTimeout', (count) => {
    for (let index = 0; index < count; index++) clearTimeout(setTimeout(noop, 5_000))
  })

  timer.arm(5_000)
  await measure('CoarseTimer: re-arm within a tick', (count) => {
    for (let index = 0; index < count; index++) timer.arm(5_000 + (index & 1))
  })
  const timeout = setTimeout(noop, 5_000)
  await measure('timeout.refresh()', (count) => {
    for (let index = 0; index < count; index++) timeout.refresh()
  })
  clearTimeout(timeout)

  const timers = Array.from({ length: ARMED_COUNT }, () => new CoarseTimer(owner))
  await measure('CoarseTimer: 10k armed, each re-armed once per tick', (count) => {
    for (let done = 0; done < count; done += ARMED_COUNT) {
      for (const each of timers) each.arm(60_000)
      sharedWheel.advance()
    }
  })
  for (const each of timers) each.cancel()
  const timeouts = Array.from({ length: ARMED_COUNT }, () => setTimeout(noop, 60_000))
  await measure('timeout.refresh(): 10k armed', (count) => {
    for (let done = 0; done < count; done += ARMED_COUNT) for (const each of timeouts) each.refresh()
  })
  for (const each of timeouts) clearTimeout(each)
  timer.cancel()
}

console.log(`Node ${process.version}, ${cpus()[0]?.model}; ns per operation, best and worst of ${ROUNDS}`)
await all()
