import { parseArgs } from 'node:util'
import { parseServerArguments, type ServerArguments } from '@cirque/core'

/** What the command line says. */
export interface GrpcProxyOptions {
  /** Where to listen. */
  readonly bindAddress: string
  /** Where the service is. */
  readonly services: readonly string[]
  /** The server's own: `-c -u -d -t`. */
  readonly server: ServerArguments
}

export const USAGE: string = `Usage: grpc-proxy [options] [server options]

  --ba ADDRESS   where to listen, for HTTP/2 without TLS (127.0.0.1:6188)
  --pa ADDRESS   where the service is; repeat it for more (127.0.0.1:7001 and 127.0.0.1:7002)
  -h, --help     print this

  -c, --conf FILE   configuration file      -t, --test   check it and leave
  -d, --daemon      run in the background   -u, --upgrade   take over from a running process
`

/**
 * Reads the command line.
 *
 * @throws {TypeError} For an option that is unknown, incomplete or wrong.
 */
export function parseOptions(argv: readonly string[]): GrpcProxyOptions | 'help' {
  const parsed = parseServerArguments(argv, { allowUnknown: true })
  const { values } = parseArgs({
    args: [...parsed.rest],
    strict: true,
    options: {
      ba: { type: 'string', default: '127.0.0.1:6188' },
      pa: { type: 'string', multiple: true, default: ['127.0.0.1:7001', '127.0.0.1:7002'] },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) return 'help'
  return { bindAddress: values.ba, services: values.pa, server: parsed.options }
}
