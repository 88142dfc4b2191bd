import type { Socket } from 'node:net'
import type { SharedCounts } from '../threads/shared-counts.ts'
import type { ConnectionCounts } from './connection-intake.ts'
import { ClientCounts } from './listener-limits.ts'

/** The connections of a service and its caps: all listeners, and all threads, count here. */
export class Admission implements ConnectionCounts {
  connectionsMax: number
  /** Undefined: clients have no cap. */
  clients: ClientCounts | undefined
  /** Other threads accept, too: the cap of the service is for all together. */
  shared: SharedCounts | undefined
  acceptedCount = 0
  refusedCount = 0
  openCount = 0
  handshakeFailedCount = 0
  acceptErrorCount = 0
  proxyHeaderFailedCount = 0
  /** The clients of connections that this thread serves, if they are counted. */
  readonly #clientOf: WeakMap<Socket, string> = new WeakMap()

  constructor(connectionsMax: number, connectionsPerIpMax: number) {
    this.connectionsMax = connectionsMax
    this.clients = clientCounts(connectionsPerIpMax)
  }

  /** Sets other caps, before the first connection. */
  setCaps(connectionsMax: number, connectionsPerIpMax: number): void {
    this.connectionsMax = connectionsMax
    this.clients = clientCounts(connectionsPerIpMax)
  }

  /** Open connections of all threads. */
  get openCountOfAll(): number {
    return this.shared?.sum(0) ?? this.openCount
  }

  /** Counts one more open connection, or returns false if there are too many. */
  tryOpen(): boolean {
    if (this.shared === undefined) {
      if (this.openCount >= this.connectionsMax) return false
    } else if (!this.shared.tryOpen(0, this.connectionsMax)) return false
    this.openCount += 1
    return true
  }

  /** Gives back what `tryOpen` counted. */
  release(): void {
    this.openCount -= 1
    this.shared?.close(0)
  }

  countsClients(): boolean {
    return this.clients !== undefined
  }

  countClient(socket: Socket, client: string, then: (ok: boolean) => void): void {
    const ok = this.clients?.tryAcquire(client) ?? true
    if (ok) this.#clientOf.set(socket, client)
    then(ok)
  }

  closed(socket: Socket): void {
    this.release()
    if (this.clients === undefined) return
    const client = this.#clientOf.get(socket)
    if (client === undefined) return
    this.#clientOf.delete(socket)
    this.clients.release(client)
  }

  refused(): void {
    this.refusedCount += 1
  }

  handshakeFailed(): void {
    this.handshakeFailedCount += 1
  }

  proxyHeaderFailed(): void {
    this.proxyHeaderFailedCount += 1
  }
}

function clientCounts(connectionsPerIpMax: number): ClientCounts | undefined {
  return connectionsPerIpMax === 0 ? undefined : new ClientCounts(connectionsPerIpMax)
}
