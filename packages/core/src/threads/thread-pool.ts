import { type Channel, channel } from 'node:diagnostics_channel'
import type { ServerConfiguration } from '../configuration.ts'
import type { Logger } from '../logger.ts'
import type { ServerPhase } from '../server/server-phase.ts'
import type { ShutdownKind } from '../server/server-urgency.ts'
import type { Service } from '../server/service.ts'
import { ServiceDispatch } from './service-dispatch.ts'
import type { SharedHub, SharedTransport, WorkerAnswer } from './shared-state.ts'
import { workersOf } from './thread-entry.ts'
import type { ThreadInfo, ThreadMessage } from './thread-info.ts'
import { type LentListener, type ServiceCommand, type ToMain, toThreadError } from './thread-protocol.ts'
import { probeTransfer } from './transfer-probe.ts'
import { Watchdog } from './watchdog.ts'
import { shapeOf } from './worker-life.ts'
import { type TransferredConnection, WorkerThread, type WorkerThreadOwner } from './worker-thread.ts'

/** How long a worker may take from its start until the program calls `run()` or `runForever()`, in ms. */
const LOAD_TIMEOUT_MS: number = 60_000
/** Pause before a dead worker is replaced: the first, the longest, and how long one must live to start over. */
const RESTART_MS: number = 100
const RESTART_MS_MAX: number = 30_000
const RESTART_STABLE_MS: number = 60_000

/** What a {@link ThreadPool} needs of its server. */
export interface ThreadPoolOptions {
  readonly count: number
  readonly server: number
  readonly entry: string | URL
  readonly configuration: ServerConfiguration
  readonly logger: Logger
  readonly services: readonly Service[]
  readonly hub: SharedHub
  readonly onShutdown: (kind: ShutdownKind) => void
  readonly onReload: () => void
}

/** The place of one worker, whoever fills it. */
interface Seat {
  readonly thread: number
  worker: WorkerThread | undefined
  loaded: PromiseWithResolvers<void>
  deathCount: number
  deathsInARow: number
  stuckCount: number
  restart: NodeJS.Timeout | undefined
}

const threadChannel: Channel = channel('cirque:thread')

/** The worker threads of a server: starts them, has them follow the main thread, and replaces those that die. */
export class ThreadPool implements WorkerThreadOwner, SharedTransport {
  readonly #options: ThreadPoolOptions
  readonly #seats: Seat[]
  readonly #dispatches: readonly (ServiceDispatch | undefined)[]
  readonly #watchdog: Watchdog
  /** Services that have started, in that order, for workers that come later. */
  readonly #startedServices: number[] = []
  readonly #birthConfiguration: Partial<ServerConfiguration>
  /** Workers that run; kept at hand, as every connection asks for it. */
  #alive: readonly WorkerThread[] = []
  #phase: ServerPhase = 'bootstrap-complete'
  #generation = 1
  #state: 'starting' | 'running' | 'ending' = 'starting'

