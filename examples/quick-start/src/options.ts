import { parseArgs } from 'node:util'
import { parseServerArguments, type ServerArguments } from '@cirque/core'
import { DEMO_HOST } from './demo-upstreams.ts'

/** What the command line says. */
export interface QuickStartOptions {
  /** Where to listen. */
  readonly bindAddress: string
  /** Where requests go; empty to start two demo upstreams. */
  readonly upstreams: readonly string[]
  /** The name to ask the upstreams for. */
  readonly host: string
  /** Tell it to them in `Host`. */
  readonly setHost: boolean
  /** The server's own: `-c -u -d -t`. */
  readonly server: ServerArguments
}

export const USAGE: string = `Usage: quick-start [options] [server options]

  --ba ADDRESS        where to listen (127.0.0.1:6188)
  --upstream ADDRESS  where requests go, over TLS; repeat it for more (default: two demo upstreams of its own)
  --host NAME         whose certificate the upstreams must show, and the Host that they are sent (${DEMO_HOST});
                      for example --upstream 1.1.1.1:443 --upstream 1.0.0.1:443 --host one.one.one.one
  --keep-host         send them the client's Host instead, and see what they say
  -h, --help          print this

  -c, --conf FILE   configuration file      -t, --test   check it and leave
  -d, --daemon      run in the background   -u, --upgrade   take over from a running process
`

/**
 * Reads the command line.
 *
 * @throws {TypeError} For an option that is unknown, incomplete or wrong.
 */
export function parseOptions(argv: readonly string[]): QuickStartOptions | 'help' {
  const parsed = parseServerArguments(argv, { allowUnknown: true })
  const { values } = parseArgs({
    args: [...parsed.rest],
    strict: true,
    options: {
      ba: { type: 'string', default: '127.0.0.1:6188' },
      upstream: { type: 'string', multiple: true, default: [] },
      host: { type: 'string' },
      'keep-host': { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) return 'help'
  if ((values.host === undefined) !== (values.upstream.length === 0)) {
    throw new TypeError('--upstream and --host go together')
  }
  return {
    bindAddress: values.ba,
    upstreams: values.upstream,
    host: values.host ?? DEMO_HOST,
    setHost: !values['keep-host'],
    server: parsed.options,
  }
}
