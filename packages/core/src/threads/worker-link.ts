import type { Socket } from 'node:net'
import { isMainThread, MessagePort, workerData } from 'node:worker_threads'
import { Questions } from './questions.ts'
import { SharedHub, type SharedTransport, type WorkerAnswer } from './shared-state.ts'
import { ThreadMemory } from './thread-memory.ts'
import {
  BIRTH_KEY,
  type LentListener,
  type ThreadBirth,
  type ToMain,
  type ToWorker,
  toThreadError,
} from './thread-protocol.ts'

/** What a service of a worker learns of its listeners, and gets its connections from. */
export interface WorkerConnections {
  /** Says who takes what comes. Called at most once, while the service starts. */
  attach(receiver: WorkerReceiver): void
  /** A connection that was received has ended. */
  ended(connection: number): void
  /** A number for a connection that was accepted here, for `claimClient` and `ended`. */
  newClaim(): number
  /** Asks the main thread to count a connection for its client. `admitted` of the receiver has the answer. */
  claimClient(connection: number, client: string): void
  /** Counts what the main thread sums up over all workers; see `ThreadMemory`. */
  count(counter: number): void
  /** A connection that was accepted here is open, or closed again. */
  changeAcceptedOpen(by: 1 | -1): void
  /** Posts a socket back that the main thread has lent. */
  giveBack(lent: LentListener): void
}

/** Who takes what the main thread sends to a service. */
export interface WorkerReceiver {
  onListening(listener: number, address: string): void
  onSocket(listener: number, socket: Socket, connection: number): void
  /** A socket to accept on, until `onRecall`. */
  onLent(lent: LentListener): void
  onRecall(): void
  /** The answer to `claimClient`: whether the client may have this connection. */
  onAdmitted(connection: number, ok: boolean): void
}

const birth: ThreadBirth | undefined = readBirth()

function readBirth(): ThreadBirth | undefined {
  if (isMainThread) return undefined
  const found = (workerData as { readonly [BIRTH_KEY]?: ThreadBirth } | null | undefined)?.[BIRTH_KEY]
  return found?.port instanceof MessagePort ? found : undefined
}

/** True in a thread that a server has started to serve in. */
export const isServingThread: boolean = birth !== undefined

let isClaimed = false

/**
 * The way of a worker to the main thread, for the server that started it. Others that the program constructs, in
 * this thread as in the main one, have nothing to do here.
 */
export function claimWorkerLink(server: number): WorkerLink | undefined {
  if (birth === undefined || isClaimed || birth.server !== server) return undefined
  isClaimed = true
  return new WorkerLink(birth)
}

/** A worker's end of the line. */
export class WorkerLink implements SharedTransport {
  readonly birth: ThreadBirth
  readonly hub: SharedHub
  readonly #memory: ThreadMemory
  readonly #questions: Questions = new Questions()
  readonly #receivers: Map<number, WorkerReceiver> = new Map()
  /** The services that asked about a connection's client. */
  readonly #claims: Map<number, WorkerReceiver> = new Map()
  #heartbeat: NodeJS.Timeout | undefined
  #unsentEnds: number[] | undefined
  #lastClaim = 0
  #onOther: ((message: ToWorker) => void) | undefined

  constructor(birth: ThreadBirth) {
    this.birth = birth
    this.#memory = new ThreadMemory(birth.serviceCount, birth.memory)
    this.hub = new SharedHub(birth.thread, birth.buffers, birth.values)
    this.hub.transport = this
  }

  /** Takes messages from now on; those that are not about connections or shared state go to `onOther`. */
  open(onOther: (message: ToWorker) => void): void {
    this.#onOther = onOther
    this.birth.port.on('message', (message: ToWorker) => this.#receive(message))
    const { heartbeatMs } = this.birth
    if (heartbeatMs > 0) this.#heartbeat = setInterval(() => this.#memory.beat(), heartbeatMs)
  }

  close(): void {
    clearInterval(this.#heartbeat)
    this.birth.port.close()
    this.#questions.fail(new Error('This worker thread ends'))
  }

  post(message: ToMain): void {
    this.birth.port.postMessage(message)
  }

  /** The connections of one service. */
  connections(service: number): WorkerConnections {
    return {
      attach: (receiver) => void this.#receivers.set(service, receiver),
      ended: (connection) => this.#end(connection),
      claimClient: (connection, client) => {
        const receiver = this.#receivers.get(service)
        if (receiver !== undefined) this.#claims.set(connection, receiver)
        this.post({ t: 'client', connection, service, client })
      },
      count: (counter) => this.#memory.count(service, counter),
      newClaim: () => {
        this.#lastClaim = this.#lastClaim <= -0x7fff_ffff ? -1 : this.#lastClaim - 1
        return this.#lastClaim
      },
      changeAcceptedOpen: (by) => this.#memory.changeAcceptedOpen(by),
      giveBack: (lent) =>
        this.birth.port.postMessage({ t: 'returned', service, ...lent } satisfies ToMain, [lent.server]),
    }
  }

  publish(name: string): void {
    throw new Error(`Only the main thread sets the shared value "${name}"`)
  }

  ask(name: string, question: unknown, timeoutMs: number): Promise<unknown> {
    return this.#questions.ask((id) => this.post({ t: 'ask', id, name, question }), timeoutMs, name)
  }

  askWorkers(): Promise<WorkerAnswer[]> {
    return Promise.reject(new Error('Only the main thread asks the workers'))
  }

  #receive(message: ToWorker): void {
    switch (message.t) {
      case 'socket':
        return void this.#receiveSocket(message)
      case 'listening':
        return void this.#receivers.get(message.service)?.onListening(message.listener, message.address)
      case 'lend':
        return void this.#lent(message)
      case 'recall':
        return void this.#receivers.get(message.service)?.onRecall()
      case 'admitted': {
        const receiver = this.#claims.get(message.connection)
        this.#claims.delete(message.connection)
        return void receiver?.onAdmitted(message.connection, message.ok)
      }
      case 'value':
        return void this.hub.receive(message.name, message.value)
      case 'ask':
        return void this.#respond(message.id, message.name, message.question)
      case 'answer':
        return void this.#questions.receive(message)
      default:
        return void this.#onOther?.(message)
    }
  }

  #receiveSocket({ service, listener, connection, socket }: Extract<ToWorker, { t: 'socket' }>): void {
    this.#memory.receive()
    socket.on('error', ignore) // from the first moment: a reset must not be an uncaught error
    const receiver = this.#receivers.get(service)
    if (receiver !== undefined) return void receiver.onSocket(listener, socket, connection)
    socket.destroy()
    this.#end(connection)
  }

  #lent(message: Extract<ToWorker, { t: 'lend' }>): void {
    const receiver = this.#receivers.get(message.service)
    if (receiver === undefined) message.server.close()
    else receiver.onLent(message)
  }

  #end(connection: number): void {
    this.#claims.delete(connection)
    // The main thread must not hear of the end of a claim before the claim itself, which is a message.
    if (connection > 0 && this.#memory.end(connection)) return
    if (this.#unsentEnds === undefined) {
      this.#unsentEnds = []
      setImmediate(() => {
        const connections = this.#unsentEnds ?? []
        this.#unsentEnds = undefined
        this.post({ t: 'ended', connections })
      })
    }
    this.#unsentEnds.push(connection)
  }

  #respond(id: number, name: string, question: unknown): void {
    void this.hub
      .respond(name, question, 0)
      .then((answer) => this.post({ t: 'answer', id, answer }))
      .catch((error: unknown) => this.post({ t: 'answer', id, error: toThreadError(error) }))
  }
}

function ignore(): void {}
