import { createSecureContext, type SecureContext } from 'node:tls'
import type { Logger } from '../logger.ts'
import type { HttpPeer } from './peer.ts'

/** Contexts kept; each holds parsed certificates. */
const SECURE_CONTEXTS_MAX = 64

/** What TLS to a peer is made with, one for each set of peer options: parsing the authorities takes milliseconds. */
export class SecureContexts {
  readonly #ca: string | undefined
  /** In the order in which they were made. */
  readonly #contexts: Map<string, SecureContext> = new Map()

  /** @param ca - The authorities of peers that name none; undefined for those of Node.js. */
  constructor(ca: string | undefined) {
    this.#ca = ca
  }

  /** The context for a peer. The logger is told, when it is made, that certificates are not verified. */
  get(peer: HttpPeer, logger: Logger): SecureContext {
    const known = this.#contexts.get(peer.optionsKey)
    if (known !== undefined) return known
    const { ca, cert, key, curves, verifyCertificate, verifyHostname } = peer.options
    if (!verifyCertificate || !verifyHostname) {
      const what = verifyCertificate ? 'name in the certificate' : 'certificate'
      logger.warn(`The ${what} of a peer is not verified`, { peer: String(peer) })
    }
    const authorities = ca ?? this.#ca
    const context = createSecureContext({
      ...(authorities === undefined ? {} : { ca: authorities as string | Buffer | (string | Buffer)[] }),
      ...(cert === undefined ? {} : { cert, key }),
      ...(curves === undefined ? {} : { ecdhCurve: curves }),
    })
    if (this.#contexts.size >= SECURE_CONTEXTS_MAX) {
      const [oldest] = this.#contexts.keys()
      if (oldest !== undefined) this.#contexts.delete(oldest)
    }
    this.#contexts.set(peer.optionsKey, context)
    return context
  }
}
