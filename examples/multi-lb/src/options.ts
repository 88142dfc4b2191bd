import { parseArgs } from 'node:util'
import { parseServerArguments, type ServerArguments } from '@cirque/core'

/** What the command line says. */
export interface RoutesOptions {
  /** Where to listen. */
  readonly bindAddress: string
  /** The upstreams of each path prefix, the longest prefix first; without a slash at the end. */
  readonly routes: readonly (readonly [prefix: string, addresses: readonly string[]])[]
  /** The server's own: `-c -u -d -t`. */
  readonly server: ServerArguments
}

export const USAGE: string = `Usage: multi-lb [options] [server options]

  --ba ADDRESS   where to listen (127.0.0.1:6188)
  --route PREFIX=ADDRESS,ADDRESS   the upstreams of all paths under a prefix; repeat it for more
                 (/api=127.0.0.1:7001,127.0.0.1:7002 and /=127.0.0.1:7003, the echo-server example)
  -h, --help     print this

  -c, --conf FILE   configuration file      -t, --test   check it and leave
  -d, --daemon      run in the background   -u, --upgrade   take over from a running process
`

/**
 * Reads the command line.
 *
 * @throws {TypeError} For an option that is unknown, incomplete or wrong.
 */
export function parseOptions(argv: readonly string[]): RoutesOptions | 'help' {
  const parsed = parseServerArguments(argv, { allowUnknown: true })
  const { values } = parseArgs({
    args: [...parsed.rest],
    strict: true,
    options: {
      ba: { type: 'string', default: '127.0.0.1:6188' },
      route: {
        type: 'string',
        multiple: true,
        default: ['/api=127.0.0.1:7001,127.0.0.1:7002', '/=127.0.0.1:7003'],
      },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) return 'help'
  const routes = new Map<string, readonly string[]>()
  for (const route of values.route) {
    const [prefix = '', addresses = '', ...rest] = route.split('=')
    if (!prefix.startsWith('/') || addresses === '' || rest.length > 0) {
      throw new TypeError(`--route must be /PREFIX=ADDRESS,ADDRESS, not "${route}"`)
    }
    const path = prefix.endsWith('/') ? prefix.slice(0, -1) : prefix
    if (routes.has(path)) throw new TypeError(`--route is given twice for "${prefix}"`)
    routes.set(path, addresses.split(','))
  }
  return {
    bindAddress: values.ba,
    routes: [...routes].sort(([a], [b]) => b.length - a.length),
    server: parsed.options,
  }
}
