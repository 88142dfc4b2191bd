import type { Backend } from '../backend.ts'

/** What a choice is made by: the client's address, a URI, a session id. Text is taken as UTF-8. */
export type SelectionKey = string | Uint8Array

/** What a selection may know of a backend while it chooses. The balancer writes it; a selection reads only. */
export interface BackendStatus {
  /** Whether it may be chosen now: enabled, healthy, not ejected, breaker not open, below its cap. */
  readonly eligible: boolean
  /** Leases held: requests that were acquired and not yet released. */
  readonly inFlight: number
  /** Latency estimate in milliseconds that jumps up at once and decays slowly; 0 while nothing is known. */
  latencyMs(now: number): number
}

/** Sums over all backends of a group, kept up to date by the balancer. */
export interface GroupStatus {
  /** Leases held on all backends of the group. */
  readonly inFlight: number
  /** Weights of the eligible backends, summed up. */
  readonly eligibleWeight: number
}

/** Everything a {@link Selection} is built over: one priority group of one set of backends. */
export interface SelectionInput {
  /** Sorted by address, never empty, never changed. */
  readonly backends: readonly Backend[]
  /** The state of `backends[i]` is `statuses[i]`. */
  readonly statuses: readonly BackendStatus[]
  readonly group: GroupStatus
  /** Uniform in [0, 1). */
  readonly random: () => number
  /** Monotonic milliseconds. */
  readonly now: () => number
}

/**
 * Chooses among the backends it was built over: `begin` gives the first choice for a key, each `next` another one to
 * fall back to. Both return an index into `backends`, or −1 when there is nothing more to propose.
 *
 * The balancer calls `begin` once per request, and `next` only where a proposal could not be taken. It ignores
 * repeats, skips what is not eligible, and after a −1 or too many steps offers the backends that were not proposed.
 * So a picker needs not care about being complete, and both methods should be fast and allocate nothing.
 */
export interface Picker {
  begin(key: SelectionKey | undefined): number
  next(): number
}

/** An algorithm: builds a {@link Picker} for each new set of backends. One object serves one balancer. */
export interface Selection {
  /** Shown in the summary. */
  readonly name: string
  /** Builds at once. Called once per priority group when the balancer is made, and at every change of the set. */
  build(input: SelectionInput): Picker
  /**
   * Builds the same in slices of a few milliseconds, for updates of large sets. Default: `build` is called.
   * While it runs the balancer still serves from the set before.
   */
  buildInSlices?(input: SelectionInput, signal: AbortSignal): Promise<Picker>
}
