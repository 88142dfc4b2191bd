// Throughput and CPU of a server with 1, 2 and more threads, and what a new connection costs the main thread.
//   node --conditions=@cirque/source packages/core/bench/threads.bench.ts [THREADS ...]
// The load comes from wrk (one thread, 64 connections), so Linux and wrk are needed. The machine has to have a
// processor for the load beside those of the server, or the figures say how much it lacks.
import { type ChildProcess, execFile, fork } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const SECONDS = 4
const TICK_US = 10_000 // a clock tick of /proc, 100 per second
const run = promisify(execFile)
const wanted = process.argv.slice(2).map(Number)
const threadCounts = wanted.length === 0 ? [1, 2] : wanted

interface Result {
  readonly requestsPerSecond: number
  readonly requests: number
  readonly mainUs: number
  readonly workersUs: number
}

/** CPU time of the main thread, and of all others, in microseconds. */
function cpuUs(pid: number): [main: number, others: number] {
  let others = 0
  let main = 0
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const fields = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? []
    const ticks = Number(fields[11]) + Number(fields[12])
    if (Number(thread) === pid) main += ticks * TICK_US
    else others += ticks * TICK_US
  }
  return [main, others]
}

async function load(child: ChildProcess, address: string, path: string, headers: string[]): Promise<Result> {
  const url = `http://${address}${path}`
  const argv = ['-t1', '-c64', ...headers.flatMap((header) => ['-H', header])]
  await run('wrk', [...argv, '-d1s', url]) // warm
  const before = cpuUs(child.pid ?? 0)
  const { stdout } = await run('wrk', [...argv, `-d${SECONDS}s`, url])
  const after = cpuUs(child.pid ?? 0)
  const requests = Number(/(\d+) requests in/.exec(stdout)?.[1])
  const requestsPerSecond = Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1])
  return { requests, requestsPerSecond, mainUs: after[0] - before[0], workersUs: after[1] - before[1] }
}

process.stdout.write(`Node.js ${process.versions.node}, ${cpus()[0]?.model}, ${cpus().length} processors\n`)
const cases: [name: string, path: string, headers: string[]][] = [
  ['hello, keep-alive', '/0', []],
  ['20 hashes of 16 KiB, keep-alive', '/20', []],
  ['hello, new connections', '/0', ['Connection: close']],
]
const first = new Map<string, number>()
for (const threads of threadCounts) {
  const child = fork(join(import.meta.dirname, 'threads-server.ts'), [String(threads)], {
    execArgv: ['--conditions=@cirque/source'],
  })
  try {
    const [address] = (await once(child, 'message')) as [string]
    for (const [name, path, headers] of cases) {
      const { requests, requestsPerSecond, mainUs, workersUs } = await load(child, address, path, headers)
      const one = first.get(name) ?? requestsPerSecond
      first.set(name, one)
      const us = (total: number) => (total / requests).toFixed(1)
      process.stdout.write(
        `${threads} thread${threads === 1 ? ' ' : 's'}  ${name.padEnd(32)} ${requestsPerSecond.toFixed(0).padStart(7)}/s ` +
          `(${(requestsPerSecond / one).toFixed(2)} ×)  CPU per request: main thread ${us(mainUs)} µs, others ${us(workersUs)} µs\n`,
      )
    }
  } finally {
    child.kill('SIGKILL')
  }
}
