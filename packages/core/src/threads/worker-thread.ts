import type { Socket } from 'node:net'
import { MessageChannel, type MessagePort, type ResourceLimits, Worker } from 'node:worker_threads'
import { Questions } from './questions.ts'
import { ThreadMemory } from './thread-memory.ts'
import {
  BIRTH_KEY,
  fromThreadError,
  type LentListener,
  type ServiceCommand,
  type ThreadBirth,
  type ToMain,
  type ToWorker,
} from './thread-protocol.ts'

/** A connection that a worker serves and the main thread counts. */
export interface TransferredConnection {
  /** Counts it for its client as well, or returns false if that has its share. */
  countClient(client: string): boolean
  /** It has ended, in whatever way. Called once. */
  release(): void
}

/** What a worker asks of the main thread. */
export interface WorkerThreadOwner {
  /** It has loaded the program, which built these services. */
  onLoaded(worker: WorkerThread, services: readonly string[]): void
  /** A client has connected to it; what counts the connection, or `undefined` if the client has its share. */
  onClient(worker: WorkerThread, service: number, client: string): TransferredConnection | undefined
  /** It gives a listening socket back. */
  onReturned(worker: WorkerThread, service: number, lent: LentListener): void
  onAsk(worker: WorkerThread, id: number, name: string, question: unknown): void
  onMessage(worker: WorkerThread, message: Extract<ToMain, { t: 'shutdown' | 'reload' }>): void
  /** It is gone. The error is why: what was thrown in it, that it said it failed, or only that it ended. */
  onExit(worker: WorkerThread, error: Error): void
}

/** Options of {@link WorkerThread}. */
export interface WorkerThreadOptions {
  readonly entry: string | URL
  readonly argv: readonly string[]
  readonly resourceLimits: ResourceLimits
  readonly birth: Omit<ThreadBirth, 'port' | 'memory'>
}

interface Pending {
  readonly resolve: () => void
  readonly reject: (error: Error) => void
  readonly isStart: boolean
}

/** How long a stuck worker is looked at, in ms; the second time if it got no turn on a busy machine in the first. */
const SAMPLES_MS: readonly number[] = [100, 900]

/** One worker thread, from its start to its end, as the main thread sees it. */
export class WorkerThread {
  readonly thread: number
  readonly memory: ThreadMemory
  readonly exited: Promise<void>
  /** Services start in it, and then it serves; set by its owner. */
  isServing = false
  /** Its event loop does not turn; set by the watchdog. */
  isStuck = false
  readonly questions: Questions = new Questions()
  readonly startedAt: number = performance.now()
  readonly #worker: Worker
  readonly #port: MessagePort
  readonly #owner: WorkerThreadOwner
  readonly #pending: Map<number, Pending> = new Map()
  readonly #open: Map<number, TransferredConnection> = new Map()
  /** Connections that it accepted itself, and that are counted for their client, by negative numbers. */
  readonly #claims: Map<number, TransferredConnection> = new Map()
  readonly #release = (connection: number): void => this.#releaseOne(connection)
  #lastId = 0
  #sent = 0
  #error: Error | undefined
  #isEnding = false
  #hasExited = false

