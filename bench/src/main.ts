// npm run bench -- --help
import { mkdir, writeFile } from 'node:fs/promises'
import { availableParallelism, cpus, release } from 'node:os'
import { dirname, join } from 'node:path'
import { pinSelf, stopAll } from './child.ts'
import { generatorName } from './load.ts'
import { measure } from './measure.ts'
import { type BenchOptions, HELP, parseOptions } from './options.ts'
import { formatCase, formatIdle } from './report.ts'

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

/** An estimate for the reader who wonders whether to wait. */
function minutes({
  proxies,
  bodies,
  connections,
  modes,
  rounds,
  seconds,
  idleConnections,
}: BenchOptions): number {
  const cases = bodies.length * connections.length * modes.length * proxies.length
  const idle = idleConnections === 0 ? 0 : proxies.length * 6
  return (cases * (rounds * (seconds + 0.3) + 1) + idle) / 60
}

async function run(options: BenchOptions): Promise<void> {
  const machine = {
    date: new Date().toISOString(),
    node: process.version,
    cpu: cpus()[0]?.model ?? '?',
    cores: cpus().length,
    system: `${process.platform} ${release()} ${process.arch}`,
    generator: generatorName(options),
  }
  const [loadCore, proxyCore] = options.cores
  const isPinned = loadCore !== undefined && pinSelf(loadCore)
  const pinned = isPinned ? `load on core ${loadCore}, proxy on ${proxyCore}` : 'not pinned'
  say(`Node.js ${machine.node}, ${machine.cpu}, ${machine.cores} cores, ${machine.system}`)
  say(
    `${machine.generator} as load, ${pinned}, ${options.rounds} rounds of ${options.seconds} s, about ${Math.ceil(minutes(options))} min`,
  )

  const measurements = await measure(options, say)
  const versions = Object.entries(measurements.versions).map(([name, version]) => `${name} ${version}`)
  say(`\norigin: ${measurements.origin}; ${versions.join(', ')}\n`)
  for (const current of measurements.cases) say(`${formatCase(current)}\n`)
  if (measurements.idle.length > 0) say(`${formatIdle(measurements.idle)}\n`)
  for (const [name, reason] of Object.entries(measurements.skipped)) say(`SKIPPED ${name}: ${reason}`)

  const name = `${machine.date.slice(0, 19).replaceAll(':', '')}.json`
  const file = options.output || join(import.meta.dirname, '../results', name)
  await mkdir(dirname(file), { recursive: true })
  await writeFile(file, `${JSON.stringify({ machine, options, ...measurements }, null, 2)}\n`)
  say(`written: ${file}`)
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    void stopAll().finally(() => process.exit(signal === 'SIGINT' ? 130 : 143))
  })
}

try {
  const options = parseOptions(process.argv.slice(2), availableParallelism())
  if (options === 'help') process.stdout.write(HELP)
  else await run(options)
} catch (error) {
  process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
}
