import { parseArgs } from 'node:util'
import { parseServerArguments, type ServerArguments } from '@cirque/core'

/** What the command line says. */
export interface UdpProxyArguments {
  /** Where to listen. */
  readonly bindAddress: string
  /** The DNS servers, asked in turn. */
  readonly peerAddresses: readonly string[]
  /** The server's own: `-c -u -d -t`. */
  readonly server: ServerArguments
}

export const USAGE: string = `Usage: udp-proxy --pa ADDRESS [options] [server options]

  --ba ADDRESS   where to take DNS queries (127.0.0.1:6153)
  --pa ADDRESS   a DNS server, such as 192.0.2.53:53; give it several times to balance
  -h, --help     print this

  -c, --conf FILE   configuration file      -t, --test   check it and leave
  -d, --daemon      run in the background   -u, --upgrade   take over from a running process
`

/**
 * Reads the command line.
 *
 * @throws {TypeError} For an option that is unknown, incomplete or wrong.
 */
export function parseOptions(argv: readonly string[]): UdpProxyArguments | 'help' {
  const parsed = parseServerArguments(argv, { allowUnknown: true })
  const { values } = parseArgs({
    args: [...parsed.rest],
    strict: true,
    options: {
      ba: { type: 'string', default: '127.0.0.1:6153' },
      pa: { type: 'string', multiple: true, default: [] },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) return 'help'
  if (values.pa.length === 0) throw new TypeError('--pa is missing: which DNS server shall be asked?')
  return { bindAddress: values.ba, peerAddresses: values.pa, server: parsed.options }
}
