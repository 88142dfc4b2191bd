import type { Server, Socket } from 'node:net'
import type { Address } from '../address.ts'
import type { Logger } from '../logger.ts'
import type { ExportedListener, InheritedListener, InheritedListeners } from '../server/service.ts'
import type { ServiceDispatch } from '../threads/service-dispatch.ts'
import type { LentListener } from '../threads/thread-protocol.ts'
import type { WorkerThread } from '../threads/worker-thread.ts'
import { Listener } from './listener.ts'

/** How long workers may take to give their sockets back, in ms: one that is slower is stuck. */
const RECALL_TIMEOUT_MS: number = 3_000

/** What becomes of what the sockets of one address accept in this thread. */
export interface PartHandlers {
  readonly onConnection: (socket: Socket) => void
  readonly onError: (error: Error) => void
}

interface Part {
  readonly number: number
  listener: Listener
  /** The worker that accepts on it; undefined: this thread does. */
  holder: WorkerThread | undefined
  /** Its holder died, and it with it. */
  isLost: boolean
}

/**
 * The sockets of one TCP address, where there may be more than one: with `reusePort` and worker threads one for each
 * worker, and in a successor as many as its predecessor had.
 *
 * All are bound, inherited and handed over in the main thread, which lends them to the workers and gets them back for
 * an upgrade. What is not lent is accepted in the main thread, and dispatched: so a socket is never closed to
 * change hands, which would reset the connections in its queue.
 */
export class ListenerParts {
  readonly #index: number
  readonly #first: Listener
  readonly #handlers: PartHandlers
  readonly #dispatch: ServiceDispatch | undefined
  readonly #logger: Logger
  readonly #parts: Part[]
  readonly #lends: boolean
  readonly #shutdown: AbortSignal
  #lastNumber = 0
  #state: 'shared' | 'recalled' | 'closed' = 'recalled'
  #recall: PromiseWithResolvers<void> | undefined

  /** @param first - It is open. */
  constructor(
    index: number,
    first: Listener,
    handlers: PartHandlers,
    dispatch: ServiceDispatch | undefined,
    context: { readonly logger: Logger; readonly shutdown: AbortSignal },
  ) {
    this.#index = index
    this.#first = first
    this.#handlers = handlers
    this.#dispatch = dispatch
    this.#logger = context.logger
    this.#shutdown = context.shutdown
    this.#lends = dispatch !== undefined && first.plan.reusePort
    this.#parts = [{ number: 0, listener: first, holder: undefined, isLost: false }]
  }

