import { parseArgs } from 'node:util'
import { parseServerArguments, type ServerArguments } from '@cirque/core'

/** What the command line says. */
export interface SniRouterArguments {
  /** Where to listen. */
  readonly bindAddress: string
  /** Name and address of each route. */
  readonly routes: readonly (readonly [name: string, address: string])[]
  /** Where all other names go; undefined resets them. */
  readonly fallback: string | undefined
  /** The server's own: `-c -u -d -t`. */
  readonly server: ServerArguments
}

export const USAGE: string = `Usage: sni-router [options] [server options]

  --ba ADDRESS   where to listen (127.0.0.1:6188)
  --route NAME=ADDRESS   where TLS connections for NAME go; NAME may be *.a.example; give it several times
  --fallback ADDRESS     where all other names go (they are reset)
  -h, --help     print this

  -c, --conf FILE   configuration file      -t, --test   check it and leave
  -d, --daemon      run in the background   -u, --upgrade   take over from a running process
`

/**
 * Reads the command line.
 *
 * @throws {TypeError} For an option that is unknown, incomplete or wrong.
 */
export function parseOptions(argv: readonly string[]): SniRouterArguments | 'help' {
  const parsed = parseServerArguments(argv, { allowUnknown: true })
  const { values } = parseArgs({
    args: [...parsed.rest],
    strict: true,
    options: {
      ba: { type: 'string', default: '127.0.0.1:6188' },
      route: { type: 'string', multiple: true, default: [] },
      fallback: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) return 'help'
  if (values.route.length === 0 && values.fallback === undefined) {
    throw new TypeError('--route is missing: where shall connections go?')
  }
  return {
    bindAddress: values.ba,
    routes: values.route.map(parseRoute),
    fallback: values.fallback,
    server: parsed.options,
  }
}

function parseRoute(text: string): readonly [string, string] {
  const at = text.indexOf('=')
  if (at === -1) throw new TypeError(`--route must be NAME=ADDRESS, not "${text}"`)
  return [text.slice(0, at), text.slice(at + 1)]
}
