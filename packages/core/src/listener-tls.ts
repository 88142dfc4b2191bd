import { readFileSync } from 'node:fs'
import { createServer, type Server, type TLSSocket, type TlsOptions } from 'node:tls'
import { integer, rejectUnknown, type TlsListenerOptions } from './listener-options.ts'

const PASS_THROUGH: readonly string[] = [
  'ALPNCallback',
  'ca',
  'cert',
  'ciphers',
  'crl',
  'dhparam',
  'ecdhCurve',
  'honorCipherOrder',
  'key',
  'maxVersion',
  'minVersion',
  'passphrase',
  'pfx',
  'pskCallback',
  'pskIdentityHint',
  'rejectUnauthorized',
  'requestCert',
  'sessionIdContext',
  'sessionTimeout',
  'sigalgs',
  'SNICallback',
  'ticketKeys',
]

/**
 * Makes the TLS side of a listener: a `tls.Server` that never listens itself. Connections, once counted and
 * filtered, are injected with `emit('connection', socket)` and come back with 'secureConnection'.
 */
export function createTlsAcceptor(
  address: string,
  options: TlsListenerOptions,
  alpnProtocols: readonly string[] | undefined,
): Server {
  rejectUnknown(options, [...PASS_THROUGH, 'certFile', 'keyFile', 'handshakeTimeoutMs'], `TLS on ${address}`)
  const tls: TlsOptions = { minVersion: 'TLSv1.2', allowHalfOpen: true }
  for (const key of PASS_THROUGH) {
    const value = (options as Record<string, unknown>)[key]
    if (value !== undefined) (tls as Record<string, unknown>)[key] = value
  }
  for (const [file, key] of [
    ['certFile', 'cert'],
    ['keyFile', 'key'],
  ] as const) {
    const path = options[file]
    if (path === undefined) continue
    if (tls[key] !== undefined) throw new TypeError(`TLS on ${address} has both "${file}" and "${key}"`)
    tls[key] = readPem(address, path)
  }
  tls.handshakeTimeout = integer('handshakeTimeoutMs', options.handshakeTimeoutMs ?? 10_000, 1, 3_600_000)
  if (alpnProtocols !== undefined && tls.ALPNCallback === undefined) tls.ALPNProtocols = [...alpnProtocols]
  if (!hasIdentity(tls)) {
    throw new TypeError(`TLS on ${address} needs a certificate and key, SNICallback or pskCallback`)
  }
  guardCallbacks(tls)
  try {
    return createServer(tls)
  } catch (cause) {
    throw new TypeError(`Invalid TLS options for ${address}: ${(cause as Error).message}`, { cause })
  }
}

function hasIdentity(tls: TlsOptions): boolean {
  if (tls.pfx !== undefined || tls.SNICallback !== undefined || tls.pskCallback !== undefined) return true
  return tls.cert !== undefined && tls.key !== undefined
}

function readPem(address: string, path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (cause) {
    throw new TypeError(`Cannot read "${path}" for TLS on ${address}: ${(cause as Error).message}`, { cause })
  }
}

/** A callback that throws would take the process down on some Node versions; here it fails its handshake. */
function guardCallbacks(tls: TlsOptions): void {
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
