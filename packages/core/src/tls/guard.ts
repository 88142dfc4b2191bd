import type { Server, TLSSocket, TlsOptions } from 'node:tls'
import { isPromise } from '../is-promise.ts'

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
        if (isPromise(result)) Promise.resolve(result).catch(fail) // an async function is a void one to TypeScript
      } catch (error) {
        fail(error)
      }
    }
  }
  if (ALPNCallback !== undefined) {
    tls.ALPNCallback = (offer) => {
      try {
        return answeredAtOnce(ALPNCallback(offer))
      } catch {
        return undefined
      }
    }
  }
  if (pskCallback !== undefined) {
    tls.pskCallback = function guarded(this: Server, socket: TLSSocket, identity: string) {
      try {
        return answeredAtOnce(pskCallback.call(this, socket, identity)) ?? null
      } catch {
        return null
      }
    } as NonNullable<TlsOptions['pskCallback']>
  }
}

/** What a callback gave; nothing for a promise, for which no handshake waits, and whose rejection is nobody's. */
function answeredAtOnce<T>(answer: T): T | undefined {
  if (!isPromise(answer)) return answer
  Promise.resolve(answer).catch(() => undefined)
  return undefined
}
