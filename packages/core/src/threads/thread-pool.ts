import type { ServerConfiguration } from '../configuration/server-configuration.ts'
import type { Logger } from '../logger.ts'
import type { ServerPhase } from '../server/server-phase.ts'
import type { ShutdownKind } from '../server/server-urgency.ts'
import type { Service } from '../server/service.ts'
import { ServiceDispatch } from './service-dispatch.ts'
import type { SharedHub } from './shared-state.ts'
import { workersOf } from './thread-entry.ts'
import type { ThreadInfo } from './thread-info.ts'
import { type LentListener, type ServiceCommand, type ToMain, toThreadError } from './thread-protocol.ts'
import { probeTransfer } from './transfer-probe.ts'
import { Watchdog } from './watchdog.ts'
import { shapeOf } from './worker-life.ts'
import { WorkerReports } from './worker-reports.ts'
import { WorkerSeat } from './worker-seat.ts'
import { type TransferredConnection, WorkerThread, type WorkerThreadOwner } from './worker-thread.ts'
import { WorkerTransport } from './worker-transport.ts'

/** How long a worker may take from its start until the program calls `run()` or `runForever()`, in ms. */
const LOAD_TIMEOUT_MS: number = 60_000

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

/** The worker threads of a server: starts them, has them follow the main thread, and replaces those that die. */
export class ThreadPool implements WorkerThreadOwner {
  readonly #options: ThreadPoolOptions
  readonly #seats: readonly WorkerSeat[]
  readonly #reports: WorkerReports
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
    const { count, services, configuration, logger, hub } = options
    this.#reports = new WorkerReports(logger)
    this.#seats = Array.from({ length: count }, (_, index) => new WorkerSeat(index + 1))
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
    hub.transport = new WorkerTransport(() => this.#alive, logger)
    hub.isSealed = true
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
    return this.#seats.map(({ info }) => info)
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
    const restartInMs = seat.restartPauseMs(livedMs)
    this.#reports.died(worker, error, livedMs, seat.deathCount, restartInMs)
    seat.restartIn(restartInMs, () => this.#fill(seat))
  }

  #recount(): void {
    this.#alive = this.#seats.flatMap(({ worker }) => (worker?.isAlive === true ? [worker] : []))
  }

  /** What is not up by now will not be waited for. */
  #stopReplacing(): void {
    if (this.#state === 'ending') return
    this.#state = 'ending'
    for (const seat of this.#seats) seat.retire()
  }

  #seatOf(worker: WorkerThread): WorkerSeat | undefined {
    const seat = this.#seats[worker.thread - 1]
    return seat?.worker === worker ? seat : undefined
  }

  #fill(seat: WorkerSeat): void {
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
    this.#reports.replaced(worker)
  }

  /** From now on it gets connections. */
  #join(worker: WorkerThread): void {
    worker.isServing = true
    this.#reports.started(worker)
    for (const dispatch of this.#dispatches) dispatch?.joined(worker)
  }

  #stuck(worker: WorkerThread, stuckMs: number, replaces: boolean): void {
    const seat = this.#seatOf(worker)
    if (seat !== undefined) seat.stuckCount += 1
    void this.#reports.stuck(worker, stuckMs, replaces ? 'replace' : 'none').then(() => {
      if (replaces && worker.isStuck) worker.terminate(new Error('The watchdog ended it'))
    })
  }

  #recovered(worker: WorkerThread): void {
    this.#reports.recovered(worker)
    for (const dispatch of this.#dispatches) dispatch?.flush()
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
