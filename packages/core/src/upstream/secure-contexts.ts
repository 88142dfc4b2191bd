import { createSecureContext, type SecureContext } from 'node:tls'
import type { Logger } from '../logger.ts'
import { readAuthorities } from '../tls/authorities.ts'
import { FollowedFiles, type FollowedGroup } from '../tls/followed-files.ts'
import type { TlsSessionCache } from '../tls/session-cache.ts'
import type { HttpPeer } from './peer.ts'

/** A file of authorities, and what was in it when it was read first. */
export interface AuthoritiesFile {
  /** Absolute. */
  readonly path: string
  readonly ca: readonly string[]
  readonly digest: string
  /** How often it is looked at; 0 never. */
  readonly reloadMs: number
}

/** Contexts kept; each holds parsed certificates. */
const SECURE_CONTEXTS_MAX = 64

/** What TLS to a peer is made with, one for each set of peer options: parsing the authorities takes milliseconds. */
export class SecureContexts {
  readonly #file: AuthoritiesFile | undefined
  readonly #sessions: TlsSessionCache
  #ca: readonly string[] | undefined
  #followed: FollowedFiles | undefined
  #isClosed = false
  /** In the order in which they were made. */
  readonly #contexts: Map<string, SecureContext> = new Map()

  /**
   * @param file - The authorities of peers that name none; undefined for those of Node.js.
   * @param sessions - What was verified with authorities that are trusted no longer is not resumed.
   */
  constructor(file: AuthoritiesFile | undefined, sessions: TlsSessionCache) {
    this.#file = file
    this.#sessions = sessions
    this.#ca = file?.ca
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
    if (ca === undefined) this.#follow(logger)
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

  /** Looks after the file no longer. */
  close(): void {
    this.#isClosed = true
    this.#followed?.close()
  }

  /** From the first use on: most connectors have no peers with TLS. */
  #follow(logger: Logger): void {
    const file = this.#file
    if (file === undefined || this.#followed !== undefined || this.#isClosed) return
    const shown = { caFile: file.path }
    const group: FollowedGroup = {
      paths: [file.path],
      digest: file.digest,
      take: ([content]) => {
        this.#ca = readAuthorities(content as Buffer)
        this.#contexts.clear()
        this.#sessions.clear()
        logger.info('Authorities of upstreams reloaded', shown)
      },
      reject: (error) =>
        logger.error('Authorities of upstreams not reloaded, the old ones stay', { ...shown, error }),
    }
    this.#followed = new FollowedFiles([group], file.reloadMs)
  }
}
