import { inspect } from 'node:util'
import { HttpPeer, type HttpPeerOptions, parseAddress, type TcpAddress } from '@cirque/core'
import { peerError } from '@cirque/error'

/** To whom clients may open tunnels with CONNECT. */
export interface ConnectOptions {
  /**
   * `host:port` each: a name, an IP address (IPv6 in brackets), or `*.` and a domain for all names below it. Names
   * are compared as they are, not by what they resolve to. At least one, at most {@link CONNECT_ALLOW_MAX}.
   */
  readonly allow: readonly string[]
  /**
   * How to connect, and how long a tunnel may be silent (`tunnelIdleTimeoutMs`). With `proxy`, through another proxy
   * that is asked with CONNECT. TLS, HTTP versions and dispatchers are not for tunnels.
   */
  readonly peer?: HttpPeerOptions
}

/** Most entries of {@link ConnectOptions.allow}. */
export const CONNECT_ALLOW_MAX: number = 10_000

const OPTION_NAMES: ReadonlySet<string> = new Set<keyof ConnectOptions>(['allow', 'peer'])
const NOT_FOR_TUNNELS: readonly (keyof HttpPeerOptions)[] = ['tls', 'httpVersion', 'dispatcher']

/** Which tunnels CONNECT may open: the ones on the list, and no others. */
export class ConnectTunnels {
  readonly #exact: Set<string> = new Set()
  /** `.domain:port` */
  readonly #below: Set<string> = new Set()
  readonly #peer: HttpPeerOptions

  /**
   * @throws {TypeError} For an option or entry that is unknown or malformed.
   * @throws {RangeError} For too many entries.
   */
  constructor(options: ConnectOptions) {
    if (typeof options !== 'object' || options === null || !Array.isArray(options.allow)) {
      throw new TypeError(
        `Proxy option "connect" needs a list "allow", received ${inspect(options, { depth: 0 })}`,
      )
    }
    for (const name of Object.keys(options)) {
      if (!OPTION_NAMES.has(name)) {
        throw new TypeError(`Unknown connect option "${name}"; known are ${[...OPTION_NAMES].join(', ')}`)
      }
    }
    const { allow, peer = {} } = options
    if (allow.length === 0 || allow.length > CONNECT_ALLOW_MAX) {
      throw new RangeError(`"allow" takes 1 to ${CONNECT_ALLOW_MAX} entries, received ${allow.length}`)
    }
    for (const entry of allow) this.#add(entry)
    for (const name of NOT_FOR_TUNNELS) {
      if (peer[name] !== undefined) throw new TypeError(`The peer option "${name}" is not for tunnels`)
    }
    new HttpPeer(undefined, peer) // which checks the options
    this.#peer = peer
  }

  #add(entry: unknown): void {
    const isWild = typeof entry === 'string' && entry.startsWith('*.')
    const address = parseAddress((isWild ? entry.slice(2) : entry) as string)
    if (address.kind !== 'tcp') throw new TypeError(`A tunnel leads to host:port, not to ${inspect(entry)}`)
    if (!isWild) this.#exact.add(address.text)
    else if (!isName(address))
      throw new TypeError(`Below an IP address there are no names: ${inspect(entry)}`)
    else this.#below.add(`.${address.text}`)
  }

  /**
   * Where a tunnel to `target` leads.
   *
   * @throws {ProxyError} `TUNNEL_REFUSED` (403) when it is not on the list.
   */
  peerFor(target: string): HttpPeer {
    const address = addressOf(target)
    if (address === undefined || !this.#allows(address)) {
      throw peerError('TUNNEL_REFUSED', 'downstream', 'Client wants a tunnel that is not allowed', {
        status: 403,
      })
    }
    return new HttpPeer(address, this.#peer)
  }

  #allows(address: TcpAddress): boolean {
    const { text } = address
    if (this.#exact.has(text)) return true
    if (this.#below.size === 0 || !isName(address)) return false
    for (let dot = text.indexOf('.'); dot > 0; dot = text.indexOf('.', dot + 1)) {
      if (this.#below.has(text.slice(dot))) return true
    }
    return false
  }
}

function addressOf(target: string): TcpAddress | undefined {
  try {
    const address = parseAddress(target)
    return address.kind === 'tcp' ? address : undefined
  } catch {
    return undefined
  }
}

function isName({ host }: TcpAddress): boolean {
  return !host.includes(':') && !/^[\d.]+$/.test(host)
}
