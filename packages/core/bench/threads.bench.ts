// Throughput and CPU of a server with 1, 2 and more threads, with reusePort as well, and who uses the processors.
//   node --conditions=@cirque/source packages/core/bench/threads.bench.ts [--modes 1,2,2r] [--cases hashes,...]
//     [--seconds 3] [--rounds 1]
// "2r" is two threads that accept themselves (reusePort). The load comes from wrk (one thread, 64 connections), and at
// a fixed rate from h2load, so Linux and these are needed. The machine has to have a processor for the load beside
// those of the server, or the figures say how much it lacks: "control" is what two threads bring here that do nothing
// but hash, without sockets and without this library.
import { type ChildProcess, fork, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { isMainThread, Worker, workerData } from 'node:worker_threads'

const TICK_US = 10_000 // a clock tick of /proc, 100 per second
const SAMPLE_MS = 50
const BLOCK = Buffer.alloc(16_384, 'x')
const HASHES = 20

/** CPU time of the main thread, and of all others, in microseconds. */
function threadsUs(pid: number): [main: number, others: number] {
  let others = 0
  let main = 0
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const nanoseconds = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'latin1').split(' ')[0]
    if (Number(thread) === pid) main += Number(nanoseconds) / 1000
    else others += Number(nanoseconds) / 1000
  }
  return [main, others]
}

/** What all processors together did so far, in microseconds. */
function machineUs(): { idle: number; busy: number } {
  const fields = (/^cpu +(.*)$/m.exec(readFileSync('/proc/stat', 'latin1'))?.[1] ?? '').split(' ').map(Number)
  const [user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, softirq = 0, stolen = 0] = fields
  const busy = user + nice + system + irq + softirq + stolen
  return { idle: (idle + wait) * TICK_US, busy: busy * TICK_US }
}

interface Shot {
  readonly requests: number
  readonly seconds: number
  readonly mainUs: number
  readonly workersUs: number
  readonly loadUs: number
  readonly idleUs: number
  /** Of other processes, and of interrupts. */
  readonly restUs: number
}

async function shoot(child: ChildProcess, command: string, argv: readonly string[]): Promise<Shot> {
  const pid = child.pid ?? 0
  const before = threadsUs(pid)
  const machine = machineUs()
  const begun = performance.now()
  const load = spawn(command, argv, { stdio: ['ignore', 'pipe', 'inherit'] })
  let said = ''
  load.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text
  })
  let loadUs = 0
  const timer = setInterval(() => {
    try {
      const [main, others] = threadsUs(load.pid ?? 0)
      loadUs = Math.max(loadUs, main + others)
    } catch {} // it has just ended
  }, SAMPLE_MS)
  await once(load, 'close')
  clearInterval(timer)
  const seconds = (performance.now() - begun) / 1000
  const after = threadsUs(pid)
  const now = machineUs()
  const requests = Number(/(\d+) requests in|(\d+) succeeded/.exec(said)?.slice(1).find(Boolean))
  const [mainUs, workersUs] = [after[0] - before[0], after[1] - before[1]]
  const restUs = now.busy - machine.busy - mainUs - workersUs - loadUs
  return { requests, seconds, mainUs, workersUs, loadUs, idleUs: now.idle - machine.idle, restUs }
}

/** Hashes per second of `count` threads that do nothing else, for the time of one measurement. */
async function control(count: number, seconds: number): Promise<number> {
  const done = new Int32Array(new SharedArrayBuffer(256))
  const workers = Array.from(
    { length: count },
    (_, index) => new Worker(new URL(import.meta.url), { workerData: { done, index } }),
  )
  const sum = () =>
    Array.from({ length: count }, (_, index) => Atomics.load(done, index * 16)).reduce((a, b) => a + b)
  while (Array.from({ length: count }, (_, index) => Atomics.load(done, index * 16)).includes(0))
    await delay(20)
  const before = sum()
  const begun = performance.now()
  await delay(seconds * 1000)
  const perSecond = ((sum() - before) / (performance.now() - begun)) * 1000
  await Promise.all(workers.map((worker) => worker.terminate()))
  return perSecond
}

