// A worker of threads.test.ts: waits for the others at a gate, does its task on the shared memory, reports.
import { parentPort, workerData } from 'node:worker_threads'
import {
  ConcurrencyLimit,
  Estimator,
  Gcra,
  Inflight,
  Rate,
  SlidingWindow,
  TokenBucket,
} from '../src/index.ts'

type Task =
  | 'estimator'
  | 'rate'
  | 'windows'
  | 'inflight'
  | 'oneLane'
  | 'bucket'
  | 'gcra'
  | 'window'
  | 'concurrency'

export interface Job {
  readonly task: Task
  readonly memory: SharedArrayBuffer
  readonly gate: SharedArrayBuffer
  readonly threads: number
  readonly lane: number
  readonly rounds: number
}

export const frozen: () => number = () => 1_000

const tasks: Record<Task, (job: Job) => number | Promise<number>> = {
  estimator({ memory, rounds }: Job) {
    const estimator = new Estimator({ memory })
    for (let round = 0; round < rounds; round++) estimator.incr(`key ${round % 16}`, 3)
    for (let round = 0; round < rounds; round++) estimator.decr(`key ${round % 16}`)
    return rounds
  },
  rate({ memory, rounds }: Job) {
    const rate = new Rate({ intervalMs: 1_000, memory, now: frozen })
    for (let round = 0; round < rounds; round++) rate.observe(round % 16)
    return rounds
  },
  /**
   * The first thread moves the clock on while all count; the highest count seen in each window goes to the gate.
   * A thread that the system stops amid an addition adds to a window that has passed, hence a small tolerance.
   */
  windows({ memory, rounds, lane, gate }: Job) {
    const clock = new Int32Array(gate, 8, 1)
    const most = new Int32Array(gate, 12)
    let nowMs = 0
    const now = () => {
      nowMs = Atomics.load(clock, 0)
      return nowMs
    }
    const rate = new Rate({ intervalMs: 1, rows: 1, columns: 16, memory, now })
    for (let round = 0; round < rounds; round++) {
      if (lane === 0 && round % 2_000 === 1_999) Atomics.add(clock, 0, 1)
      const count = rate.observe('key')
      // If the clock went on meanwhile, nobody knows for which window this was.
      if (Atomics.load(clock, 0) !== nowMs) continue
      let known = Atomics.load(most, nowMs)
      while (known < count) {
        const found = Atomics.compareExchange(most, nowMs, known, count)
        if (found === known) break
        known = found
      }
    }
    return rounds
  },
  inflight({ memory, rounds, lane, threads }: Job) {
    const inflight = new Inflight({ memory, lane, lanes: threads })
    let most = 0
    for (let round = 0; round < rounds; round++) {
      using guard = inflight.tryAcquire(`key ${round % 4}`, 2)
      if (guard !== undefined) most = Math.max(most, guard.count)
    }
    inflight.acquire('kept', 5)
    return most
  },
  /** How many of its units one thread got; none is given back. */
  oneLane({ memory, rounds }: Job) {
    const inflight = new Inflight({ memory, rows: 4, columns: 64 })
    let taken = 0
    for (let round = 0; round < rounds; round++) if (inflight.tryAcquire('key', 20_000) !== undefined) taken++
    return taken
  },
  bucket({ memory, rounds }: Job) {
    const bucket = new TokenBucket({ capacity: 20_000, tokensPerSecond: 1, memory, now: frozen })
    let taken = 0
    for (let round = 0; round < rounds; round++) if (bucket.take().allowed) taken++
    return taken
  },
  gcra({ memory, rounds }: Job) {
    const gcra = new Gcra({ limit: 1_000, windowMs: 60_000, keysMax: 1_024, memory, now: frozen })
    let taken = 0
    for (let round = 0; round < rounds; round++) if (gcra.take(`key ${round % 20}`).allowed) taken++
    return taken
  },
  window({ memory, rounds }: Job) {
    const limit = new SlidingWindow({ limit: 1_000, windowMs: 60_000, memory, now: frozen })
    let taken = 0
    for (let round = 0; round < rounds; round++) if (limit.take(`key ${round % 20}`).allowed) taken++
    return taken
  },
  async concurrency({ memory, rounds, lane, threads, gate }: Job) {
    const limit = new ConcurrencyLimit({ limit: 2, memory, lane, lanes: threads, queueTimeoutMs: 30_000 })
    const inside = new Int32Array(gate, 4, 1)
    let most = 0
    const once = async () => {
      using permit = await limit.acquire()
      if (!permit.granted) throw new Error(permit.outcome)
      most = Math.max(most, Atomics.add(inside, 0, 1) + 1)
      await new Promise<void>((resolve) => setImmediate(resolve))
      Atomics.sub(inside, 0, 1)
    }
    for (let round = 0; round < rounds; round++) await Promise.all([once(), once(), once()])
    return most
  },
}

const job = workerData as Job | null
if (parentPort !== null && job?.task !== undefined) {
  const gate = new Int32Array(job.gate, 0, 1)
  // All threads begin together, so that they really meet.
  if (Atomics.add(gate, 0, 1) === job.threads - 1) Atomics.notify(gate, 0)
  for (let here = Atomics.load(gate, 0); here < job.threads; here = Atomics.load(gate, 0))
    Atomics.wait(gate, 0, here)
  parentPort.postMessage(await tasks[job.task](job))
}