  constructor(options: ThreadPoolOptions) {
    this.#options = options
    const { count, services, configuration } = options
    this.#seats = Array.from({ length: count }, (_, index) => ({
      thread: index + 1,
      worker: undefined,
      loaded: Promise.withResolvers(),
      deathCount: 0,
      deathsInARow: 0,
      stuckCount: 0,
      restart: undefined,
    }))
    this.#dispatches = services.map((service, index) => {
      const workers = workersOf(service, configuration.threads)
      return workers === 0 ? undefined : new ServiceDispatch(index, workers, () => this.#alive)
    })
    this.#birthConfiguration = copyable(configuration)
    const { threadWatchdogSeconds, threadWatchdogReplaces } = configuration
    this.#watchdog = new Watchdog(threadWatchdogSeconds * 1000, {
      workers: () => this.#alive,
      onStuck: (worker, stuckMs) => this.#stuck(worker, stuckMs, threadWatchdogReplaces),
      onRecovered: (worker) => this.#recovered(worker),
    })
    options.hub.transport = this
    options.hub.isSealed = true
  }

  /**
   * Starts the workers. Resolves when all have loaded the program.
   *
   * @throws {Error} If this Node.js cannot move connections, or a worker failed: the message says which and why.
   */
  async start(): Promise<void> {
    await probeTransfer()
    for (const seat of this.#seats) this.#fill(seat)
    const late = Promise.withResolvers<never>()
    const timer = setTimeout(() => {
      const threads = this.#seats.filter(({ worker }) => worker === undefined).map(({ thread }) => thread)
      late.reject(new Error(`Worker threads ${threads} have not called run() within ${LOAD_TIMEOUT_MS} ms`))
    }, LOAD_TIMEOUT_MS)
    try {
      await Promise.race([late.promise, Promise.all(this.#seats.map(({ loaded }) => loaded.promise))])
    } finally {
      clearTimeout(timer)
    }
    for (const worker of this.#alive) this.#join(worker)
    this.#watchdog.start()
  }

  /** Starts a service in every worker that has a part for it. */
  async startService(index: number): Promise<void> {
    const service = this.#options.services[index]
    if (service?.startInWorker !== undefined) {
      await Promise.all(
        this.#alive.map((worker) =>
          worker.command(index, 'start').catch((cause: Error) => {
            throw failure(worker.thread, `service "${service.name}": ${cause.message}`, cause)
          }),
        ),
      )
    }
    this.#startedServices.push(index)
  }

  /** All is up: from here on a dead worker is replaced. */
  serve(): void {
    if (this.#state !== 'starting') return
    this.#state = 'running'
    for (const seat of this.#seats) if (seat.worker === undefined) this.#fill(seat)
  }

  /** Where a service of the main thread sends its connections; `undefined` if it serves them itself. */
  dispatch(index: number): ServiceDispatch | undefined {
    return this.#dispatches[index]
  }

  /** Has every worker do something with a service. Resolves when all have. Never rejects: failures are logged there. */
  async command(index: number, command: Exclude<ServiceCommand, 'start' | 'sync'>): Promise<void> {
    const service = this.#options.services[index]
    if (service?.startInWorker === undefined || !this.#startedServices.includes(index)) return
    if (command !== 'reload') {
      this.#stopReplacing()
      this.#dispatches[index]?.cutParked()
    }
    await Promise.all(
      this.#alive.map((worker) =>
        worker.command(index, command).catch((error: unknown) => {
          this.#options.logger.error('Service failed in a worker thread', {
            service: service.name,
            thread: worker.thread,
            command,
            error,
          })
        }),
      ),
    )
  }

  /** Resolves when every worker has done, or begun, what it was told before this call. */
  async sync(): Promise<void> {
    await Promise.all(this.#alive.map((worker) => worker.command(0, 'sync')))
  }

  /** Tells the workers where the server is in its life. */
  setPhase(phase: ServerPhase, generation: number): void {
    this.#phase = phase
    this.#generation = generation
    for (const worker of this.#alive) worker.post({ t: 'phase', phase, generation })
  }

  /** Lets all workers end; resolves when they have. */
  async end(): Promise<void> {
    this.#stopReplacing()
    this.#watchdog.stop()
    const exits = this.#seats.map(({ worker }) => worker?.exited)
    for (const { worker } of this.#seats) {
      if (worker?.isStuck === true) worker.terminate()
      else worker?.end()
    }
    await Promise.all(exits)
  }

  /** Ends all workers in the middle of what they do. */
  terminate(): void {
    for (const { worker } of this.#seats) worker?.terminate()
  }

  /** A snapshot. */
  get threads(): ThreadInfo[] {
    return this.#seats.map(({ thread, worker, deathCount, stuckCount }) => {
      worker?.collectEnded()
      return {
        thread,
        state:
          worker === undefined
            ? 'dead'
            : worker.isStuck
              ? 'stuck'
              : worker.isServing
                ? 'serving'
                : 'starting',
        openCount: worker?.openCount ?? 0,
        pendingCount: worker?.pendingCount ?? 0,
        deathCount,
        stuckCount,
      }
    })
  }

  // --- shared state ----------------------------------------------------------------------------

  publish(name: string, value: unknown): void {
    structuredClone(value) // for its error, even if there is no worker at this moment
    for (const worker of this.#alive) worker.post({ t: 'value', name, value })
  }

  ask(): Promise<unknown> {
    return Promise.reject(new Error('The main thread asks nobody')) // it answers itself, before it comes to this
  }

  async askWorkers(name: string, question: unknown, timeoutMs: number): Promise<WorkerAnswer[]> {
    const workers = this.#alive.filter(({ isStuck }) => !isStuck)
    const answers = await Promise.all(
      workers.map((worker) => this.#askOne(worker, name, question, timeoutMs)),
    )
    return answers.filter((answer) => answer !== undefined)
  }

  async #askOne(
    worker: WorkerThread,
    name: string,
    question: unknown,
    timeoutMs: number,
  ): Promise<WorkerAnswer | undefined> {
    const { thread } = worker
    try {
      const post = (id: number) => worker.post({ t: 'ask', id, name, question })
      return { thread, answer: await worker.questions.ask(post, timeoutMs, name) }
    } catch (error) {
      this.#options.logger.warn('A worker thread gave no answer', { name, thread, error })
      return undefined
    }
  }

  // --- workers ---------------------------------------------------------------------------------

  onLoaded(worker: WorkerThread, services: readonly string[]): void {
    const wanted = this.#options.services.map(shapeOf)
    const seat = this.#seatOf(worker)
    if (wanted.length !== services.length || wanted.some((shape, index) => shape !== services[index])) {
      worker.terminate(
        new Error(
          `it built the services [${services.join(', ')}] where the main thread has [${wanted.join(', ')}]`,
        ),
      )
    } else if (this.#state === 'running') {
      this.#catchUp(worker).catch((error: unknown) => worker.terminate(error as Error))
    } else seat?.loaded.resolve()
  }

  onClient(_worker: WorkerThread, service: number, client: string): TransferredConnection | undefined {
    const dispatch = this.#dispatches[service]
    dispatch?.collectEnded()
    return dispatch?.lender?.onClient(client)
  }

  onReturned(_worker: WorkerThread, service: number, lent: LentListener): void {
    const lender = this.#dispatches[service]?.lender
    if (lender === undefined) lent.server.close()
    else lender.onReturned(lent)
  }

  onAsk(worker: WorkerThread, id: number, name: string, question: unknown): void {
    void this.#options.hub
      .respond(name, question, worker.thread)
      .then((answer) => worker.post({ t: 'answer', id, answer }))
      .catch((error: unknown) => worker.post({ t: 'answer', id, error: toThreadError(error) }))
  }

  onMessage(_worker: WorkerThread, message: Extract<ToMain, { t: 'shutdown' | 'reload' }>): void {
    if (message.t === 'reload') this.#options.onReload()
    else this.#options.onShutdown(message.kind)
  }

  onExit(worker: WorkerThread, error: Error): void {
    const seat = this.#seatOf(worker)
    if (seat === undefined) return
    seat.worker = undefined
    this.#recount()
    for (const dispatch of this.#dispatches) dispatch?.forget(worker)
    if (this.#state === 'ending') return
    seat.deathCount += 1
    if (this.#state === 'starting') {
      seat.loaded.promise.catch(() => undefined)
      seat.loaded.reject(failure(seat.thread, error.message, error))
      return
    }
    const livedMs = performance.now() - worker.startedAt
    seat.deathsInARow = livedMs > RESTART_STABLE_MS ? 1 : seat.deathsInARow + 1
    const restartInMs = Math.min(RESTART_MS_MAX, RESTART_MS * 2 ** Math.min(seat.deathsInARow - 1, 16))
    this.#options.logger.error('Worker thread died', {
      thread: seat.thread,
      error,
      livedMs: Math.round(livedMs),
      deaths: seat.deathCount,
      restartInMs,
    })
    this.#tell(worker, 'died', error)
    seat.restart = setTimeout(() => this.#fill(seat), restartInMs)
  }

  #recount(): void {
    this.#alive = this.#seats.flatMap(({ worker }) => (worker?.isAlive === true ? [worker] : []))
  }

  /** What is not up by now will not be waited for. */
  #stopReplacing(): void {
    if (this.#state === 'ending') return
    this.#state = 'ending'
    for (const { worker, restart } of this.#seats) {
      clearTimeout(restart)
      if (worker?.isServing === false) worker.terminate()
    }
  }

  #seatOf(worker: WorkerThread): Seat | undefined {
    const seat = this.#seats[worker.thread - 1]
    return seat?.worker === worker ? seat : undefined
  }

  #fill(seat: Seat): void {
    const { entry, server, count, services, hub, configuration } = this.#options
    const { threadHeapMegabytes } = configuration
    seat.worker = new WorkerThread(
      {
        entry,
        argv: process.argv.slice(2),
        resourceLimits:
          threadHeapMegabytes === undefined ? {} : { maxOldGenerationSizeMb: threadHeapMegabytes },
        birth: {
          thread: seat.thread,
          threadCount: count,
          server,
          serviceCount: services.length,
          configuration: this.#birthConfiguration,
          buffers: hub.buffers,
          values: hub.values,
          heartbeatMs: this.#watchdog.heartbeatMs,
        },
      },
      this,
    )
    this.#recount()
  }

  /** Brings a worker that replaces another to where the others are. */
  async #catchUp(worker: WorkerThread): Promise<void> {
    worker.post({ t: 'phase', phase: this.#phase, generation: this.#generation })
    for (const index of this.#startedServices) {
      if (this.#options.services[index]?.startInWorker === undefined) continue
      await worker.command(index, 'start')
      this.#dispatches[index]?.introduce(worker)
    }
    if (this.#state !== 'running') return
    this.#join(worker)
    this.#options.logger.info('Worker thread replaced', { thread: worker.thread })
  }

  /** From now on it gets connections. */
  #join(worker: WorkerThread): void {
    worker.isServing = true
    this.#tell(worker, 'started', undefined)
    for (const dispatch of this.#dispatches) dispatch?.joined(worker)
  }

  #stuck(worker: WorkerThread, stuckMs: number, replaces: boolean): void {
    const seat = this.#seatOf(worker)
    if (seat !== undefined) seat.stuckCount += 1
    const { logger } = this.#options
    const report = (where: string | undefined) => {
      logger.error('Worker thread is stuck: its event loop does not turn', {
        thread: worker.thread,
        stuckMs: Math.round(stuckMs),
        openConnections: worker.openCount,
        ...(where === undefined ? {} : { where }),
        action: replaces ? 'replace' : 'none',
      })
    }
    this.#tell(worker, 'stuck', undefined)
    void worker
      .locate()
      .catch(() => undefined)
      .then((where) => {
        report(where)
        if (replaces && worker.isStuck) worker.terminate(new Error('The watchdog ended it'))
      })
  }

  #recovered(worker: WorkerThread): void {
    this.#options.logger.warn('Worker thread goes on', { thread: worker.thread })
    this.#tell(worker, 'recovered', undefined)
    for (const dispatch of this.#dispatches) dispatch?.flush()
  }

  #tell(worker: WorkerThread, event: ThreadMessage['event'], error: Error | undefined): void {
    if (!threadChannel.hasSubscribers) return
    const { thread, openCount } = worker
    threadChannel.publish({ thread, event, error, openCount } satisfies ThreadMessage)
  }
}

function failure(thread: number, reason: string, cause: Error): Error {
  return new Error(`Worker thread ${thread} failed to start: ${reason}`, { cause })
}

/** What of a configuration can be given to a worker: all of it, unless `app` was set in code to what cannot be copied. */
function copyable(configuration: ServerConfiguration): Partial<ServerConfiguration> {
  try {
    return structuredClone(configuration)
  } catch {
    const { app: _app, ...rest } = configuration
    return structuredClone(rest)
  }
}
