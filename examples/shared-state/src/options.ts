import { parseArgs } from 'node:util'
import { parseServerArguments, type ServerArguments } from '@cirque/core'

/** What the command line says. */
export interface BoardOptions {
  /** Where the workers serve. */
  readonly bindAddress: string
  /** Where the main thread tells of all of them. */
  readonly adminAddress: string
  readonly threads: number
  /** The server's own: `-c -u -d -t`. */
  readonly server: ServerArguments
}

export const USAGE: string = `Usage: shared-state [options] [server options]

  --ba ADDRESS      where visits are counted (127.0.0.1:6188)
  --admin ADDRESS   where the headline is set, and all threads are asked (127.0.0.1:6189)
  --threads N       worker threads (2)
  -h, --help        print this

  -c, --conf FILE   configuration file      -t, --test   check it and leave
  -d, --daemon      run in the background   -u, --upgrade   take over from a running process
`

/**
 * Reads the command line.
 *
 * @throws {TypeError} For an option that is unknown, incomplete or wrong.
 */
export function parseOptions(argv: readonly string[]): BoardOptions | 'help' {
  const parsed = parseServerArguments(argv, { allowUnknown: true })
  const { values } = parseArgs({
    args: [...parsed.rest],
    strict: true,
    options: {
      ba: { type: 'string', default: '127.0.0.1:6188' },
      admin: { type: 'string', default: '127.0.0.1:6189' },
      threads: { type: 'string', default: '2' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) return 'help'
  const threads = Number(values.threads)
  if (!Number.isInteger(threads) || threads < 1 || threads > 64) {
    throw new TypeError(`--threads must be an integer from 1 to 64, not "${values.threads}"`)
  }
  return { bindAddress: values.ba, adminAddress: values.admin, threads, server: parsed.options }
}
