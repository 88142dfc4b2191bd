import type { LeasedAddress, PeerAddress, PeerOutcome } from '@cirque/core'
import type { Attempt } from '../record.ts'

/** What an attempt's peer was chosen by, when that wants to know how it went. */
export class PeerLease {
  readonly #lease: LeasedAddress
  readonly #takenAt: number = performance.now()
  #latencyMs = -1

  private constructor(lease: LeasedAddress) {
    this.#lease = lease
  }

  /** The lease of a peer made of one; null for any other peer. */
  static of(origin: PeerAddress): PeerLease | null {
    const isLease = typeof origin === 'object' && typeof (origin as LeasedAddress).release === 'function'
    return isLease ? new PeerLease(origin as LeasedAddress) : null
  }

  /** A response's head has arrived. */
  responded(): void {
    this.#latencyMs = performance.now() - this.#takenAt
  }

  /** Gives the lease back unused: its peer was passed over. */
  giveBack(): void {
    this.#lease.release({ ok: false, source: 'internal' })
  }

  /** Gives the lease back with what the attempt says of the peer; throws what the lease throws. */
  release(attempt: Attempt): void {
    const { status, error } = attempt
    // A gateway's statuses mean that nobody behind it could serve.
    const ok = error === undefined && (status < 502 || status > 504)
    const outcome: PeerOutcome = { ok, source: error?.source ?? 'upstream' }
    this.#lease.release(this.#latencyMs < 0 ? outcome : { ...outcome, latencyMs: this.#latencyMs })
  }
}
