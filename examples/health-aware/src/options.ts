import { parseArgs } from 'node:util'
import { parseServerArguments, type ServerArguments } from '@cirque/core'

/** What the command line says. */
export interface HealthOptions {
  /** Where to listen. */
  readonly bindAddress: string
  /** Where requests go. */
  readonly peerAddresses: readonly string[]
  /** What to ask the upstreams for to learn how they are. */
  readonly path: string
  /** Time between two rounds of checks. */
  readonly intervalMs: number
  /** The server's own: `-c -u -d -t`. */
  readonly server: ServerArguments
}

export const USAGE: string = `Usage: health-aware [options] [server options]

  --ba ADDRESS   where to listen (127.0.0.1:6188)
  --pa ADDRESS   where requests go; repeat it for more
                 (127.0.0.1:7001, :7002 and :7003, the echo-server example)
  --path PATH    what to ask them for to learn how they are (/health)
  --interval MS  time between two rounds of checks (1000)
  -h, --help     print this

  -c, --conf FILE   configuration file      -t, --test   check it and leave
  -d, --daemon      run in the background   -u, --upgrade   take over from a running process
`

/**
 * Reads the command line.
 *
 * @throws {TypeError} For an option that is unknown, incomplete or wrong.
 */
export function parseOptions(argv: readonly string[]): HealthOptions | 'help' {
  const parsed = parseServerArguments(argv, { allowUnknown: true })
  const { values } = parseArgs({
    args: [...parsed.rest],
    strict: true,
    options: {
      ba: { type: 'string', default: '127.0.0.1:6188' },
      pa: { type: 'string', multiple: true, default: ['127.0.0.1:7001', '127.0.0.1:7002', '127.0.0.1:7003'] },
      path: { type: 'string', default: '/health' },
      interval: { type: 'string', default: '1000' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) return 'help'
  const intervalMs = Number(values.interval)
  if (!(intervalMs >= 10 && intervalMs <= 3_600_000)) {
    throw new TypeError(`--interval must be from 10 to 3600000 ms, not "${values.interval}"`)
  }
  return {
    bindAddress: values.ba,
    peerAddresses: values.pa,
    path: values.path,
    intervalMs,
    server: parsed.options,
  }
}
