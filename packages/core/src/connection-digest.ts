import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import type { ConnectionDigest, TlsDigest } from './digest.ts'

/** Reads the facts off a socket of either side. */
export function connectionDigest(
  socket: Socket,
  establishedAt: number,
  requestCount: number,
): ConnectionDigest {
  return {
    remoteAddress: socket.remoteAddress,
    remotePort: socket.remotePort,
    localAddress: socket.localAddress,
    localPort: socket.localPort,
    establishedAt,
    requestCount,
    tls: socket instanceof TLSSocket ? tlsDigest(socket) : undefined,
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
