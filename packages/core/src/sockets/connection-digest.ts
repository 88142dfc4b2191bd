import type { X509Certificate } from 'node:crypto'
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { proxyHeaderOf } from '../proxy-protocol/proxied-sockets.ts'
import type { ProxyHeader } from '../proxy-protocol/proxy-header.ts'
import { certificateFacts } from '../tls/certificate-facts.ts'
import { handshakeExtension } from '../tls/handshake-complete.ts'
import { groupOfSession } from '../tls/session-group.ts'
import type { ConnectionDigest, TlsDigest } from './digest.ts'

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

/** Nothing of it changes after the handshake, and it is asked for with every request that is logged. */
const tlsDigests: WeakMap<TLSSocket, TlsDigest> = new WeakMap()

function tlsDigest(socket: TLSSocket): TlsDigest {
  let digest = tlsDigests.get(socket)
  if (digest === undefined) {
    digest = readTls(socket)
    // A closed socket has nothing to tell, and one in its handshake not all.
    if (digest.version !== '') tlsDigests.set(socket, digest)
  }
  return digest
}

function readTls(socket: TLSSocket): TlsDigest {
  const sni: unknown = (socket as { servername?: unknown }).servername
  // The type says X509Certificate or undefined; a socket that is closed gives null.
  const certificate: X509Certificate | undefined | null = socket.getPeerX509Certificate()
  return {
    version: socket.getProtocol() ?? '',
    cipher: socket.getCipher()?.standardName ?? '',
    group: groupOf(socket) ?? groupOfSession(socket),
    alpn: socket.alpnProtocol === false || socket.alpnProtocol === null ? undefined : socket.alpnProtocol,
    sni: typeof sni === 'string' && sni !== '' ? sni : undefined,
    resumed: socket.isSessionReused() === true,
    peerCertificate:
      certificate === undefined || certificate === null
        ? undefined
        : certificateFacts(certificate, socket.authorized),
    extension: handshakeExtension(socket),
  }
}

/** Node.js tells it to clients only. */
function groupOf(socket: TLSSocket): string | undefined {
  const info: unknown = socket.getEphemeralKeyInfo()
  const name = typeof info === 'object' && info !== null ? (info as { name?: unknown }).name : undefined
  return typeof name === 'string' && name !== '' ? name : undefined
}
