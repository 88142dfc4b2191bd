import type { Socket } from 'node:net'
import { parseAddress } from '../address.ts'
import { type ConnectionIntake, ignoreError } from '../listening/connection-intake.ts'
import { Listener } from '../listening/listener.ts'
import { inPassing } from '../listening/listener-parts.ts'
import type { ServingEndpoint } from '../listening/serving-endpoint.ts'
import { cutConnection } from '../sockets/cut-connection.ts'
import type { LentListener } from './thread-protocol.ts'
import type { WorkerCounts } from './worker-counts.ts'
import type { WorkerConnections, WorkerReceiver } from './worker-link.ts'

/** A listener of a service, as a worker has it. */
export interface WorkerEndpoint {
  /** Of the same address in the main thread; it is never opened here. */
  readonly listener: Listener
  readonly serving: ServingEndpoint
}

/** The listeners of one service in a worker: connections come from the main thread, or from sockets that it lends. */
export class WorkerListeners implements WorkerReceiver {
  readonly #service: string
  readonly #endpoints: readonly WorkerEndpoint[]
  readonly #intake: ConnectionIntake
  readonly #counts: WorkerCounts
  readonly #connections: WorkerConnections
  readonly #lent: Map<Listener, Omit<LentListener, 'server'>> = new Map()
  #isClosed = false

  constructor(
    service: string,
    endpoints: readonly WorkerEndpoint[],
    intake: ConnectionIntake,
    counts: WorkerCounts,
    connections: WorkerConnections,
  ) {
    this.#service = service
    this.#endpoints = endpoints
    this.#intake = intake
    this.#counts = counts
    this.#connections = connections
  }

  onListening(index: number, text: string): void {
    const endpoint = this.#endpoints[index]
    const address = parseAddress(text)
    endpoint?.serving.bound(address)
    endpoint?.listener.boundElsewhere(address)
  }

  onSocket(index: number, socket: Socket, connection: number): void {
    this.#counts.received(socket, connection)
    const { listener, serving } = this.#endpoint(index)
    listener.prepareReceived(socket)
    this.#intake.take(socket, serving)
  }

  onAdmitted(connection: number, ok: boolean): void {
    this.#counts.admitted(connection, ok)
  }

  /** The main thread lends a socket: what it accepts is served here from this turn on. */
  onLent({ listener: index, part, server }: LentListener): void {
    const { listener, serving } = this.#endpoint(index)
    const { plan } = listener
    const own = new Listener(plan)
    own.isCapped = false
    this.#lent.set(own, { listener: index, part })
    own
      .adopt(
        inPassing(server),
        () => undefined,
        (socket) => this.#accept(socket, index, plan.connectionsMax ?? Number.POSITIVE_INFINITY, serving),
        (error) => {
          this.#counts.acceptFailed()
          this.#intake.log.error(`Cannot accept on ${serving.info.address.text}`, error)
        },
      )
      .catch((error: unknown) => {
        this.#lent.delete(own)
        if (!this.#isClosed) this.#intake.log.error('Cannot accept on a listener of the main thread', error)
      })
    if (this.#isClosed) own.close()
  }

  /** It wants them back. */
  onRecall(): void {
    for (const [listener, { listener: index, part }] of this.#lent) {
      const server = listener.detach()
      if (server === undefined) continue
      this.#lent.delete(listener)
      this.#connections.giveBack({ listener: index, part, server })
    }
  }

  close(): void {
    this.#isClosed = true
    for (const listener of this.#lent.keys()) listener.close()
    this.#lent.clear()
  }

  #accept(socket: Socket, index: number, listenerMax: number, serving: ServingEndpoint): void {
    socket.on('error', ignoreError)
    const reached = this.#counts.accepted(socket, index, listenerMax)
    if (reached === undefined) return void this.#intake.take(socket, serving)
    this.#counts.refused()
    const whose = reached === 'listener' ? ' of the listener' : ''
    this.#intake.log.error(`Connections are refused: connectionsMax${whose} is reached`)
    cutConnection(socket)
  }

  #endpoint(index: number): WorkerEndpoint {
    const endpoint = this.#endpoints[index]
    if (endpoint === undefined) throw new RangeError(`Service "${this.#service}" has no listener ${index}`)
    return endpoint
  }
}
