import { parseArgs } from 'node:util'
import { type ParsedServerArguments, parseServerArguments, type ServerArguments } from '@cirque/core'

/** What the gatekeeper's command line says. */
export interface GatekeeperOptions {
  /** Where to listen. */
  readonly bindAddress: string
  /** PEM files to speak TLS with clients; undefined for none. */
  readonly certificate: { readonly certFile: string; readonly keyFile: string } | undefined
  /** Where requests go. */
  readonly peerAddress: string
  /** Only requests under this path pass; the rest gets 404. */
  readonly contextPath: string
  /** Speak TLS with the peer. */
  readonly tls: boolean
  /** The server name to ask the peer for, and to verify. */
  readonly sni: string | undefined
  /** Speak HTTP/2 with the peer, without TLS too. */
  readonly http2: boolean
  /** Connections to `bindAddress` begin with a PROXY protocol header. */
  readonly proxyProtocol: boolean
  /** The server's own: `-c -u -d -t`. */
  readonly server: ServerArguments
}

export const USAGE: string = `Usage: gatekeeper --pa ADDRESS [options] [server options]

  --ba ADDRESS   where to listen (127.0.0.1:6188; [::1]:6188; unix:/run/gatekeeper.sock)
  --cert FILE    speak TLS with clients, with HTTP/2 for those that want it: the certificate chain, PEM
  --key FILE     its key; both are read again when they change
  --pa ADDRESS   where requests go: host:port, [v6]:port or unix:/path
  --cp PATH      only paths under PATH pass, anything else gets 404 (/)
  --tls          speak TLS with the peer
  --sni NAME     the name to ask the peer for, and to verify (the host of --pa)
  --h2           speak HTTP/2 with the peer: over TLS with --tls, else with prior knowledge
  --proxy-protocol
                 connections begin with a PROXY protocol header; let nobody but your proxy reach --ba
  -h, --help     print this

  -c, --conf FILE   configuration file      -t, --test   check it and leave
  -d, --daemon      run in the background   -u, --upgrade   take over from a running process
`

/**
 * Reads the command line.
 *
 * @throws {TypeError} For an option that is unknown, incomplete or wrong.
 */
export function parseOptions(argv: readonly string[]): GatekeeperOptions | 'help' {
  const parsed: ParsedServerArguments = parseServerArguments(argv, { allowUnknown: true })
  const { values } = parseArgs({
    args: [...parsed.rest],
    strict: true,
    options: {
      ba: { type: 'string', default: '127.0.0.1:6188' },
      cert: { type: 'string' },
      key: { type: 'string' },
      pa: { type: 'string' },
      cp: { type: 'string', default: '/' },
      tls: { type: 'boolean', default: false },
      sni: { type: 'string' },
      h2: { type: 'boolean', default: false },
      'proxy-protocol': { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) return 'help'
  if (values.pa === undefined) throw new TypeError('--pa is missing: where shall requests go?')
  if (!values.cp.startsWith('/')) throw new TypeError(`--cp must begin with "/", not "${values.cp}"`)
  const { cert: certFile, key: keyFile } = values
  if ((certFile === undefined) !== (keyFile === undefined))
    throw new TypeError('--cert and --key go together')
  if (values.sni !== undefined && !values.tls) throw new TypeError('--sni needs --tls')
  return {
    bindAddress: values.ba,
    certificate: certFile === undefined || keyFile === undefined ? undefined : { certFile, keyFile },
    peerAddress: values.pa,
    contextPath: values.cp,
    tls: values.tls,
    sni: values.sni,
    http2: values.h2,
    proxyProtocol: values['proxy-protocol'],
    server: parsed.options,
  }
}
