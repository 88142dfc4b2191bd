// npm run bench:observers -- --help
//
// What each observer adds to a proxied request: the real proxy over real sockets, one process per observer, measured
// one after the other in every round, so that a slow minute of the machine meets all of them.
import { rmSync } from 'node:fs'
import { mkdir, mkdtemp } from 'node:fs/promises'
import { availableParallelism, cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Child, isInstalled, pinSelf, stopAll } from './child.ts'
import { freePort, untilServing } from './network.ts'
import { type BenchOptions, parseOptions } from './options.ts'
import { startOrigin } from './origin.ts'
import { formatTable } from './report.ts'
import { median } from './statistics.ts'
import { readUsage } from './usage.ts'

const HELP = `npm run bench:observers -- [options]

  --observers a,b   none,times,access-log,access-log-json,access-log-pino,prometheus,
                    log-and-metrics,otel-no-sdk,otel-traces-1%,otel-traces-rate-1%,
                    otel-traces,otel-metrics
  --generations 2   fresh processes each: two of the same code differ by some percent
  --rounds 30       per generation
  --requests 10000  of one measurement
  --seconds 0       no round starts later than this after the start; 0: all are run
  --cores 0,1       load and origin on the first, the proxy on the second; "none": not pinned
  --from-source     from src/, without a build

The load comes from h2load (nghttp2-client of Debian), which sends a fixed number of requests.
`

/** What browsers send, and so what logs write. */
const HEADERS = [
  'User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0',
  'Referer: https://example.org/products?page=2',
  'Accept: */*',
  'Accept-Encoding: gzip, deflate, br, zstd',
  'Accept-Language: en-GB,en;q=0.9',
]
const REFERENCE = 'none'
const CONNECTIONS = 64
const WARM_UP_ROUNDS = 6
const LOAD_TIMEOUT_MS = 30_000

interface Contender {
  readonly name: string
  readonly port: number
  readonly child: Child
}

async function start(name: string, originPort: number, directory: string, options: Run): Promise<Contender> {
  const port = await freePort()
  const script = join(import.meta.dirname, 'children/observed-proxy.ts')
  const flags = options.fromSource ? ['--conditions=@cirque/source'] : []
  const args = [String(port), String(originPort), name, join(directory, `${name}.log`)]
  const child = new Child(name, [process.execPath, ...flags, script, ...args], {
    core: options.bench.cores[1],
  })
  await untilServing(child, { port, path: '/13', tls: false })
  return { name, port, child }
}

/** Microseconds of CPU per request, of all threads. */
async function measure({ name, port, child }: Contender, { requests, bench }: Run): Promise<number> {
  const headers = HEADERS.flatMap((header) => ['--header', header])
  const flags = ['--h1', '--threads=1', `--requests=${requests}`, `--clients=${CONNECTIONS}`, ...headers]
  const before = readUsage(child.pid).cpuMicros ?? Number.NaN
  const load = new Child('h2load', ['h2load', ...flags, `http://127.0.0.1:${port}/13`], {
    core: bench.cores[0],
  })
  const said = await load.result(LOAD_TIMEOUT_MS)
  const after = readUsage(child.pid).cpuMicros ?? Number.NaN
  if (!child.running || !said.includes(` ${requests} succeeded`)) {
    throw new Error(`${name} fails under load. ${child.stderr} ${said}`)
  }
  return (after - before) / requests
}

interface Run {
  readonly names: readonly string[]
  readonly generations: number
  readonly rounds: number
  readonly requests: number
  /** On the clock of `performance.now()`. */
  readonly deadline: number
  readonly fromSource: boolean
  readonly bench: BenchOptions
}

