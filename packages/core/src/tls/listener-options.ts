import type { TlsOptions } from 'node:tls'
import type { ClientCertificates } from './client-certificates.ts'
import type { OnHandshakeComplete } from './handshake-complete.ts'
import type { TlsProfile } from './profile.ts'
import type { LoadCertificate, RuntimeCertificateOptions } from './runtime-certificates.ts'
import type { TicketKeys } from './ticket-keys.ts'

/** What of Node's TLS server options passes through; see `tls.createServer`. */
type TlsPassThrough = Pick<
  TlsOptions,
  | 'ALPNCallback'
  | 'ca'
  | 'cert'
  | 'ciphers'
  | 'crl'
  | 'dhparam'
  | 'ecdhCurve'
  | 'honorCipherOrder'
  | 'key'
  | 'maxVersion'
  | 'minVersion'
  | 'passphrase'
  | 'pfx'
  | 'pskCallback'
  | 'pskIdentityHint'
  | 'rejectUnauthorized'
  | 'requestCert'
  | 'sessionIdContext'
  | 'sessionTimeout'
  | 'sigalgs'
  | 'SNICallback'
>

/** A certificate of a listener, and what is particular to the names that it serves. */
export interface TlsCertificate {
  /** The certificate chain, PEM, leaf first; or `certFile`. */
  readonly cert?: string | Buffer
  /** The private key, PEM; or `keyFile`. */
  readonly key?: string | Buffer
  /** File with the chain. Read when the listener is added, and again when it changes; see `reloadMs`. */
  readonly certFile?: string
  /** File with the key, read as `certFile` is. */
  readonly keyFile?: string
  /** For an encrypted key. */
  readonly passphrase?: string
  /** The names it serves: `a.example`, `*.a.example` (one label). Default: the DNS names in the certificate. */
  readonly serverNames?: readonly string[]
  /** ALPN protocols for these names, most wanted first. Default: those of the listener's app. */
  readonly alpnProtocols?: readonly string[]
  /** What is asked of clients of these names. Default: what the listener asks; `'none'` asks for nothing. */
  readonly clientCertificates?: ClientCertificates | 'none'
}

/** Something happened to what comes from files: a certificate, or the authorities of clients. */
export interface TlsReloadEvent {
  /** `reloaded`: new handshakes use it. `rejected`: it cannot be used, the old one stays. */
  readonly kind: 'reloaded' | 'rejected'
  /** Of a certificate; undefined for authorities. */
  readonly certFile: string | undefined
  /** `caFile` of `clientCertificates`, or their `crlFile` if they have no other; undefined for a certificate. */
  readonly caFile: string | undefined
  /** The names it serves, or for the default certificate those in it; empty if it was rejected, and for authorities. */
  readonly serverNames: readonly string[]
  /** End of its validity in milliseconds since the epoch; undefined if it was rejected, and for authorities. */
  readonly validToMs: number | undefined
  /** Why it was rejected. */
  readonly error: Error | undefined
}

/**
 * Options of `addTls`: a default certificate and key as PEM or as files, more of them by server name, and Node's own
 * TLS options.
 */
export interface TlsListenerOptions extends TlsPassThrough {
  /** PEM file with the default certificate chain. Read when the listener is added, and again when it changes. */
  readonly certFile?: string
  /** PEM file with the private key of `certFile`. */
  readonly keyFile?: string
  /** Certificates by server name. Without a default one, other names and clients without SNI are refused. */
  readonly certificates?: readonly TlsCertificate[]
  /** Gives certificates for names that none of the others serves. */
  readonly loadCertificate?: LoadCertificate
  readonly runtimeCertificates?: RuntimeCertificateOptions
  /** How often files are looked at besides being watched, in ms. Default 60,000; 0 never reads them again. */
  readonly reloadMs?: number
  /** Called after files were read again. Errors it throws are dropped. */
  readonly onReload?: (event: TlsReloadEvent) => void
  /** Versions and ciphers. Default `intermediate`: TLS 1.2 and 1.3, ciphers with forward secrecy only. */
  readonly profile?: TlsProfile
  /** What is asked of clients, instead of Node's `requestCert`, `rejectUnauthorized` and `ca`. Default: nothing. */
  readonly clientCertificates?: ClientCertificates
  /** Keys of session tickets. Default: {@link TicketKeys} of the listener's own; a buffer of 48 bytes is never rotated. */
  readonly ticketKeys?: TicketKeys | Buffer
  /** Called for each connection whose handshake is complete and whose client is admitted. Default: nothing. */
  readonly onHandshakeComplete?: OnHandshakeComplete
  /** Time for the handshake, in ms; after it the connection is destroyed. Default 10,000. */
  readonly handshakeTimeoutMs?: number
}
