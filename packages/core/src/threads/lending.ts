import type { Admission } from '../listening/admission.ts'
import type { Listener } from '../listening/listener.ts'
import type { ListenerParts } from '../listening/listener-parts.ts'
import type { ServiceContext } from '../server/service.ts'
import type { ServiceDispatch } from './service-dispatch.ts'
import { SharedCounts } from './shared-counts.ts'
import { ClaimedConnection } from './transfer-endpoint.ts'

/** A listener of the service in the main thread. */
interface LendingEndpoint {
  readonly listener: Listener
  /** Undefined until it is open. */
  readonly parts: ListenerParts | undefined
}

/**
 * Prepares a service for listeners with `reusePort`, if it has any: each worker accepts on a socket of its own, and all
 * threads count in shared memory.
 *
 * @throws {Error} If the server is to change its user: a worker that replaces another could not get a socket.
 */
export function letWorkersAccept(
  service: string,
  endpoints: readonly LendingEndpoint[],
  admission: Admission,
  { configuration, shared }: ServiceContext,
  dispatch: ServiceDispatch,
): void {
  if (!endpoints.some(({ listener }) => listener.plan.reusePort)) return
  const { user } = configuration
  if (user !== undefined) {
    throw new Error(
      `Service "${service}" has a listener with reusePort and worker threads, which cannot change to the user "${user}": a worker that replaces another could not bind`,
    )
  }
  const counts = new SharedCounts(endpoints.length, dispatch.threadCount, 0)
  admission.shared = counts
  shared?.value<SharedArrayBuffer>('open connections').set(counts.buffer)
  const parts = () => endpoints.flatMap((endpoint) => endpoint.parts ?? [])
  dispatch.lender = {
    onJoined: () => {
      for (const one of parts()) one.joined()
    },
    onGone: (worker) => {
      counts.forget(worker.thread)
      for (const one of parts()) one.gone(worker)
    },
    onReturned: (lent) => {
      const of = endpoints[lent.listener]?.parts
      if (of === undefined) lent.server.close()
      else of.returned(lent)
    },
    onClient: (client) => ClaimedConnection.of(admission, client),
  }
}
