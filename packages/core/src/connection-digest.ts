import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import type { ConnectionDigest, TlsDigest } from './digest.ts'
import { proxyHeaderOf } from './proxy-protocol/proxied-sockets.ts'
import type { ProxyHeader } from './proxy-protocol/proxy-header.ts'

/**
 * Reads the facts off a socket of either side, such as one that a `ServerApp` was given.
 *
 * @param establishedAt - In milliseconds since the epoch.
 */
export function connectionDigest(
  socket: Socket,
  establishedAt: number,
  requestCount: number,
): ConnectionDigest {
  const header = proxyHeaderOf(socket)
  if (header !== undefined) return proxiedDigest(socket, header, establishedAt, requestCount)
  return {
    remoteAddress: socket.remoteAddress,
    remotePort: socket.remotePort,
    localAddress: socket.localAddress,
    localPort: socket.localPort,
    establishedAt,
    requestCount,
    tls: socket instanceof TLSSocket ? tlsDigest(socket) : undefined,
    proxy: undefined,
  }
}

function proxiedDigest(
  socket: Socket,
  header: ProxyHeader,
  establishedAt: number,
  requestCount: number,
): ConnectionDigest {
  const { remoteAddress, remotePort, localAddress, localPort } = socket
  const { source, destination } = header
  const isUnix = header.transport.startsWith('unix')
  return {
    remoteAddress: source === undefined ? remoteAddress : isUnix ? undefined : source.address,
    remotePort: source === undefined ? remotePort : isUnix ? undefined : source.port,
    localAddress: destination === undefined ? localAddress : isUnix ? undefined : destination.address,
    localPort: destination === undefined ? localPort : isUnix ? undefined : destination.port,
    establishedAt,
    requestCount,
    tls: socket instanceof TLSSocket ? tlsDigest(socket) : undefined,
    proxy: { remoteAddress, remotePort, localAddress, localPort, header },
  }
}

function tlsDigest(socket: TLSSocket): TlsDigest {
  const sni: unknown = (socket as { servername?: unknown }).servername
  return {
    version: socket.getProtocol() ?? '',
    cipher: socket.getCipher()?.standardName ?? '',
    alpn: socket.alpnProtocol === false || socket.alpnProtocol === null ? undefined : socket.alpnProtocol,
    sni: typeof sni === 'string' && sni !== '' ? sni : undefined,
    resumed: socket.isSessionReused(),
  }
}
