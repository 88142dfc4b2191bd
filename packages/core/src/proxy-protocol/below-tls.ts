import { AsyncLocalStorage } from 'node:async_hooks'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { proxyHeaderOf, rememberProxyHeader } from './proxied-sockets.ts'

/**
 * The raw socket whose handshake runs. A TLS server does not tell on which socket a TLS socket stands, but all its
 * callbacks run in the context that the connection was given to it in, so the context carries the raw one.
 */
const carried: AsyncLocalStorage<Socket | undefined> = new AsyncLocalStorage()

/** Runs `start`, which hands `raw` to a TLS server. */
export function startBelowTls(raw: Socket, start: () => void): void {
  carried.run(raw, start)
}

/**
 * Gives a TLS socket, in the TLS server's callback, the header of the raw socket below it, then runs `next` outside of
 * that context. False, without running it, if the raw socket is not certain: then nobody knows who the client is.
 */
export function continueAboveTls(secure: TLSSocket, next: () => void): boolean {
  const raw = carried.getStore()
  if (raw === undefined || raw.remotePort !== secure.remotePort) return false
  if (raw.remoteAddress !== secure.remoteAddress) return false
  const header = proxyHeaderOf(raw)
  if (header !== undefined) rememberProxyHeader(secure, header)
  carried.run(undefined, next)
  return true
}
