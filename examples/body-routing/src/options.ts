import { parseArgs } from 'node:util'
import { parseServerArguments, type ServerArguments } from '@cirque/core'

/** What the command line says. */
export interface RoutingOptions {
  /** Where to listen. */
  readonly bindAddress: string
  /** The member of the JSON body that decides. */
  readonly field: string
  /** Where requests go, by the value of that member. */
  readonly routes: ReadonlyMap<string, string>
  /** The server's own: `-c -u -d -t`. */
  readonly server: ServerArguments
}

export const USAGE: string = `Usage: body-routing [options] [server options]

  --ba ADDRESS   where to listen (127.0.0.1:6188)
  --field NAME   the member of the JSON body that decides (model)
  --route VALUE=ADDRESS   where requests with this value go; repeat it for more
                 (small=127.0.0.1:7001 and large=127.0.0.1:7002, the echo-server example)
  -h, --help     print this

  -c, --conf FILE   configuration file      -t, --test   check it and leave
  -d, --daemon      run in the background   -u, --upgrade   take over from a running process
`

/**
 * Reads the command line.
 *
 * @throws {TypeError} For an option that is unknown, incomplete or wrong.
 */
export function parseOptions(argv: readonly string[]): RoutingOptions | 'help' {
  const parsed = parseServerArguments(argv, { allowUnknown: true })
  const { values } = parseArgs({
    args: [...parsed.rest],
    strict: true,
    options: {
      ba: { type: 'string', default: '127.0.0.1:6188' },
      field: { type: 'string', default: 'model' },
      route: { type: 'string', multiple: true, default: ['small=127.0.0.1:7001', 'large=127.0.0.1:7002'] },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) return 'help'
  const routes = new Map<string, string>()
  for (const route of values.route) {
    const equals = route.lastIndexOf('=')
    if (equals < 1) throw new TypeError(`--route must be VALUE=ADDRESS, not "${route}"`)
    const value = route.slice(0, equals)
    if (routes.has(value)) throw new TypeError(`--route is given twice for "${value}"`)
    routes.set(value, route.slice(equals + 1))
  }
  return { bindAddress: values.ba, field: values.field, routes, server: parsed.options }
}
