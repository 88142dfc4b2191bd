/** Peers remembered at most; the one that was told of first goes first. */
const ENTRIES_MAX = 1_024
/** How long a peer is taken at its word, in milliseconds: it may learn. */
const KEPT_MS = 600_000

/** Peers that want HTTP/1.1, for all that HTTP/2 was offered. Bounded, and forgets after ten minutes. */
export class RememberedPeers {
  readonly #until: Map<string, number> = new Map()

  remember(key: string, now: number = performance.now()): void {
    this.#until.delete(key)
    if (this.#until.size >= ENTRIES_MAX) {
      const [oldest] = this.#until.keys()
      if (oldest !== undefined) this.#until.delete(oldest)
    }
    this.#until.set(key, now + KEPT_MS)
  }

  has(key: string, now: number = performance.now()): boolean {
    const until = this.#until.get(key)
    if (until === undefined) return false
    if (until > now) return true
    this.#until.delete(key)
    return false
  }
}
