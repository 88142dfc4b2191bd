import { parseArgs } from 'node:util'
import { parseServerArguments, type ServerArguments } from '@cirque/core'

/** What the command line says. */
export interface StickyProxyOptions {
  /** Where to listen. */
  readonly bindAddress: string
  /** Where requests go. */
  readonly peerAddresses: readonly string[]
  /** The server's own: `-c -u -d -t`. */
  readonly server: ServerArguments
}

export const USAGE: string = `Usage: sticky [options] [server options]

  --ba ADDRESS   where to listen (127.0.0.1:6188)
  --pa ADDRESS   where requests go; repeat it for more
                 (127.0.0.1:7001, :7002 and :7003, the echo-server example)
  -h, --help     print this

  STICKY_SECRET  in the environment: seals the cookies, 16 bytes or more (a new one at each start)

  -c, --conf FILE   configuration file      -t, --test   check it and leave
  -d, --daemon      run in the background   -u, --upgrade   take over from a running process
`

/**
 * Reads the command line.
 *
 * @throws {TypeError} For an option that is unknown, incomplete or wrong.
 */
export function parseOptions(argv: readonly string[]): StickyProxyOptions | 'help' {
  const parsed = parseServerArguments(argv, { allowUnknown: true })
  const { values } = parseArgs({
    args: [...parsed.rest],
    strict: true,
    options: {
      ba: { type: 'string', default: '127.0.0.1:6188' },
      pa: { type: 'string', multiple: true, default: ['127.0.0.1:7001', '127.0.0.1:7002', '127.0.0.1:7003'] },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) return 'help'
  return { bindAddress: values.ba, peerAddresses: values.pa, server: parsed.options }
}
