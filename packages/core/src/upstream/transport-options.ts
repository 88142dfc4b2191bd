import { isIP, type NetConnectOpts } from 'node:net'
import type { ConnectionOptions, SecureContext } from 'node:tls'
import type { Address } from '../address.ts'
import type { TlsSessionCache } from '../tls/session-cache.ts'
import { verifyName } from '../tls/verify-name.ts'
import type { DnsCache } from './dns-cache.ts'
import type { HttpPeer } from './peer.ts'

/** What a connector has for all of its transports. */
export interface TransportContext {
  readonly dns: DnsCache
  readonly bindToIpv4: readonly string[]
  readonly bindToIpv6: readonly string[]
  readonly tlsSessions: TlsSessionCache
  secureContext(peer: HttpPeer): SecureContext
}

/** Whether the source address depends on the family of a name that is not resolved yet. */
export function dependsOnFamily(peer: HttpPeer, host: string, context: TransportContext): boolean {
  const { bindToIpv4, bindToIpv6 } = context
  return (
    peer.options.localAddress === undefined && bindToIpv4.length + bindToIpv6.length > 0 && isIP(host) === 0
  )
}

/**
 * How a socket to a peer is opened.
 *
 * @param resolved - The address that its name was resolved to, where that had to come first.
 */
export function socketOptions(
  peer: HttpPeer,
  address: Address,
  resolved: string | undefined,
  context: TransportContext,
): NetConnectOpts {
  const options = hopSocketOptions(address, context)
  if (address.kind === 'unix') return options
  const { tcpKeepAliveMs, localAddress } = peer.options
  const host = resolved ?? address.host
  const from = localAddress ?? pickLocalAddress(host, context)
  return {
    ...options,
    host,
    ...(from === undefined ? {} : { localAddress: from }),
    ...(tcpKeepAliveMs > 0 ? { keepAlive: true, keepAliveInitialDelay: tcpKeepAliveMs } : {}),
  }
}

/** How a socket to a next-hop proxy is opened, and what all sockets have in common. */
export function hopSocketOptions(address: Address, context: TransportContext): NetConnectOpts {
  if (address.kind === 'unix') return { path: address.path, allowHalfOpen: true }
  return {
    host: address.host,
    port: address.port,
    lookup: context.dns.lookupFunction,
    allowHalfOpen: true,
    noDelay: true,
  }
}

function pickLocalAddress(host: string, context: TransportContext): string | undefined {
  const family = isIP(host)
  const list = family === 6 ? context.bindToIpv6 : context.bindToIpv4
  return list.length === 0 || family === 0 ? undefined : list[Math.floor(Math.random() * list.length)]
}

/** How TLS with a peer is begun: its name, what it has to prove, and the session to resume. */
export function tlsOptions(
  peer: HttpPeer,
  alpnProtocols: readonly string[],
  context: TransportContext,
): ConnectionOptions {
  const { verifyCertificate, verifyHostname, alternativeName } = peer.options
  const name = peer.serverName
  const session = context.tlsSessions.get(peer.reuseKey)
  return {
    secureContext: context.secureContext(peer),
    servername: isIP(name) === 0 ? name : '',
    ALPNProtocols: [...alpnProtocols],
    rejectUnauthorized: verifyCertificate,
    checkServerIdentity: (host, certificate) => {
      if (!verifyHostname) return undefined
      const expected =
        alternativeName ?? (name === '' && peer.address?.kind === 'tcp' ? peer.address.host : name)
      return verifyName(expected === '' ? host : expected, certificate)
    },
    ...(session === undefined ? {} : { session }),
  }
}