  /** Takes the rest of what a predecessor had at this address, binds what is missing, and lends. */
  async complete(key: string, inherited: InheritedListeners | undefined): Promise<void> {
    const address = this.#first.address
    if (address === undefined) return
    if (inherited !== undefined) {
      for (let number = 1; ; number += 1) {
        const one = await inherited.take(partKey(key, number, address))
        if (one === undefined) break
        await this.#adopt(this.#add(), one)
      }
    }
    if (!this.#lends || this.#dispatch === undefined) return
    try {
      while (this.#parts.length < this.#dispatch.threadCount) {
        await this.#bind(this.#add(), inherited === undefined)
      }
    } catch (error) {
      this.#parts.pop()
      if (inherited === undefined) throw error
      // The socket that was inherited is not of the kind that shares its port, and cannot become so.
      this.#logger.warn('reusePort takes effect after a restart: until then the main thread accepts', {
        address: address.text,
        error,
      })
    }
    this.share()
  }

  /**
   * Lends each worker the same number of sockets. If there are too few for all, nobody gets any; those beyond stay
   * here, where what they accept is spread.
   */
  share(): void {
    const dispatch = this.#dispatch
    if (!this.#lends || dispatch === undefined || this.#state === 'closed') return
    this.#state = 'shared'
    const quota = Math.floor(this.#parts.length / dispatch.threadCount)
    for (const worker of dispatch.serving()) {
      let count = this.#parts.filter(({ holder }) => holder === worker).length
      for (const part of this.#parts) {
        if (count >= quota) break
        if (part.holder !== undefined || part.isLost) continue
        const server = part.listener.detach()
        if (server === undefined) continue
        part.holder = worker
        count += 1
        worker.lend(dispatch.service, { listener: this.#index, part: part.number, server })
      }
    }
  }

  /**
   * Gets all sockets back, for {@link exported}. Until {@link share} none is lent.
   *
   * @throws {Error} If a worker does not give them.
   */
  async recall(): Promise<void> {
    if (this.#state !== 'shared') return
    this.#state = 'recalled'
    if (this.#isWhole) return
    const recall = Promise.withResolvers<void>()
    this.#recall = recall
    for (const worker of new Set(this.#parts.map(({ holder }) => holder))) {
      worker?.post({ t: 'recall', service: this.#dispatch?.service ?? 0 })
    }
    const timer = setTimeout(() => {
      const threads = this.#parts.flatMap(({ holder }) => holder?.thread ?? [])
      recall.reject(
        new Error(`Worker thread ${threads.join(', ')} did not give its listener back: it is stuck`),
      )
    }, RECALL_TIMEOUT_MS)
    try {
      await recall.promise
    } finally {
      clearTimeout(timer)
      this.#recall = undefined
    }
  }

  /** A worker has given a socket back. */
  returned({ part: number, server }: LentListener): void {
    const part = this.#parts.find((one) => one.number === number)
    if (part?.holder === undefined || this.#state === 'closed') return void server.close()
    part.holder = undefined
    part.listener = this.#make()
    // It accepts from this turn on, and is open a little later.
    this.#adopt(part, inPassing(server)).then(
      () => {
        if (this.#state === 'shared') return void this.share() // too late for a recall that was given up
        if (this.#isWhole) this.#recall?.resolve()
      },
      (error: unknown) => {
        if (this.#state !== 'closed') this.#logger.error('Cannot accept on a listener of a worker', { error })
      },
    )
  }

  /** A worker is gone, and so are the sockets it had. New ones are accepted on here until another has come. */
  gone(worker: WorkerThread): void {
    for (const part of this.#parts) {
      if (part.holder !== worker) continue
      part.holder = undefined
      part.isLost = true
    }
    if (this.#isWhole) this.#recall?.resolve()
    this.#replaceLost()
  }

  /** A worker has come. */
  joined(): void {
    if (this.#state === 'shared') this.share()
  }

  /** The upgrade for which they were recalled has failed. */
  resume(): void {
    if (this.#state !== 'recalled') return
    this.share()
    this.#replaceLost()
  }

  /** Those that this thread has. After `recall()` these are all. */
  exported(key: string): ExportedListener[] {
    const address = this.#first.address
    const open = this.#parts.filter(({ listener }) => listener.isOpen)
    return open.flatMap(({ listener }, at) => {
      const own = at === 0 || address === undefined ? key : partKey(key, at, address)
      return listener.exported(own) ?? []
    })
  }

  /** Closes those that this thread has; workers are told to close theirs. */
  close(): void {
    this.#state = 'closed'
    for (const { listener } of this.#parts) listener.close()
  }

  get #isWhole(): boolean {
    return this.#parts.every(({ listener, isLost }) => isLost || listener.isOpen)
  }

  /** During an upgrade nothing new is bound: the successor would not get it. */
  #replaceLost(): void {
    if (this.#state !== 'shared') return
    for (const part of this.#parts) {
      if (!part.isLost) continue
      this.#bind(part, true).then(
        () => {
          if (this.#state !== 'shared') return void part.listener.close()
          part.isLost = false
          this.share()
        },
        (error: unknown) => {
          if (this.#state !== 'closed')
            this.#logger.error('A listener of a dead worker thread is lost', { error })
        },
      )
    }
  }

  #add(): Part {
    this.#lastNumber += 1
    const part = { number: this.#lastNumber, listener: this.#make(), holder: undefined, isLost: false }
    this.#parts.push(part)
    return part
  }

  #make(attemptsMax: number = 1): Listener {
    const { plan, address } = this.#first
    const listener = new Listener({ ...plan, address: address ?? plan.address, bindAttemptsMax: attemptsMax })
    listener.transfers = this.#first.transfers
    return listener
  }

  async #bind(part: Part, isPatient: boolean): Promise<void> {
    part.listener = this.#make(isPatient ? this.#first.plan.bindAttemptsMax : 1)
    const { onConnection, onError } = this.#handlers
    await part.listener.open(this.#logger, this.#shutdown, onConnection, onError)
  }

  async #adopt(part: Part, inherited: InheritedListener): Promise<void> {
    const { onConnection, onError } = this.#handlers
    await part.listener.adopt(inherited, () => undefined, onConnection, onError)
  }
}

/** A socket that comes from another thread. */
export function inPassing(server: Server): InheritedListener {
  return {
    key: '',
    source: server,
    datagrams: [],
    accepted: [],
    isForeign: false,
    isOwn: () => true,
    setBacklog: () => undefined,
  }
}

const PART: RegExp = / part \d+ at \d+$/

/** What a successor knows the second and further sockets of a listener by. */
function partKey(key: string, number: number, address: Address): string {
  return `${key} part ${number} at ${address.kind === 'tcp' ? address.port : 0}`
}

/** The key of the listener that a socket is a part of. */
export function wholeKey(key: string): string {
  return key.replace(PART, '')
}
