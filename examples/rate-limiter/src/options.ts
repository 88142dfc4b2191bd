import { parseArgs } from 'node:util'
import { parseServerArguments, type ServerArguments } from '@cirque/core'

/** What the command line says. */
export interface LimiterOptions {
  /** Where to listen. */
  readonly bindAddress: string
  /** Where requests go. */
  readonly peerAddress: string
  /** Requests of one client in a window. */
  readonly limit: number
  /** Length of the window. */
  readonly windowMs: number
  /** Threads that serve, and count together. */
  readonly threads: number
  /** The server's own: `-c -u -d -t`. */
  readonly server: ServerArguments
}

export const USAGE: string = `Usage: rate-limiter [options] [server options]

  --ba ADDRESS   where to listen (127.0.0.1:6188)
  --pa ADDRESS   where requests go (127.0.0.1:7001, the echo-server example)
  --limit N      requests of one client in a window (3)
  --window SECONDS   length of the window (10)
  --threads N      threads that serve, and count together (1)
  -h, --help     print this

  -c, --conf FILE   configuration file      -t, --test   check it and leave
  -d, --daemon      run in the background   -u, --upgrade   take over from a running process
`

/**
 * Reads the command line.
 *
 * @throws {TypeError} For an option that is unknown, incomplete or wrong.
 */
export function parseOptions(argv: readonly string[]): LimiterOptions | 'help' {
  const parsed = parseServerArguments(argv, { allowUnknown: true })
  const { values } = parseArgs({
    args: [...parsed.rest],
    strict: true,
    options: {
      ba: { type: 'string', default: '127.0.0.1:6188' },
      pa: { type: 'string', default: '127.0.0.1:7001' },
      limit: { type: 'string', default: '3' },
      window: { type: 'string', default: '10' },
      threads: { type: 'string', default: '1' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) return 'help'
  return {
    bindAddress: values.ba,
    peerAddress: values.pa,
    limit: integer('--limit', values.limit, 1_000_000),
    windowMs: 1_000 * integer('--window', values.window, 86_400),
    threads: integer('--threads', values.threads, 64),
    server: parsed.options,
  }
}

function integer(name: string, text: string, most: number): number {
  const value = Number(text)
  if (Number.isInteger(value) && value >= 1 && value <= most) return value
  throw new TypeError(`${name} must be an integer from 1 to ${most}, not "${text}"`)
}
