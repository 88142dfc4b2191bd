import type { Backend } from '../backend.ts'
import type { HealthThresholds } from './health-state.ts'

/**
 * Finds out whether a backend can serve. `TcpHealthCheck` and `HttpHealthCheck` are two; write your own for anything
 * else.
 */
export interface HealthCheck extends HealthThresholds {
  /**
   * Checks once: resolves if the backend is well, rejects with the reason if not.
   *
   * Called by the balancer once per round and backend, for several backends at a time. Must settle in bounded time
   * by itself, and soon after `signal` is aborted (the balancer is shutting down; the result is then ignored).
   */
  check(backend: Backend, signal: AbortSignal): Promise<void>
  /** Called after a backend's health flipped, with the check's error if it became unhealthy. Must not throw. */
  healthStatusChange?(backend: Backend, healthy: boolean, error: unknown): void
  /** How the backend is named in events and the summary. Default: its address. */
  backendSummary?(backend: Backend): string
  /** Called for each backend that left the set: release what is kept for it. */
  forget?(backend: Backend): void
  /** Releases kept connections. Called once, when the balancer is closed or gets another check. */
  close?(): void
}
