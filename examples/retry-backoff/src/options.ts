import { parseArgs } from 'node:util'
import { parseServerArguments, type ServerArguments } from '@cirque/core'

/** What the command line says. */
export interface RetryOptions {
  /** Where to listen. */
  readonly bindAddress: string
  /** Where requests go, in the order of preference. */
  readonly peerAddresses: readonly string[]
  /** Attempts per request at most, the first included. */
  readonly tries: number
  /** The wait before the second retry, which doubles from then on. */
  readonly backoffMs: number
  /** No attempt begins later than this after the request came. */
  readonly deadlineMs: number
  /** The server's own: `-c -u -d -t`. */
  readonly server: ServerArguments
}

export const USAGE: string = `Usage: retry-backoff [options] [server options]

  --ba ADDRESS   where to listen (127.0.0.1:6188)
  --pa ADDRESS   where requests go; repeat it for more, the next is for a retry
                 (127.0.0.1:7001, :7002 and :7003, the echo-server example)
  --tries N      attempts per request at most, the first included (5)
  --backoff MS   the wait before the second retry, which doubles from then on (100)
  --deadline MS  no attempt begins later than this (2000)
  -h, --help     print this

  -c, --conf FILE   configuration file      -t, --test   check it and leave
  -d, --daemon      run in the background   -u, --upgrade   take over from a running process
`

/**
 * Reads the command line.
 *
 * @throws {TypeError} For an option that is unknown, incomplete or wrong.
 */
export function parseOptions(argv: readonly string[]): RetryOptions | 'help' {
  const parsed = parseServerArguments(argv, { allowUnknown: true })
  const { values } = parseArgs({
    args: [...parsed.rest],
    strict: true,
    options: {
      ba: { type: 'string', default: '127.0.0.1:6188' },
      pa: { type: 'string', multiple: true, default: ['127.0.0.1:7001', '127.0.0.1:7002', '127.0.0.1:7003'] },
      tries: { type: 'string', default: '5' },
      backoff: { type: 'string', default: '100' },
      deadline: { type: 'string', default: '2000' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) return 'help'
  return {
    bindAddress: values.ba,
    peerAddresses: values.pa,
    tries: integer('--tries', values.tries, 1, 100),
    backoffMs: integer('--backoff', values.backoff, 0, 60_000),
    deadlineMs: integer('--deadline', values.deadline, 1, 600_000),
    server: parsed.options,
  }
}

function integer(name: string, text: string, least: number, most: number): number {
  const value = Number(text)
  if (text !== '' && Number.isInteger(value) && value >= least && value <= most) return value
  throw new TypeError(`${name} must be an integer from ${least} to ${most}, not "${text}"`)
}
