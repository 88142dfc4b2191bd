// npm run bench -- --help
import { mkdir, writeFile } from 'node:fs/promises'
import { availableParallelism, cpus, release } from 'node:os'
import { dirname, join } from 'node:path'
import { isHttp2 } from './cases.ts'
import { pinSelf, stopAll } from './child.ts'
import { generatorName } from './load.ts'
import { measure } from './measure.ts'
import { type BenchOptions, HELP, parseOptions } from './options.ts'
import { planCases } from './plan-cases.ts'
import { formatCase, formatIdle, formatRelay } from './report.ts'

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

/** An estimate for the reader who wonders whether to wait. */
function minutes(options: BenchOptions): number {
  const { proxies, rounds, seconds, idleConnections, relayBytes } = options
  const cases = planCases(options).length * proxies.length
  const idle = idleConnections === 0 ? 0 : proxies.length * 6
  const relay = (relayBytes / 2 ** 29) * rounds * 2
  return (cases * (rounds * (seconds + 0.3) + 2) + idle + relay) / 60
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
  const withHttp2 = options.protocols.some(isHttp2) ? ', h2load for HTTP/2' : ''
  say(
    `${machine.generator}${withHttp2} as load, ${pinned}, ${options.rounds} rounds of ${options.seconds} s, about ${Math.ceil(minutes(options))} min`,
  )

  const measurements = await measure(options, say)
  const versions = Object.entries(measurements.versions).map(([name, version]) => `${name} ${version}`)
  say(`\norigin: ${measurements.origin}; ${versions.join(', ')}\n`)
  const ciphers = Object.entries(measurements.ciphers).map(([name, cipher]) => `${name} ${cipher}`)
  const keyName = options.key === 'ec' ? 'EC P-256' : 'RSA 2048'
  if (ciphers.length > 0)
    say(`TLS 1.2 and 1.3, ${keyName}, key exchange ${options.groups}: ${ciphers.join(', ')}\n`)
  for (const current of measurements.cases) say(`${formatCase(current)}\n`)
  if (measurements.idle.length > 0) say(`${formatIdle(measurements.idle)}\n`)
  if (measurements.relay.length > 0) say(`${formatRelay(measurements.relay)}\n`)
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
