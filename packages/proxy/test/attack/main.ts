// `npm run attack`: the attacks at length, with their figures, and the seeded suites with as many runs as wanted.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { parseArgs } from 'node:util'
import { AttackedProxy, mib } from './support/attacked-proxy.ts'
import { ATTACKS } from './support/attacks.ts'

const HELP = `npm run attack                                  every attack of exhaustion, about two minutes
npm run attack -- --seconds 20                  each for so long (3), before and during
npm run attack -- --only tunnels                those with this in their name
npm run attack -- faults --runs 5000 --seed 7   so many seeded runs (400) from a seed on (0)
npm run attack -- desync --runs 5000            the same; also hostile-origin, hostile-http2-origin,
                                                hostile-tunnels

Ends with 1 if anything did not hold.`
/** Where the quiet p99 is a millisecond or two, five times that is less than what else a machine does. */
const P99_FLOOR_MS = 30
const SUITES = ['faults', 'desync', 'hostile-origin', 'hostile-http2-origin', 'hostile-tunnels']

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    help: { type: 'boolean', default: false },
    seconds: { type: 'string', default: '3' },
    only: { type: 'string', default: '' },
    runs: { type: 'string', default: '400' },
    seed: { type: 'string', default: '0' },
  },
})
const [suite = 'exhaustion', ...surplus] = positionals
if (values.help) console.log(HELP)
else if (surplus.length > 0 || !['exhaustion', ...SUITES].includes(suite)) {
  console.error(`attack: there is no suite ${JSON.stringify(positionals.join(' '))}\n\n${HELP}`)
  process.exitCode = 2
} else if (suite === 'exhaustion') await exhaust()
else await runSuite()

/** A whole number of an option, in its bounds. */
function whole(name: 'seconds' | 'runs' | 'seed', least: number): number {
  const given = Number(values[name])
  if (Number.isSafeInteger(given) && given >= least) return given
  console.error(`attack: --${name} must be an integer of at least ${least}, not ${values[name]}`)
  process.exit(2)
}

async function exhaust(): Promise<void> {
  const span = { count: 200, ms: whole('seconds', 1) * 1_000, p99FloorMs: P99_FLOOR_MS }
  const names = Object.keys(ATTACKS).filter((name) => name.includes(values.only))
  await using proxy = await AttackedProxy.start()
  const width = Math.max(...names.map(({ length }) => length))
  const ms = (value: number) => value.toFixed(1).padStart(7)
  console.log(`Node.js ${process.version}; times in ms, of fair clients; memory and descriptors in addition`)
  console.log(
    `${'attack'.padEnd(width)}  quiet p50     p99  attacked p50     p99   bound     memory      bound  descriptors  connects`,
  )
  const busy = await proxy.busy(span)
  console.log(`${'(nobody, but all are busy)'.padEnd(width)}  ${ms(busy.p50).padStart(31)} ${ms(busy.p99)}`)
  for (const name of names) {
    const { quiet, attacked, p99MaxMs, connects, bytes, bytesMax, descriptors, faults } = await proxy.meet(
      name,
      span,
    )
    const times = `${ms(quiet.p50).padStart(9)} ${ms(quiet.p99)} ${ms(attacked.p50).padStart(13)} ${ms(attacked.p99)} ${ms(p99MaxMs)}`
    const memory = `${mib(bytes).padStart(10)} ${mib(bytesMax).padStart(10)}`
    console.log(
      `${name.padEnd(width)}  ${times} ${memory} ${String(descriptors).padStart(12)} ${String(connects).padStart(9)}`,
    )
    for (const fault of faults) console.log(`  FAILED: ${fault}`)
    if (faults.length > 0) process.exitCode = 1
  }
}

async function runSuite(): Promise<void> {
  const environment = {
    CIRQUE_ATTACK_RUNS: String(whole('runs', 1)),
    CIRQUE_ATTACK_SEED: String(whole('seed', 0)),
  }
  const vitest = spawn('vitest', ['run', '--project', 'proxy', `test/attack/${suite}`], {
    stdio: 'inherit',
    env: { ...process.env, ...environment },
  })
  const [code] = await once(vitest, 'exit')
  process.exitCode = code ?? 1
}
