import type { TLSSocket } from 'node:tls'

/**
 * A session resumes without its certificate being looked at again, so it is not kept as long as the seven days that
 * RFC 8446 §4.6.1 allows.
 */
export const SESSION_AGE_MAX_MS: number = 3_600_000

interface Entry {
  readonly session: Buffer
  readonly storedAt: number
}

/** TLS sessions with upstreams, for resumption: the last one of each key, up to a number of keys. */
export class TlsSessionCache {
  readonly #sessionsMax: number
  readonly #now: () => number
  /** In the order of their last use. */
  readonly #entries: Map<string, Entry> = new Map()
  #generation = 0

  /** @param now - In milliseconds; for tests. */
  constructor(sessionsMax: number, now: () => number = () => performance.now()) {
    this.#sessionsMax = sessionsMax
    this.#now = now
  }

  get size(): number {
    return this.#entries.size
  }

  get(key: string): Buffer | undefined {
    const entry = this.#entries.get(key)
    if (entry === undefined) return undefined
    this.#entries.delete(key)
    if (this.#now() - entry.storedAt > SESSION_AGE_MAX_MS) return undefined
    this.#entries.set(key, entry)
    return entry.session
  }

  delete(key: string): void {
    this.#entries.delete(key)
  }

  /** Forgets all sessions, and those that connections which are open by now are still given. */
  clear(): void {
    this.#entries.clear()
    this.#generation += 1
  }

  /**
   * Keeps what `socket` is given from now on, once its certificate has been found good: a session of a connection
   * that was refused must not come back as one that needs no certificate.
   *
   * @param key - Of everything that decides who is talked to, and what is verified.
   */
  remember(key: string, socket: TLSSocket): void {
    if (this.#sessionsMax === 0) return
    const generation = this.#generation
    let isVerified = false
    let early: Buffer | undefined // TLS 1.2 gives it before the end of the handshake, TLS 1.3 after
    socket.once('secureConnect', () => {
      isVerified = true
      if (early !== undefined && generation === this.#generation) this.#put(key, early)
      early = undefined
    })
    socket.on('session', (session: Buffer) => {
      if (generation !== this.#generation) return
      if (isVerified) this.#put(key, session)
      else early = session
    })
  }

  #put(key: string, session: Buffer): void {
    this.#entries.delete(key)
    if (this.#entries.size >= this.#sessionsMax) {
      const [oldest] = this.#entries.keys()
      if (oldest !== undefined) this.#entries.delete(oldest)
    }
    this.#entries.set(key, { session, storedAt: this.#now() })
  }
}
