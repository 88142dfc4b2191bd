import type { ServiceDispatch } from '../threads/service-dispatch.ts'
import {
  COUNTER_ACCEPT_ERROR,
  COUNTER_ACCEPTED,
  COUNTER_HANDSHAKE_FAILED,
  COUNTER_PROXY_HEADER_FAILED,
  COUNTER_REFUSED,
} from '../threads/thread-memory.ts'
import type { Admission } from './admission.ts'

/** What happened to a service's connections so far. A snapshot. */
export interface ConnectionCounters {
  /** Handed by the kernel, refused ones included. */
  readonly acceptedCount: number
  /** Reset because of `connectionsMax`, `connectionsPerIpMax` or the connection filter. */
  readonly refusedCount: number
  /** Open now, handshakes included. */
  readonly openCount: number
  /** TLS handshakes that failed or took too long. */
  readonly handshakeFailedCount: number
  /** Errors of accept(2) that the runtime reports. Running out of file descriptors is not among them. */
  readonly acceptErrorCount: number
  /** Reset because their PROXY protocol header was missing, malformed or late. */
  readonly proxyHeaderFailedCount: number
}

/** Sums up what this thread has counted and, in the main one, what the workers have. */
export function countersOf(admission: Admission, dispatch: ServiceDispatch | undefined): ConnectionCounters {
  dispatch?.collectEnded()
  const ofWorkers = (counter: number) => dispatch?.counter(counter) ?? 0
  return {
    acceptedCount: admission.acceptedCount + ofWorkers(COUNTER_ACCEPTED),
    refusedCount: admission.refusedCount + ofWorkers(COUNTER_REFUSED),
    openCount: dispatch === undefined ? admission.openCount : admission.openCountOfAll,
    handshakeFailedCount: admission.handshakeFailedCount + ofWorkers(COUNTER_HANDSHAKE_FAILED),
    acceptErrorCount: admission.acceptErrorCount + ofWorkers(COUNTER_ACCEPT_ERROR),
    proxyHeaderFailedCount: admission.proxyHeaderFailedCount + ofWorkers(COUNTER_PROXY_HEADER_FAILED),
  }
}
