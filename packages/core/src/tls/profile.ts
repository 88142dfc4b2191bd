import { constants } from 'node:crypto'
import type { TlsOptions } from 'node:tls'
import { inspect } from 'node:util'

/**
 * Which versions and ciphers a listener speaks, after Mozilla's server side TLS recommendations, version 5.8:
 * `intermediate` is TLS 1.2 and 1.3 with forward secrecy and authenticated ciphers, for everybody;
 * `modern` is TLS 1.3 only, for clients one controls.
 */
export type TlsProfile = 'intermediate' | 'modern'

const CIPHERS_13 = ['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256']
const CIPHERS_12 = [
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
]

/** The options that a profile stands for. Each may be replaced by one of the listener's own. */
export function profileOptions(profile: TlsProfile): TlsOptions {
  // No client of today needs to renegotiate, and each renegotiation costs us more than the client (CVE-2011-1473).
  const secureOptions = constants.SSL_OP_NO_RENEGOTIATION
  // All these ciphers are good, so the client picks the one that is fast on its hardware.
  const common: TlsOptions = { secureOptions, honorCipherOrder: false }
  switch (profile) {
    case 'intermediate':
      return { ...common, minVersion: 'TLSv1.2', ciphers: [...CIPHERS_13, ...CIPHERS_12].join(':') }
    case 'modern':
      return { ...common, minVersion: 'TLSv1.3', ciphers: CIPHERS_13.join(':') }
    default:
      throw new TypeError(
        `Expected a TLS profile of intermediate, modern, received ${inspect(profile satisfies never)}`,
      )
  }
}
