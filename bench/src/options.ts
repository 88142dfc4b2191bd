import { parseArgs } from 'node:util'
import { type Mode, PROTOCOLS, type Protocol } from './cases.ts'
import { GROUP_DEFAULT } from './network.ts'

/** What to measure. Every case runs in every round, with every proxy. */
export interface BenchOptions {
  /** Names from `proxies.ts`, in the order of the first round. */
  proxies: readonly string[]
  protocols: readonly Protocol[]
  /** Response body sizes in bytes. */
  bodies: readonly number[]
  /** Requests at once: of cleartext HTTP/1, and of all else. */
  connections: { readonly plain: readonly number[]; readonly other: readonly number[] }
  modes: readonly Mode[]
  /** Threads or processes of each proxy; with more than one, it is not pinned. */
  threads: readonly number[]
  /** How often the whole line-up is measured; the order rotates. */
  rounds: number
  /** Length of one measurement. */
  seconds: number
  /** Keep-alive connections of the idle test; 0 leaves it out. */
  idleConnections: number
  /** Bytes through the TCP proxy, each way, per round; 0 leaves it out. */
  relayBytes: number
  /** The key of the certificate. */
  key: 'ec' | 'rsa'
  /** What clients of new TLS connections offer for key exchange. */
  groups: string
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
  --protocols h1,tls,h2,h1-h2,h2-h2,grpc
                       client side, or client and origin side: h1 HTTP/1 in cleartext, tls HTTP/1 over TLS,
                       h2 HTTP/2 over TLS to HTTP/1, h1-h2 HTTP/1 to HTTP/2, and so on
  --bodies 13,10k,1m   sizes of bodies
  --connections 1,64,1000
                       requests at once; without it only 64 for all but h1
  --modes keep-alive,close,resume,upload
                       a new connection per request only over HTTP/1; resume: one that resumes its TLS session;
                       upload: bodies of 64k and more go up, on kept connections
  --threads 1          or 1,2 and so on: threads or processes that serve, for h1; more than one are not pinned
  --rounds 3           interleaved, the order rotates
  --seconds 2          length of one measurement
  --idle 10000         keep-alive connections of the idle test, 0: none
  --relay 1024m        bytes through the TCP proxy, each way, 0: none
  --key ec             or rsa: the certificate's key, P-256 or 2,048 bits
  --groups X25519      key exchange for new TLS connections; browsers offer X25519MLKEM768:X25519
  --cores 0,1          load and origin on the first, the proxy on the second; "none": not pinned
  --tools auto         or "builtin": neither wrk nor nginx as the origin
  --from-source        our proxy from src/, without a build
  --output FILE        default: bench/results/<date>.json
  --quick              h1 with 64 keep-alive connections only, no idle and no relay test
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

function oneOf<T extends string>(name: string, known: readonly T[], text: string): T {
  const found = known.find((value) => value === text)
  if (found === undefined) throw new RangeError(`--${name} knows ${known.join(', ')}, not "${text}"`)
  return found
}

const MODES: readonly Mode[] = ['keep-alive', 'close', 'resume', 'upload']

function parseCores(text: string): BenchOptions['cores'] {
  if (text === 'none') return []
  const [load, proxy, ...more] = text.split(',')
  if (load === undefined || proxy === undefined || more.length > 0 || !/^\d+,\d+$/.test(text)) {
    throw new RangeError(`--cores takes two core numbers or "none", not "${text}"`)
  }
  return [load, proxy]
}

const TEXT = { type: 'string' } as const
const FLAG = { type: 'boolean' } as const
const FLAGS = {
  proxies: TEXT,
  protocols: TEXT,
  bodies: TEXT,
  connections: TEXT,
  modes: TEXT,
  threads: TEXT,
  rounds: TEXT,
  seconds: TEXT,
  idle: TEXT,
  relay: TEXT,
  key: TEXT,
  groups: TEXT,
  cores: TEXT,
  tools: TEXT,
  output: TEXT,
  'from-source': FLAG,
  quick: FLAG,
  smoke: FLAG,
  help: { type: 'boolean', short: 'h' },
} as const

/**
 * Reads the command line. `--smoke` and `--quick` set defaults that other flags override.
 *
 * @throws {RangeError} On a value that makes no sense.
 * @throws {TypeError} On an unknown flag.
 */
export function parseOptions(args: readonly string[], coreCount: number): BenchOptions | 'help' {
  const { values } = parseArgs({ args: [...args], options: FLAGS })
  if (values.help === true) return 'help'
  const smoke = values.smoke === true
  const quick = values.quick === true
  const list = (value: string): string[] => value.split(',').filter(Boolean)
  const proxies = list(values.proxies ?? (smoke ? 'cirque' : EVERY_PROXY.join(',')))
  for (const name of proxies) oneOf('proxies', EVERY_PROXY, name)
  const protocols = list(values.protocols ?? (smoke || quick ? 'h1' : PROTOCOLS.join(',')))
  const counts = (text: string, name: string = 'connections'): number[] =>
    list(text).map((value) => parseCount(name, value, 1))
  const relay = values.relay ?? (smoke || quick ? '0' : '1024m')
  const pinned = smoke || coreCount < 2 ? 'none' : `0,${coreCount - 1}`
  return {
    proxies,
    protocols: protocols.map((name) => oneOf('protocols', PROTOCOLS, name)),
    bodies: list(values.bodies ?? (smoke ? '13,10k' : '13,10k,1m')).map(parseSize),
    connections: {
      plain: counts(values.connections ?? (smoke ? '4' : quick ? '64' : '1,64,1000')),
      other: counts(values.connections ?? (smoke ? '4' : '64')),
    },
    modes: list(values.modes ?? (quick ? 'keep-alive' : MODES.join(','))).map((name) =>
      oneOf('modes', MODES, name),
    ),
    threads: counts(values.threads ?? '1', 'threads'),
    rounds: parseCount('rounds', values.rounds ?? (smoke ? '1' : '3'), 1),
    seconds: parseNumber('seconds', values.seconds ?? (smoke ? '0.3' : '2'), 0.1),
    idleConnections: parseCount('idle', values.idle ?? (smoke ? '20' : quick ? '0' : '10000'), 0),
    relayBytes: relay === '0' ? 0 : parseSize(relay),
    key: oneOf('key', ['ec', 'rsa'], values.key ?? 'ec'),
    groups: values.groups ?? GROUP_DEFAULT,
    cores: parseCores(values.cores ?? pinned),
    tools: oneOf('tools', ['auto', 'builtin'], values.tools ?? (smoke ? 'builtin' : 'auto')),
    fromSource: values['from-source'] === true || smoke,
    output: values.output ?? '',
  }
}