async function run(options: Run): Promise<void> {
  const { names, bench } = options
  const directory = await mkdtemp(join(tmpdir(), 'cirque-observers-'))
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }))
  const origin = await startOrigin(bench, directory)
  const micros = new Map<string, number[]>(names.map((name) => [name, []]))
  for (let generation = 0; generation < options.generations; generation += 1) {
    const logs = join(directory, String(generation))
    await mkdir(logs)
    const contenders: Contender[] = []
    for (const name of names) contenders.push(await start(name, origin.ports.h1, logs, options))
    for (let round = -WARM_UP_ROUNDS; round < options.rounds; round += 1) {
      const first = (round + WARM_UP_ROUNDS) % contenders.length
      if (performance.now() > options.deadline) break
      for (const contender of [...contenders.slice(first), ...contenders.slice(0, first)]) {
        const spent = await measure(contender, options)
        if (round >= 0) micros.get(contender.name)?.push(spent)
      }
    }
    await Promise.all(contenders.map(({ child }) => child.stop()))
    rmSync(logs, { recursive: true })
  }
  await Promise.all(origin.children.map((child) => child.stop()))
  process.stdout.write(`${report(micros)}\n`)
}

function report(micros: ReadonlyMap<string, readonly number[]>): string {
  const reference = micros.get(REFERENCE) ?? []
  const rows = Array.from(micros, ([name, own]) => {
    const ratios = own.map((value, round) => value / (reference[round] as number)).sort((a, b) => a - b)
    const at = (share: number) => percent(ratios[Math.round(share * (ratios.length - 1))] as number)
    // Of n values, 95 in 100 times the true median lies within the square root of n values around the middle one.
    const half = Math.min(0.5, 0.98 / Math.sqrt(ratios.length))
    const interval = `${at(0.5 - half)} to ${at(0.5 + half)}`
    return [
      name,
      (median(own) ?? 0).toFixed(2),
      percent(median(ratios) ?? 0),
      interval,
      `${at(0.25)} to ${at(0.75)}`,
    ]
  })
  return `${reference.length} rounds\n${formatTable([['', 'CPU µs/req', 'added', '95 % sure', 'middle half of the rounds'], ...rows])}`
}

function percent(ratio: number): string {
  return `${((ratio - 1) * 100).toFixed(1)} %`
}

function parse(): Run | undefined {
  const text = { type: 'string' } as const
  const { values } = parseArgs({
    options: {
      observers: { ...text, default: 'none,times,access-log,prometheus,log-and-metrics' },
      generations: { ...text, default: '2' },
      rounds: { ...text, default: '30' },
      requests: { ...text, default: '10000' },
      seconds: { ...text, default: '0' },
      cores: text,
      'from-source': { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) return undefined
  const cores = values.cores === undefined ? [] : ['--cores', values.cores]
  const bench = parseOptions(['--bodies', '13', ...cores], availableParallelism())
  if (bench === 'help') return undefined
  const names = [...new Set([REFERENCE, ...values.observers.split(',')])]
  const count = (name: 'generations' | 'rounds' | 'requests' | 'seconds') => {
    const value = Number(values[name])
    if (Number.isInteger(value) && value >= 1) return value
    throw new RangeError(`--${name} takes a whole number from 1 on, not "${values[name]}"`)
  }
  return {
    names,
    generations: count('generations'),
    rounds: count('rounds'),
    requests: count('requests'),
    deadline: values.seconds === '0' ? Number.POSITIVE_INFINITY : count('seconds') * 1000,
    fromSource: values['from-source'],
    bench,
  }
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    void stopAll().finally(() => process.exit(signal === 'SIGINT' ? 130 : 143))
  })
}

try {
  const options = parse()
  if (options === undefined) process.stdout.write(HELP)
  else if (!isInstalled('h2load')) throw new Error('h2load is not installed')
  else {
    const core = options.bench.cores[0]
    const isPinned = core !== undefined && pinSelf(core)
    process.stdout.write(
      `Node.js ${process.version}, ${cpus()[0]?.model ?? '?'}, ${isPinned ? 'pinned' : 'not pinned'}, ` +
        `${CONNECTIONS} keep-alive connections, 13 B\n`,
    )
    await run(options)
  }
} catch (error) {
  process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
} finally {
  await stopAll()
}
