import { parseArgs } from 'node:util'
import { parseServerArguments, type ServerArguments } from '@cirque/core'

/** What the command line says. */
export interface MaskerOptions {
  /** Where to listen. */
  readonly bindAddress: string
  /** Where requests go. */
  readonly peerAddress: string
  /** Members of JSON whose values are hidden, in lower case. */
  readonly hidden: readonly string[]
  /** The server's own: `-c -u -d -t`. */
  readonly server: ServerArguments
}

export const USAGE: string = `Usage: modify-response [options] [server options]

  --ba ADDRESS   where to listen (127.0.0.1:6188)
  --pa ADDRESS   where requests go (127.0.0.1:7001, the echo-server example)
  --hide NAME    a member of JSON to hide, in any case; repeat it for more (authorization, cookie)
  -h, --help     print this

  -c, --conf FILE   configuration file      -t, --test   check it and leave
  -d, --daemon      run in the background   -u, --upgrade   take over from a running process
`

/**
 * Reads the command line.
 *
 * @throws {TypeError} For an option that is unknown, incomplete or wrong.
 */
export function parseOptions(argv: readonly string[]): MaskerOptions | 'help' {
  const parsed = parseServerArguments(argv, { allowUnknown: true })
  const { values } = parseArgs({
    args: [...parsed.rest],
    strict: true,
    options: {
      ba: { type: 'string', default: '127.0.0.1:6188' },
      pa: { type: 'string', default: '127.0.0.1:7001' },
      hide: { type: 'string', multiple: true, default: ['authorization', 'cookie'] },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) return 'help'
  return {
    bindAddress: values.ba,
    peerAddress: values.pa,
    hidden: values.hide.map((name) => name.toLowerCase()),
    server: parsed.options,
  }
}
