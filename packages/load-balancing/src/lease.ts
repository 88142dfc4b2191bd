import type { Address } from '@cirque/core'
import type { ErrorSource } from '@cirque/error'
import type { Backend } from './backend.ts'
import type { Member } from './member.ts'

/** How a request on a backend ended. */
export interface Outcome {
  /** Whether the backend did its part. A 404 does; what a 503 is, is for you to say. */
  readonly ok: boolean
  /**
   * Who caused it, if not `ok`. Only `upstream`, the default, counts against the backend: a client that leaves or a
   * fault of our own says nothing about it.
   */
  readonly source?: ErrorSource
  /** Time to the response head (or whatever you compare backends by) in milliseconds. Default: not observed. */
  readonly latencyMs?: number
}

/** Who takes a lease back. */
export interface LeaseOwner {
  released(member: Member, breakerEpoch: number, outcome: Outcome | undefined): void
}

/**
 * The right to have one request in flight on a backend. Release it exactly when the exchange is over, on every path:
 * until then it counts as load, and towards the cap.
 *
 * @example
 * using lease = balancer.acquire(clientIp)
 */
export class Lease {
  readonly #owner: LeaseOwner
  #member: Member | null
  readonly #breakerEpoch: number
  /** The backend as it was when it was chosen. */
  readonly backend: Backend

  /** @internal Leases come from a balancer. */
  constructor(owner: LeaseOwner, member: Member, breakerEpoch: number) {
    this.#owner = owner
    this.#member = member
    this.#breakerEpoch = breakerEpoch
    this.backend = member.backend
  }

  /**
   * The backend's address: `new HttpPeer(lease)` connects to it, and the proxy then releases the lease by itself
   * when the attempt has ended, with its outcome.
   */
  get address(): Address {
    return this.backend.addressParsed
  }

  /** True until it is released. */
  get held(): boolean {
    return this.#member !== null
  }

  /**
   * Gives the right back and says how it went. Without `outcome` nothing is learnt about the backend. A second call
   * does nothing. Costs tens of nanoseconds, and never throws.
   */
  release(outcome?: Outcome): void {
    const member = this.#member
    if (member === null) return
    this.#member = null
    this.#owner.released(member, this.#breakerEpoch, outcome)
  }

  /** The same as `release()` without an outcome. */
  [Symbol.dispose](): void {
    this.release()
  }
}
