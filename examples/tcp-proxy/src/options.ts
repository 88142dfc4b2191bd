import { parseArgs } from 'node:util'
import { parseServerArguments, type ServerArguments } from '@cirque/core'

/** What the command line says. */
export interface TcpProxyArguments {
  /** Where to listen. */
  readonly bindAddress: string
  /** Where connections go, in turn. */
  readonly peerAddresses: readonly string[]
  /** Version of the PROXY protocol to speak to the peers; undefined for none. */
  readonly sendProxyProtocol: 1 | 2 | undefined
  /** The server's own: `-c -u -d -t`. */
  readonly server: ServerArguments
}

export const USAGE: string = `Usage: tcp-proxy [options] [server options]

  --ba ADDRESS   where to listen (127.0.0.1:6188; [::1]:6188; unix:/run/tcp-proxy.sock)
  --pa ADDRESS   where connections go; give it several times to balance (127.0.0.1:7001, 7002 and 7003)
  --send-proxy 1|2   tell the peers who the client is, in this version of the PROXY protocol
  -h, --help     print this

  -c, --conf FILE   configuration file      -t, --test   check it and leave
  -d, --daemon      run in the background   -u, --upgrade   take over from a running process
`

/**
 * Reads the command line.
 *
 * @throws {TypeError} For an option that is unknown, incomplete or wrong.
 */
export function parseOptions(argv: readonly string[]): TcpProxyArguments | 'help' {
  const parsed = parseServerArguments(argv, { allowUnknown: true })
  const { values } = parseArgs({
    args: [...parsed.rest],
    strict: true,
    options: {
      ba: { type: 'string', default: '127.0.0.1:6188' },
      pa: { type: 'string', multiple: true, default: ['127.0.0.1:7001', '127.0.0.1:7002', '127.0.0.1:7003'] },
      'send-proxy': { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) return 'help'
  const version = values['send-proxy']
  if (version !== undefined && version !== '1' && version !== '2') {
    throw new TypeError(`--send-proxy must be 1 or 2, not "${version}"`)
  }
  return {
    bindAddress: values.ba,
    peerAddresses: values.pa,
    sendProxyProtocol: version === undefined ? undefined : version === '1' ? 1 : 2,
    server: parsed.options,
  }
}
