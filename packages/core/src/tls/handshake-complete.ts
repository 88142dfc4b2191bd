import type { TLSSocket } from 'node:tls'

/**
 * Called once for each TLS connection whose handshake is complete, before anything is read from it or sent on it. What
 * it returns is `digest().tls.extension` for all requests of the connection: facts of your own, found out once.
 *
 * It answers at once: a promise, as well as a throw, ends the connection. The socket is for looking only; whoever reads
 * from it, writes to it or listens to its data breaks what it carries.
 */
export type OnHandshakeComplete = (socket: TLSSocket) => unknown

const extensions: WeakMap<TLSSocket, unknown> = new WeakMap()

/** What the callback gave for a connection. */
export function handshakeExtension(socket: TLSSocket): unknown {
  return extensions.get(socket)
}

/** Calls it and keeps what it gives. @throws {Error} What it throws; TypeError for a promise. */
export function completeHandshake(callback: OnHandshakeComplete, socket: TLSSocket): void {
  const extension = callback(socket)
  if (typeof (extension as PromiseLike<unknown> | null | undefined)?.then === 'function') {
    Promise.resolve(extension).catch(() => undefined)
    throw new TypeError('onHandshakeComplete must answer at once, not with a promise')
  }
  if (extension !== undefined) extensions.set(socket, extension)
}
