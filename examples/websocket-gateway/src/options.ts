import { parseArgs } from 'node:util'
import { parseServerArguments, type ServerArguments } from '@cirque/core'

/** What the command line says. */
export interface GatewayOptions {
  /** Where to listen. */
  readonly bindAddress: string
  /** The path of the WebSockets. */
  readonly path: string
  /** Where they go. */
  readonly socketAddress: string
  /** How long one may be silent, in milliseconds. */
  readonly socketIdleMs: number
  /** Where everything else goes. */
  readonly peerAddress: string
  /** The server's own: `-c -u -d -t`. */
  readonly server: ServerArguments
}

export const USAGE: string = `Usage: websocket-gateway [options] [server options]

  --ba ADDRESS    where to listen (127.0.0.1:6188)
  --path PATH     the path of the WebSockets (/up)
  --ws ADDRESS    where they go (127.0.0.1:7002)
  --idle SECONDS  how long one may be silent in both directions; 0 for ever (300)
  --pa ADDRESS    where everything else goes (127.0.0.1:7001, the echo-server example)
  -h, --help      print this

  -c, --conf FILE   configuration file      -t, --test   check it and leave
  -d, --daemon      run in the background   -u, --upgrade   take over from a running process
`

/**
 * Reads the command line.
 *
 * @throws {TypeError} For an option that is unknown, incomplete or wrong.
 */
export function parseOptions(argv: readonly string[]): GatewayOptions | 'help' {
  const parsed = parseServerArguments(argv, { allowUnknown: true })
  const { values } = parseArgs({
    args: [...parsed.rest],
    strict: true,
    options: {
      ba: { type: 'string', default: '127.0.0.1:6188' },
      path: { type: 'string', default: '/up' },
      ws: { type: 'string', default: '127.0.0.1:7002' },
      idle: { type: 'string', default: '300' },
      pa: { type: 'string', default: '127.0.0.1:7001' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) return 'help'
  if (!values.path.startsWith('/')) throw new TypeError(`--path must begin with "/", not "${values.path}"`)
  const seconds = Number(values.idle)
  if (!(seconds >= 0 && seconds <= 86_400)) {
    throw new TypeError(`--idle must be a number of seconds from 0 to 86400, not "${values.idle}"`)
  }
  return {
    bindAddress: values.ba,
    path: values.path,
    socketAddress: values.ws,
    socketIdleMs: seconds * 1_000,
    peerAddress: values.pa,
    server: parsed.options,
  }
}
