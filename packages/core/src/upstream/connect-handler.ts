import type { ProxyError } from '@cirque/error'
import type { ClientSession } from '../sessions/client-session.ts'

/** Who waits for a session. Exactly one of the two is called, once, unless the wait is cancelled. */
export interface ConnectHandler {
  onConnected(session: ClientSession): void
  onConnectError(error: ProxyError): void
}

/** A connection being opened. */
export interface PendingConnect {
  /** Gives up; the handler hears nothing more. */
  cancel(): void
}
