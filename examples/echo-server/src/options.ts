import { parseArgs } from 'node:util'
import { parseServerArguments, type ServerArguments } from '@cirque/core'

/** What the echo server's command line says. */
export interface EchoOptions {
  /** Where to listen for HTTP. */
  readonly httpAddresses: readonly string[]
  /** Where to listen for plain TCP. */
  readonly tcpAddress: string
  /** The server's own: `-c -u -d -t`. */
  readonly server: ServerArguments
}

export const USAGE: string = `Usage: echo-server [options] [server options]

  --ba ADDRESS   where to listen for HTTP; repeat it for more (127.0.0.1:7001, :7002 and :7003)
  --tcp ADDRESS  where to listen for plain TCP (127.0.0.1:7000)
  -h, --help     print this

  -c, --conf FILE   configuration file      -t, --test   check it and leave
  -d, --daemon      run in the background   -u, --upgrade   take over from a running process
`

/**
 * Reads the command line.
 *
 * @throws {TypeError} For an option that is unknown, incomplete or wrong.
 */
export function parseOptions(argv: readonly string[]): EchoOptions | 'help' {
  const parsed = parseServerArguments(argv, { allowUnknown: true })
  const { values } = parseArgs({
    args: [...parsed.rest],
    strict: true,
    options: {
      ba: { type: 'string', multiple: true, default: ['127.0.0.1:7001', '127.0.0.1:7002', '127.0.0.1:7003'] },
      tcp: { type: 'string', default: '127.0.0.1:7000' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) return 'help'
  return { httpAddresses: values.ba, tcpAddress: values.tcp, server: parsed.options }
}