  constructor(options: WorkerThreadOptions, owner: WorkerThreadOwner) {
    const { birth, entry, argv, resourceLimits } = options
    this.thread = birth.thread
    this.#owner = owner
    this.memory = new ThreadMemory(birth.serviceCount)
    const { port1, port2 } = new MessageChannel()
    this.#port = port1
    const whole: ThreadBirth = { ...birth, port: port2, memory: this.memory.buffer }
    this.#worker = new Worker(entry, {
      name: `worker ${birth.thread}`,
      argv: [...argv],
      workerData: { [BIRTH_KEY]: whole },
      transferList: [port2],
      resourceLimits,
    })
    const { promise, resolve } = Promise.withResolvers<void>()
    this.exited = promise
    port1.on('message', (message: ToMain) => this.#receive(message))
    port1.on('messageerror', (error) => this.#fail(error))
    this.#worker.on('error', (thrown: unknown) => {
      this.#fail(thrown instanceof Error ? thrown : new Error(String(thrown)))
    })
    this.#worker.once('exit', (code) => {
      this.#exit(code)
      resolve()
    })
  }

  /** Sockets on their way to it. */
  get pendingCount(): number {
    return (this.#sent - this.memory.received) | 0
  }

  /** Connections that it serves, or will. */
  get openCount(): number {
    return this.#open.size + this.memory.acceptedOpen
  }

  /** True until it ends, or is told to. */
  get isAlive(): boolean {
    return !this.#hasExited && !this.#isEnding
  }

  post(message: ToWorker): void {
    this.#port.postMessage(message)
  }

  /** Has it do something with a service. Resolves when that is done, or when the worker is gone; then a start rejects. */
  command(service: number, command: ServiceCommand): Promise<void> {
    if (this.#hasExited) return Promise.resolve()
    this.#lastId += 1
    const id = this.#lastId
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#pending.set(id, { resolve, reject, isStart: command === 'start' })
    this.post({ t: 'command', id, service, command })
    return promise
  }

  /** Moves a connection to the worker. The socket must not have been read from. */
  send(service: number, listener: number, socket: Socket, connection: TransferredConnection): void {
    this.#lastId = (this.#lastId + 1) & 0x7fff_ffff
    const id = this.#lastId
    try {
      const message: ToWorker = { t: 'socket', service, listener, connection: id, socket }
      this.#port.postMessage(message, [socket])
    } catch {
      // Its client has reset it already: there is no handle to move.
      socket.destroy()
      connection.release()
      return
    }
    this.#sent = (this.#sent + 1) | 0
    this.#open.set(id, connection)
  }

  /** Has it accept on a socket, until it is recalled. */
  lend(service: number, lent: LentListener): void {
    this.#port.postMessage({ t: 'lend', service, ...lent } satisfies ToWorker, [lent.server])
  }

  /** Takes note of the connections that have ended since. */
  collectEnded(): void {
    this.memory.takeEnded(this.#release)
  }

  /** Lets it end by itself: it serves nothing any more. */
  end(): void {
    if (!this.isAlive) return
    this.#isEnding = true
    this.post({ t: 'end' })
  }

  /** Ends it in the middle of whatever it does. */
  terminate(reason?: Error): void {
    this.#error ??= reason
    if (!this.#hasExited) void this.#worker.terminate()
  }

  /** Where it is, if its event loop does not turn: the function that is on its stack now, with its file and line. */
  async locate(): Promise<string | undefined> {
    for (const sampleMs of SAMPLES_MS) {
      const profile = await this.#worker.startCpuProfile()
      await new Promise((resolve) => setTimeout(resolve, sampleMs))
      if (this.#hasExited) return undefined
      const frame = busiestFrame(await profile.stop())
      if (frame !== undefined) return frame
    }
    return undefined
  }

  #receive(message: ToMain): void {
    switch (message.t) {
      case 'loaded':
        return void this.#owner.onLoaded(this, message.services)
      case 'failed':
        return void this.terminate(fromThreadError(message.error))
      case 'done': {
        const pending = this.#pending.get(message.id)
        this.#pending.delete(message.id)
        if (message.error === undefined) pending?.resolve()
        else pending?.reject(fromThreadError(message.error))
        return
      }
      case 'client': {
        const ok =
          message.connection < 0
            ? this.#claim(message)
            : (this.#open.get(message.connection)?.countClient(message.client) ?? false)
        return void this.post({ t: 'admitted', connection: message.connection, ok })
      }
      case 'returned':
        return void this.#owner.onReturned(this, message.service, message)
      case 'ended':
        return void message.connections.forEach(this.#release)
      case 'ask':
        return void this.#owner.onAsk(this, message.id, message.name, message.question)
      case 'answer':
        return void this.questions.receive(message)
      default:
        return void this.#owner.onMessage(this, message)
    }
  }

  #releaseOne(connection: number): void {
    const connections = connection < 0 ? this.#claims : this.#open
    const open = connections.get(connection)
    if (!connections.delete(connection)) return
    open?.release()
  }

  #claim({ connection, service, client }: Extract<ToMain, { t: 'client' }>): boolean {
    const claim = this.#owner.onClient(this, service, client)
    if (claim !== undefined) this.#claims.set(connection, claim)
    return claim !== undefined
  }

  #fail(error: Error): void {
    this.#error ??= error
  }

  #exit(code: number): void {
    this.#hasExited = true
    this.isServing = false
    const error = this.#error ?? new Error(`It ended by itself, with status ${code}`)
    this.collectEnded()
    for (const connection of [...this.#open.keys(), ...this.#claims.keys()]) this.#releaseOne(connection)
    this.questions.fail(error)
    for (const pending of this.#pending.values()) {
      if (pending.isStart) pending.reject(error)
      else pending.resolve()
    }
    this.#pending.clear()
    this.#port.close()
    this.#owner.onExit(this, error)
  }
}

interface ProfileNode {
  readonly hitCount?: number
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number }
}

/** The frame of a CPU profile with the most samples. */
function busiestFrame(profile: string): string | undefined {
  const { nodes } = JSON.parse(profile) as { readonly nodes: readonly ProfileNode[] }
  let busiest: ProfileNode | undefined
  for (const node of nodes) {
    if (node.callFrame.url !== '' && (node.hitCount ?? 0) > (busiest?.hitCount ?? 0)) busiest = node
  }
  if (busiest === undefined) return undefined
  const { functionName, url, lineNumber } = busiest.callFrame
  return `${functionName === '' ? '(anonymous)' : functionName} (${url}:${lineNumber + 1})`
}
