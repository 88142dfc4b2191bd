import { parseArgs } from 'node:util'

/** How a client uses its connections: many requests on each, or a new connection for every request. */
export type Mode = 'keep-alive' | 'close'

/** What to measure. Every case runs in every round, with every proxy. */
export interface BenchOptions {
  /** Names from `proxies.ts`, in the order of the first round. */
  proxies: readonly string[]
  /** Response body sizes in bytes. */
  bodies: readonly number[]
  connections: readonly number[]
  modes: readonly Mode[]
  /** How often the whole line-up is measured; the order rotates. */
  rounds: number
  /** Length of one measurement. */
  seconds: number
  /** Keep-alive connections of the idle test; 0 leaves it out. */
  idleConnections: number
  /** Cores for load generator and origin, and for the proxy; empty: not pinned. */
  cores: readonly [string, string] | readonly []
  /** `auto` takes wrk and nginx where they are installed; `builtin` only what comes with Node.js. */
  tools: 'auto' | 'builtin'
  /** Run our proxy from `src/`, which needs no build and is slower to start. */
  fromSource: boolean
  /** Where the JSON goes; empty: `bench/results/<date>.json`. */
  output: string
}

/** The line-up when `--proxies` is not given. Those that are not installed are reported and left out. */
export const EVERY_PROXY: readonly string[] = [
  'cirque',
  'nginx',
  'haproxy',
  'caddy',
  'http-proxy',
  'httpxy',
  'fast-proxy',
  'fastify-http-proxy',
]

export const HELP: string = `npm run bench -- [options]

  --proxies a,b        ${EVERY_PROXY.join(',')}
  --bodies 13,10k,1m   response body sizes
  --connections 1,64,1000
  --modes keep-alive,close
  --rounds 3           interleaved, the order rotates
  --seconds 2          length of one measurement
  --idle 10000         keep-alive connections of the idle test, 0: none
  --cores 0,1          load and origin on the first, the proxy on the second; "none": not pinned
  --tools auto         or "builtin": neither wrk nor nginx as the origin
  --from-source        our proxy from src/, without a build
  --output FILE        default: bench/results/<date>.json
  --quick              64 keep-alive connections only, no idle test
  --smoke              only shows that the harness works
`

const KIBI = 1024
const MEBI: number = 1024 * 1024
const SIZE_UNITS: Readonly<Record<string, number>> = { '': 1, k: KIBI, m: MEBI }

/** `13`, `10k`, `1m` to bytes. */
export function parseSize(text: string): number {
  const [, digits, unit] = /^(\d+)([km]?)$/i.exec(text) ?? []
  const bytes = Number(digits) * (SIZE_UNITS[unit?.toLowerCase() ?? ''] ?? 1)
  if (digits === undefined || bytes < 1)
    throw new RangeError(`A body size is like 13, 10k or 1m, not "${text}"`)
  return bytes
}

/** Bytes to `13 B`, `10 KiB`, `1 MiB`. */
export function formatSize(bytes: number): string {
  if (bytes % MEBI === 0) return `${bytes / MEBI} MiB`
  return bytes % KIBI === 0 ? `${bytes / KIBI} KiB` : `${bytes} B`
}

function parseNumber(name: string, text: string, min: number): number {
  const value = Number(text)
  if (text.trim() === '' || !Number.isFinite(value) || value < min) {
    throw new RangeError(`--${name} takes a number of at least ${min}, not "${text}"`)
  }
  return value
}

function parseCount(name: string, text: string, min: number): number {
  const value = parseNumber(name, text, min)
  if (!Number.isInteger(value)) throw new RangeError(`--${name} takes whole numbers, not "${text}"`)
  return value
}

function parseMode(text: string): Mode {
  if (text !== 'keep-alive' && text !== 'close')
    throw new RangeError(`--modes knows keep-alive and close, not "${text}"`)
  return text
}

function parseCores(text: string): BenchOptions['cores'] {
  if (text === 'none') return []
  const [load, proxy, ...more] = text.split(',')
  if (load === undefined || proxy === undefined || more.length > 0 || !/^\d+,\d+$/.test(text)) {
    throw new RangeError(`--cores takes two core numbers or "none", not "${text}"`)
  }
  return [load, proxy]
}

/**
 * Reads the command line. `--smoke` and `--quick` set defaults that other flags override.
 *
 * @throws {RangeError} On a value that makes no sense.
 * @throws {TypeError} On an unknown flag.
 */
export function parseOptions(args: readonly string[], coreCount: number): BenchOptions | 'help' {
  const text = { type: 'string' } as const
  const flag = { type: 'boolean' } as const
  const { values } = parseArgs({
    args: [...args],
    options: {
      proxies: text,
      bodies: text,
      connections: text,
      modes: text,
      rounds: text,
      seconds: text,
      idle: text,
      cores: text,
      tools: text,
      output: text,
      'from-source': flag,
      quick: flag,
      smoke: flag,
      help: { type: 'boolean', short: 'h' },
    },
  })
  if (values.help === true) return 'help'
  const smoke = values.smoke === true
  const quick = values.quick === true
  const list = (value: string): string[] => value.split(',').filter(Boolean)
  const proxies = list(values.proxies ?? (smoke ? 'cirque' : EVERY_PROXY.join(',')))
  for (const name of proxies) {
    if (!EVERY_PROXY.includes(name))
      throw new RangeError(`--proxies knows ${EVERY_PROXY.join(', ')}, not "${name}"`)
  }
  const tools = values.tools ?? (smoke ? 'builtin' : 'auto')
  if (tools !== 'auto' && tools !== 'builtin')
    throw new RangeError(`--tools is auto or builtin, not "${tools}"`)
  const pinned = smoke || coreCount < 2 ? 'none' : `0,${coreCount - 1}`
  return {
    proxies,
    bodies: list(values.bodies ?? (smoke ? '13,10k' : '13,10k,1m')).map(parseSize),
    connections: list(values.connections ?? (smoke ? '4' : quick ? '64' : '1,64,1000')).map((value) =>
      parseCount('connections', value, 1),
    ),
    modes: list(values.modes ?? (quick ? 'keep-alive' : 'keep-alive,close')).map(parseMode),
    rounds: parseCount('rounds', values.rounds ?? (smoke ? '1' : '3'), 1),
    seconds: parseNumber('seconds', values.seconds ?? (smoke ? '0.3' : '2'), 0.1),
    idleConnections: parseCount('idle', values.idle ?? (smoke ? '20' : quick ? '0' : '10000'), 0),
    cores: parseCores(values.cores ?? pinned),
    tools,
    fromSource: values['from-source'] === true || smoke,
    output: values.output ?? '',
  }
}
