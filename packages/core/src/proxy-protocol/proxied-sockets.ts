import type { Socket } from 'node:net'
import type { ProxyHeader } from './proxy-header.ts'

const headers: WeakMap<Socket, ProxyHeader> = new WeakMap()

/** The PROXY protocol header that an accepted connection began with, also below TLS; undefined if it had none. */
export function proxyHeaderOf(socket: Socket): ProxyHeader | undefined {
  return headers.get(socket)
}

/** Remembers a connection's header as long as its socket. */
export function rememberProxyHeader(socket: Socket, header: ProxyHeader): void {
  headers.set(socket, header)
}

/**
 * The IP address of the client of an accepted connection: what the header says, else the other end's. Undefined for
 * a client on a Unix socket, here or in front of the proxy, and for a connection that is gone.
 */
export function clientAddressOf(socket: Socket): string | undefined {
  const header = headers.get(socket)
  if (header?.source === undefined) return socket.remoteAddress
  return header.transport.startsWith('unix') ? undefined : header.source.address
}
