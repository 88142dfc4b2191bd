import type { Socket } from 'node:net'
import { COUNTERS_PER_SERVICE } from './thread-memory.ts'
import type { LentListener } from './thread-protocol.ts'
import type { TransferredConnection, WorkerThread } from './worker-thread.ts'

/**
 * Connections on their way count by sixteens: a worker that is behind by less is only waiting for a processor, and
 * passing it over would leave it with fewer clients for as long as they stay. One that does not move gets no more.
 */
const PENDING_SHIFT = 4

/** The service in the main thread, where workers accept themselves. */
export interface ServiceLender {
  /** A worker serves from now on. */
  onJoined(worker: WorkerThread): void
  /** A worker is gone. */
  onGone(worker: WorkerThread): void
  onReturned(lent: LentListener): void
  /** Counts a connection that a worker has accepted for its client; `undefined` if that has its share. */
  onClient(client: string): TransferredConnection | undefined
}

interface Parked {
  readonly listener: number
  readonly socket: Socket
  readonly connection: TransferredConnection
  readonly onClose: () => void
}

/**
 * Sends the connections of one service to its workers: each to the one that serves the fewest, unless more than a few
 * are on their way to it that it has not taken. While no worker can take any, they wait here; the service's caps bound how many.
 */
export class ServiceDispatch {
  /** Workers that serve the service. */
  readonly threadCount: number
  /** The place of the service among all. */
  readonly service: number
  lender: ServiceLender | undefined
  readonly #workers: () => readonly WorkerThread[]
  readonly #addresses: (string | undefined)[] = []
  readonly #parked: Set<Parked> = new Set()
  /** What workers that are gone had counted. */
  readonly #gone: number[] = new Array<number>(COUNTERS_PER_SERVICE).fill(0)
  #turn = 0

  constructor(service: number, threadCount: number, workers: () => readonly WorkerThread[]) {
    this.service = service
    this.threadCount = threadCount
    this.#workers = workers
  }

  /** A listener is bound: workers learn where. */
  listening(listener: number, address: string): void {
    this.#addresses[listener] = address
    for (const worker of this.#workers()) this.#introduce(worker, listener, address)
  }

  /** Tells a worker that came later of all listeners. */
  introduce(worker: WorkerThread): void {
    for (const [listener, address] of this.#addresses.entries()) {
      if (address !== undefined) this.#introduce(worker, listener, address)
    }
  }

  /** Moves a connection. The socket has not been read from, and has an `error` listener. */
  send(listener: number, socket: Socket, connection: TransferredConnection): void {
    const worker = this.#choose()
    if (worker !== undefined) worker.send(this.service, listener, socket, connection)
    else this.#park(listener, socket, connection)
  }

  /** Workers that take connections of the service. */
  serving(): WorkerThread[] {
    return this.#workers().filter(({ thread, isServing }) => isServing && thread <= this.threadCount)
  }

  /** A worker serves from now on. */
  joined(worker: WorkerThread): void {
    this.flush()
    if (worker.thread <= this.threadCount) this.lender?.onJoined(worker)
  }

  /** A worker can take connections again. */
  flush(): void {
    for (const parked of this.#parked) {
      const worker = this.#choose()
      if (worker === undefined) return
      this.#parked.delete(parked)
      parked.socket.off('close', parked.onClose)
      worker.send(this.service, parked.listener, parked.socket, parked.connection)
    }
  }

  /** Nobody will come for those that wait. */
  cutParked(): void {
    for (const { socket } of this.#parked) socket.destroy()
  }

  /** Takes note of the connections that workers have ended since. */
  collectEnded(): void {
    for (const worker of this.#workers()) worker.collectEnded()
  }

  /** What all workers have counted together; see `ThreadMemory`. */
  counter(counter: number): number {
    let sum = this.#gone[counter] ?? 0
    for (const worker of this.#workers()) sum += worker.memory.counter(this.service, counter)
    return sum
  }

  /** A worker is gone, and what it has counted stays counted. */
  forget(worker: WorkerThread): void {
    for (let counter = 0; counter < COUNTERS_PER_SERVICE; counter += 1) {
      this.#gone[counter] = (this.#gone[counter] ?? 0) + worker.memory.counter(this.service, counter)
    }
    this.lender?.onGone(worker)
  }

  #choose(): WorkerThread | undefined {
    const workers = this.#workers()
    let chosen: WorkerThread | undefined
    let fewest = 0
    this.#turn = (this.#turn + 1) | 0
    for (let step = 0; step < workers.length; step += 1) {
      const worker = workers[(step + (this.#turn >>> 0)) % workers.length]
      if (worker === undefined || worker.thread > this.threadCount) continue
      if (!worker.isServing || worker.isStuck) continue
      const pending = worker.pendingCount >> PENDING_SHIFT
      const isBetter =
        chosen === undefined ||
        pending < fewest ||
        (pending === fewest && worker.openCount < chosen.openCount)
      if (!isBetter) continue
      chosen = worker
      fewest = pending
    }
    return chosen
  }

  #park(listener: number, socket: Socket, connection: TransferredConnection): void {
    const parked: Parked = {
      listener,
      socket,
      connection,
      onClose: () => {
        this.#parked.delete(parked)
        connection.release()
      },
    }
    this.#parked.add(parked)
    socket.once('close', parked.onClose)
  }

  #introduce(worker: WorkerThread, listener: number, address: string): void {
    worker.post({ t: 'listening', service: this.service, listener, address })
  }
}
