import { type Backend, type BackendLike, toBackend } from '../backend.ts'
import { show } from '../check.ts'

/** What a discovery found. */
export interface DiscoveryResult {
  /** The whole set. An empty one is taken as it is: make it an error if it cannot be right. */
  readonly backends: readonly BackendLike[]
  /** Addresses that are in the set but must not be chosen. Default: whatever `setEnabled` said stays. */
  readonly disabled?: readonly string[]
  /** Ask again after this many milliseconds (at least 100), where it is sooner than `updateIntervalMs`. Default: never. */
  readonly ttlMs?: number
}

/** Finds the backends of a balancer. */
export interface Discovery {
  /**
   * Finds the set. Called once at start and then at each update, never twice at a time. A throw or rejection keeps
   * the last good set. Should end soon after `signal` is aborted, which happens on shutdown and timeout.
   */
  discover(signal: AbortSignal): DiscoveryResult | Promise<DiscoveryResult>
  /** Calls `changed` whenever an update should happen at once, until the function it returned is called. */
  watch?(changed: () => void): () => void
}

/** Your own source in its shortest form: a function that finds the whole set. */
export type DiscoveryFunction = (
  signal: AbortSignal,
) => readonly BackendLike[] | Promise<readonly BackendLike[]>

/** A fixed set of backends. */
export class StaticDiscovery implements Discovery {
  readonly backends: readonly Backend[]

  /** @throws {TypeError} If an address is not valid. */
  constructor(backends: Iterable<BackendLike>) {
    this.backends = Array.from(backends, toBackend)
  }

  discover(): DiscoveryResult {
    return { backends: this.backends }
  }
}

/** Makes a discovery of either form. */
export function toDiscovery(source: Discovery | DiscoveryFunction): Discovery {
  if (typeof source === 'function') {
    return { discover: async (signal) => ({ backends: await source(signal) }) }
  }
  if (typeof source?.discover === 'function') return source
  throw new TypeError(`Expected a discovery or a function, received ${show(source)}`)
}
