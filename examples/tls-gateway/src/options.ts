import { parseArgs } from 'node:util'
import { parseServerArguments, type ServerArguments } from '@cirque/core'

/** What the command line says. */
export interface GatewayOptions {
  /** Where to listen. */
  readonly bindAddresses: readonly string[]
  /** Where requests go. */
  readonly peerAddress: string
  /** The folder with the certificates. */
  readonly certificates: string
  /** The server's own: `-c -u -d -t`. */
  readonly server: ServerArguments
}

export const USAGE: string = `Usage: tls-gateway --certs FOLDER [options] [server options]

  --certs FOLDER where the certificates are: a.example.pem with its key a.example.key for a.example,
                 _.a.example.pem for *.a.example, and default.pem for everything else, if it is there.
                 They may be replaced at any time; those of new names are found when a client asks
  --ba ADDRESS   where to listen (127.0.0.1:6188); repeat it for more, a session of one goes on at the others
  --pa ADDRESS   where requests go (127.0.0.1:7001, the echo-server example)
  -h, --help     print this

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
      certs: { type: 'string' },
      ba: { type: 'string', multiple: true, default: ['127.0.0.1:6188'] },
      pa: { type: 'string', default: '127.0.0.1:7001' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) return 'help'
  if (values.certs === undefined) throw new TypeError('--certs is missing: where are the certificates?')
  return {
    bindAddresses: values.ba,
    peerAddress: values.pa,
    certificates: values.certs,
    server: parsed.options,
  }
}
