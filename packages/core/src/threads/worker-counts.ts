import type { Socket } from 'node:net'
import type { Admission } from '../admission.ts'
import type { ConnectionCounts } from '../connection-intake.ts'
import type { ServingEndpoint } from '../serving-endpoint.ts'
import { COUNTER_HANDSHAKE_FAILED, COUNTER_PROXY_HEADER_FAILED, COUNTER_REFUSED } from './thread-memory.ts'
import type { WorkerConnections } from './worker-link.ts'

/** Counts the connections of a service in a worker: for itself, and in the main thread, which decides. */
export class WorkerCounts implements ConnectionCounts {
  readonly #own: Admission
  readonly #connections: WorkerConnections
  readonly #ids: Map<Socket, number> = new Map()
  readonly #claims: Map<number, (ok: boolean) => void> = new Map()

  constructor(own: Admission, connections: WorkerConnections) {
    this.#own = own
    this.#connections = connections
  }

  /** A connection has come from the main thread, which has counted it. */
  received(socket: Socket, connection: number): void {
    this.#own.acceptedCount += 1
    this.#own.openCount += 1
    this.#ids.set(socket, connection)
  }

  /** The main thread knows a client by the address of its connection, and has counted that; not what a header says. */
  countsClients(endpoint: ServingEndpoint): boolean {
    return this.#own.clients !== undefined && endpoint.proxyProtocol !== undefined
  }

  countClient(socket: Socket, client: string, then: (ok: boolean) => void): void {
    const connection = this.#ids.get(socket)
    if (connection === undefined) return void then(false)
    this.#claims.set(connection, then)
    this.#connections.claimClient(connection, client)
  }

  admitted(connection: number, ok: boolean): void {
    const then = this.#claims.get(connection)
    this.#claims.delete(connection)
    then?.(ok)
  }

  closed(socket: Socket): void {
    const connection = this.#ids.get(socket)
    if (connection === undefined) return
    this.#own.openCount -= 1
    this.#ids.delete(socket)
    this.#claims.delete(connection)
    this.#connections.ended(connection)
  }

  refused(): void {
    this.#own.refused()
    this.#connections.count(COUNTER_REFUSED)
  }

  handshakeFailed(): void {
    this.#own.handshakeFailed()
    this.#connections.count(COUNTER_HANDSHAKE_FAILED)
  }

  proxyHeaderFailed(): void {
    this.#own.proxyHeaderFailed()
    this.#connections.count(COUNTER_PROXY_HEADER_FAILED)
  }
}
