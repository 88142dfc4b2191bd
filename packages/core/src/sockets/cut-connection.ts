import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'

/**
 * Cuts a connection at once, so that its peer cannot take that for an orderly end: with a reset over TCP. A Unix socket
 * has none, and TLS says by itself that it was cut. Without effect on a socket that is destroyed.
 *
 * Whoever wants `resetAndDestroy()` of a socket that was perhaps ended before calls this: while its end is on the way,
 * Node.js fails to reset it, and then never closes it at all.
 */
export function cutConnection(socket: Socket): void {
  if (socket.destroyed) return
  const isTcp = !(socket instanceof TLSSocket) && socket.remoteFamily !== undefined
  if (isTcp && !isShuttingDown(socket)) socket.resetAndDestroy()
  else socket.destroy()
}

/** `uv_tcp_close_reset()` refuses a handle whose `uv_shutdown()` is under way: from the last byte's write to `finish`. */
function isShuttingDown(socket: Socket): boolean {
  return socket.writableEnded && !socket.writableFinished && socket.writableLength === 0
}
