import type { Socket } from 'node:net'
import type { Admission } from '../listening/admission.ts'
import { ignoreError } from '../listening/connection-intake.ts'
import { clientOf } from '../listening/listener-limits.ts'
import type { ListenerPlan } from '../listening/listener-options.ts'
import type { SeldomLog } from '../seldom-log.ts'
import { cutConnection } from '../sockets/cut-connection.ts'
import type { ServiceDispatch } from './service-dispatch.ts'
import type { TransferredConnection } from './worker-thread.ts'

/** A TCP listener as the main thread sees it when workers serve: connections are counted here, and go on to one of them. */
export class TransferEndpoint {
  #openCount = 0
  readonly admission: Admission
  readonly #index: number
  readonly #dispatch: ServiceDispatch
  readonly #log: SeldomLog
  readonly #connectionsMax: number
  /** The address of the connection says who the client is; else a header does that the worker reads. */
  readonly #countsClients: boolean

  constructor(
    index: number,
    plan: ListenerPlan,
    admission: Admission,
    dispatch: ServiceDispatch,
    log: SeldomLog,
  ) {
    this.#index = index
    this.admission = admission
    this.#dispatch = dispatch
    this.#log = log
    this.#connectionsMax = plan.connectionsMax ?? Number.POSITIVE_INFINITY
    this.#countsClients = admission.clients !== undefined && plan.proxyProtocol === undefined
  }

  /** Takes a connection that was just accepted, paused. */
  accept(socket: Socket): void {
    const { admission } = this
    admission.acceptedCount += 1
    socket.on('error', ignoreError)
    this.#dispatch.collectEnded()
    if (!this.#tryOpen()) {
      return void this.#refuse(socket, 'Connections are refused: connectionsMax of the listener is reached')
    }
    if (!admission.tryOpen()) {
      this.#closeOne()
      return void this.#refuse(socket, 'Connections are refused: connectionsMax is reached')
    }
    const connection = new CountedConnection(this)
    if (this.#countsClients) {
      const ip = socket.remoteAddress // none: its peer has reset it already
      if (ip === undefined || !connection.countClient(clientOf(ip))) {
        connection.release()
        return void this.#refuse(socket, undefined)
      }
    }
    this.#dispatch.send(this.#index, socket, connection)
  }

  /** One of its connections has ended. */
  closed(): void {
    this.#closeOne()
    this.admission.release()
  }

  /** Counts it for the listener, or returns false if that has its share. */
  #tryOpen(): boolean {
    const { shared } = this.admission
    if (this.#openCount >= this.#connectionsMax) return false
    if (shared !== undefined && !shared.tryOpen(1 + this.#index, this.#connectionsMax)) return false
    this.#openCount += 1
    return true
  }

  #closeOne(): void {
    this.#openCount -= 1
    this.admission.shared?.close(1 + this.#index)
  }

  #refuse(socket: Socket, message: string | undefined): void {
    this.admission.refusedCount += 1
    if (message !== undefined) this.#log.error(message)
    cutConnection(socket)
  }
}

/** A connection that a worker has accepted, as far as its client's cap goes. */
export class ClaimedConnection implements TransferredConnection {
  readonly #admission: Admission
  readonly #client: string

  private constructor(admission: Admission, client: string) {
    this.#admission = admission
    this.#client = client
  }

  /** Counts it, or returns `undefined` if the client has its share. */
  static of(admission: Admission, client: string): ClaimedConnection | undefined {
    if (admission.clients?.tryAcquire(client) === false) return undefined
    return new ClaimedConnection(admission, client)
  }

  countClient(): boolean {
    return true
  }

  release(): void {
    this.#admission.clients?.release(this.#client)
  }
}

class CountedConnection implements TransferredConnection {
  readonly #endpoint: TransferEndpoint
  #client = ''

  constructor(endpoint: TransferEndpoint) {
    this.#endpoint = endpoint
  }

  countClient(client: string): boolean {
    if (this.#endpoint.admission.clients?.tryAcquire(client) === false) return false
    this.#client = client
    return true
  }

  release(): void {
    const { admission } = this.#endpoint
    this.#endpoint.closed()
    if (this.#client !== '') admission.clients?.release(this.#client)
  }
}