function hashForEver({ done, index }: { done: Int32Array; index: number }): never {
  for (;;) {
    for (let count = 0; count < HASHES; count += 1) createHash('sha256').update(BLOCK).digest()
    Atomics.add(done, index * 16, 1)
  }
}

interface Server {
  readonly mode: string
  readonly child: ChildProcess
  readonly address: string
}

async function start(mode: string): Promise<Server> {
  const child = fork(
    join(import.meta.dirname, 'threads-server.ts'),
    [String(Number.parseInt(mode, 10)), mode.slice(1)],
    {
      execArgv: ['--conditions=@cirque/source'],
    },
  )
  const [address] = (await once(child, 'message')) as [string]
  return { mode, child, address }
}

const WRK = ['wrk', '-t1', '-c64'] as const
const CASES: Readonly<Record<string, (url: string, seconds: number) => readonly string[]>> = {
  hello: (url, seconds) => [...WRK, `-d${seconds}s`, `${url}/0`],
  hashes: (url, seconds) => [...WRK, `-d${seconds}s`, `${url}/${HASHES}`],
  // 64 clients with 40 requests per second each
  'hashes at 2,560/s': (url, seconds) => [
    'h2load',
    '--h1',
    '-t1',
    '-c64',
    '--rps=40',
    `-D${seconds}`,
    `${url}/${HASHES}`,
  ],
  'new connections': (url, seconds) => [...WRK, '-H', 'Connection: close', `-d${seconds}s`, `${url}/0`],
}

async function main(): Promise<void> {
  const text = { type: 'string' } as const
  const { values } = parseArgs({
    options: {
      modes: { ...text, default: '1,2,2r' },
      cases: { ...text, default: Object.keys(CASES).join(';') },
      seconds: { ...text, default: '3' },
      rounds: { ...text, default: '1' },
    },
  })
  const seconds = Number(values.seconds)
  const processors = cpus().length
  process.stdout.write(`Node.js ${process.versions.node}, ${cpus()[0]?.model}, ${processors} processors\n`)
  const servers: Server[] = []
  try {
    for (const mode of values.modes.split(',')) servers.push(await start(mode))
    for (const name of values.cases.split(';')) {
      const command = CASES[name]
      if (command === undefined) throw new RangeError(`No case "${name}"`)
      for (const { address } of servers)
        await once(spawn('wrk', [...WRK.slice(1), '-d1s', `http://${address}/1`]), 'close')
      for (let round = 0; round < Number(values.rounds); round += 1) {
        let first: number | undefined
        for (const { mode, child, address } of servers) {
          const [program = '', ...argv] = command(`http://${address}`, seconds)
          const shot = await shoot(child, program, argv)
          const perSecond = shot.requests / shot.seconds
          first ??= perSecond
          const share = (us: number) => `${((us / 1e6 / shot.seconds) * 100).toFixed(0)} %`.padStart(5)
          const us = (total: number) => (total / shot.requests).toFixed(1)
          process.stdout.write(
            `${name.padEnd(18)} ${mode.padEnd(3)} ${perSecond.toFixed(0).padStart(7)}/s (${(perSecond / first).toFixed(2)} ×)` +
              `  CPU per request: main thread ${us(shot.mainUs)}, others ${us(shot.workersUs)} µs` +
              `  of ${processors}00 %: main ${share(shot.mainUs)}, its other threads ${share(shot.workersUs)}, load ${share(shot.loadUs)},` +
              ` others on the machine ${share(shot.restUs)}, idle ${share(shot.idleUs)}\n`,
          )
        }
      }
    }
  } finally {
    for (const { child } of servers) child.kill('SIGKILL')
  }
  for (let round = 0; round < Number(values.rounds); round += 1) {
    const one = await control(1, 1)
    const two = await control(2, 1)
    process.stdout.write(
      `control: ${one.toFixed(0)}/s of one thread, ${two.toFixed(0)}/s of two (${(two / one).toFixed(2)} ×)\n`,
    )
  }
}

if (isMainThread) await main()
else hashForEver(workerData as { done: Int32Array; index: number })
