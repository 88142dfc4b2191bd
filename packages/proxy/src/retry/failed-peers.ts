import type { HttpPeer } from '@cirque/core'

/** How often a request passes over a peer that has failed it before it dials that peer once more. */
const SKIPS_MAX = 8

/** How often a request dials one address that cannot be connected to. */
const DIALS_MAX = 2

/** The peers that could not be connected to for one request. */
export class FailedPeers {
  readonly #peers: HttpPeer[] = []
  #skips = 0

  add(peer: HttpPeer): void {
    this.#peers.push(peer)
  }

  /**
   * True when another peer should be asked for, as the address of `peer` has failed already: a balancer that
   * knows nothing of the failure chose it again. Not for the very same peer object: whoever has but one peer has no
   * other to give.
   */
  passesOver(peer: HttpPeer): boolean {
    if (this.#skips >= SKIPS_MAX || this.#peers.includes(peer) || this.#dials(peer) === 0) return false
    this.#skips++
    return true
  }

  /** True when `peer` has been dialled as often as one request may. */
  isExhausted(peer: HttpPeer): boolean {
    return this.#dials(peer) >= DIALS_MAX
  }

  #dials(peer: HttpPeer): number {
    let dials = 0
    for (const { reuseKey } of this.#peers) if (reuseKey === peer.reuseKey) dials++
    return dials
  }
}
