import type { Server, TLSSocket, TlsOptions } from 'node:tls'

/**
 * Wraps the callbacks that Node.js calls within a handshake. One that throws would take the process down on some of
 * its versions (CVE-2026-21637); here it fails its handshake.
 */
export function guardCallbacks(tls: TlsOptions): void {
  const { SNICallback, ALPNCallback, pskCallback } = tls
  if (SNICallback !== undefined) {
    tls.SNICallback = (servername, callback) => {
      const fail = (error: unknown) => callback(error instanceof Error ? error : new Error(String(error)))
      try {
        const result: unknown = SNICallback(servername, callback)
        if (result instanceof Promise) result.catch(fail) // an async function is a void one to TypeScript
      } catch (error) {
        fail(error)
      }
    }
  }
  if (ALPNCallback !== undefined) {
    tls.ALPNCallback = (offer) => {
      try {
        return ALPNCallback(offer)
      } catch {
        return undefined
      }
    }
  }
  if (pskCallback !== undefined) {
    tls.pskCallback = function guarded(this: Server, socket: TLSSocket, identity: string) {
      try {
        return pskCallback.call(this, socket, identity)
      } catch {
        return null
      }
    } as NonNullable<TlsOptions['pskCallback']>
  }
}
