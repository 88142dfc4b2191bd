import { parseArgs } from 'node:util'
import { parseServerArguments, type ServerArguments } from '@cirque/core'

/** What the load balancer's command line says. */
export interface Options {
  /** Where to listen. */
  readonly bindAddress: string
  /** Where requests go; empty to start demo upstreams. */
  readonly upstreams: readonly string[]
  /** How often one of the demo upstreams is switched off or on, in seconds; 0 leaves all on. */
  readonly switchSeconds: number
  /** The server's own: `-c -u -d -t`. */
  readonly server: ServerArguments
}

export const USAGE: string = `Usage: load-balancer [options] [server options]

  --ba ADDRESS        where to listen (127.0.0.1:6188; port 0 takes any free one)
  --upstream ADDRESS  where requests go; repeat it for more (default: three demo upstreams of its own)
  --switch SECONDS    switch one demo upstream off and on again this often; 0: never (10)
  -h, --help          print this

  -c, --conf FILE   configuration file      -t, --test   check it and leave
  -d, --daemon      run in the background   -u, --upgrade   take over from a running process
`

/**
 * Reads the command line.
 *
 * @throws {TypeError} For an option that is unknown, incomplete or wrong.
 */
export function parseOptions(argv: readonly string[]): Options | 'help' {
  const parsed = parseServerArguments(argv, { allowUnknown: true })
  const { values } = parseArgs({
    args: [...parsed.rest],
    strict: true,
    options: {
      ba: { type: 'string', default: '127.0.0.1:6188' },
      upstream: { type: 'string', multiple: true, default: [] },
      switch: { type: 'string', default: '10' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) return 'help'
  const switchSeconds = Number(values.switch)
  if (!(switchSeconds >= 0 && switchSeconds <= 3600)) {
    throw new TypeError(`--switch must be a number of seconds from 0 to 3600, not "${values.switch}"`)
  }
  return { bindAddress: values.ba, upstreams: values.upstream, switchSeconds, server: parsed.options }
}
