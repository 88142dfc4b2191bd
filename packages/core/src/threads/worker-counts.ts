import type { Socket } from 'node:net'
import type { Admission } from '../listening/admission.ts'
import type { ConnectionCounts, IntakeEndpoint } from '../listening/connection-intake.ts'
import {
  COUNTER_ACCEPT_ERROR,
  COUNTER_ACCEPTED,
  COUNTER_HANDSHAKE_FAILED,
  COUNTER_PROXY_HEADER_FAILED,
  COUNTER_REFUSED,
} from './thread-memory.ts'
import type { WorkerConnections } from './worker-link.ts'

/**
 * Counts the connections of a service in a worker. Those that the main thread has sent are counted there, which
 * decides; those that the worker accepts itself are counted in memory that all threads have.
 */
export class WorkerCounts implements ConnectionCounts {
  readonly #own: Admission
  readonly #connections: WorkerConnections
  /** What the main thread knows a connection by. */
  readonly #ids: WeakMap<Socket, number> = new WeakMap()
  /** The listener of each connection that was accepted here. */
  readonly #accepted: WeakMap<Socket, number> = new WeakMap()
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

  /** A connection was accepted here. Returns which cap is reached, if one is. */
  accepted(socket: Socket, listener: number, listenerMax: number): 'service' | 'listener' | undefined {
    const own = this.#own
    const shared = own.shared
    own.acceptedCount += 1
    this.#connections.count(COUNTER_ACCEPTED)
    if (shared !== undefined && !shared.tryOpen(1 + listener, listenerMax)) return 'listener'
    if (!own.tryOpen()) {
      shared?.close(1 + listener)
      return 'service'
    }
    this.#accepted.set(socket, listener)
    this.#connections.changeAcceptedOpen(1)
    return undefined
  }

  /**
   * The main thread knows a client by the address of a connection that it accepts, and has counted that; not what a
   * header says, nor who comes here.
   */
  countsClients(endpoint: IntakeEndpoint, socket: Socket): boolean {
    if (this.#own.clients === undefined) return false
    return endpoint.proxyProtocol !== undefined || this.#accepted.has(socket)
  }

  countClient(socket: Socket, client: string, then: (ok: boolean) => void): void {
    if (this.#accepted.has(socket)) this.#ids.set(socket, this.#connections.newClaim())
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
    const listener = this.#accepted.get(socket)
    if (listener !== undefined) {
      this.#accepted.delete(socket)
      this.#own.release()
      this.#own.shared?.close(1 + listener)
      this.#connections.changeAcceptedOpen(-1)
    }
    const connection = this.#ids.get(socket)
    if (connection === undefined) return
    if (listener === undefined) this.#own.openCount -= 1
    this.#ids.delete(socket)
    this.#claims.delete(connection)
    this.#connections.ended(connection)
  }

  refused(): void {
    this.#own.refused()
    this.#connections.count(COUNTER_REFUSED)
  }

  acceptFailed(): void {
    this.#own.acceptErrorCount += 1
    this.#connections.count(COUNTER_ACCEPT_ERROR)
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
