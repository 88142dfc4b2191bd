import { type Channel, channel } from 'node:diagnostics_channel'
import { createConfiguration, loadConfiguration } from '../configuration/configuration.ts'
import type { ServerConfiguration } from '../configuration/server-configuration.ts'
import { examineConfiguration } from '../doctor/files.ts'
import type { DoctorFinding } from '../doctor/finding.ts'
import { examineMachine } from '../doctor/machine.ts'
import { type Logger, threadLogger } from '../logger.ts'
import { rejectUnknown, requireLogger, requireModule } from '../option-checks.ts'
import { SharedHub, SharedState } from '../threads/shared-state.ts'
import { threadEntry, workersOf } from '../threads/thread-entry.ts'
import type { ThreadInfo } from '../threads/thread-info.ts'
import { ThreadPool } from '../threads/thread-pool.ts'
import { WorkerLife } from '../threads/worker-life.ts'
import { claimWorkerLink, isServingThread, type WorkerLink } from '../threads/worker-link.ts'
import { reportSuccession } from '../upgrade/successor.ts'
import type { ServerArguments } from './server-arguments.ts'
import { isDaemonChild, onLauncherGone, reportToLauncher } from './server-daemon.ts'
import { errandOf } from './server-errand.ts'
import { ServerLife } from './server-life.ts'
import { ServerLog } from './server-log.ts'
import { type RunOptions, readArguments, type ServerOptions } from './server-options.ts'
import type { ServerPhase } from './server-phase.ts'
import { ServerPhases } from './server-phases.ts'
import { reloadServer } from './server-reload.ts'
import { checkRuntime } from './server-runtime.ts'
import { installSignals } from './server-signals.ts'
import { type ShutdownKind, Urgency } from './server-urgency.ts'
import type { Service } from './service.ts'
import { ServiceGraph, type ServiceHandle } from './service-graph.ts'

const LINGER_MS: number = 3000

let serverCount = 0

/** What is published on the channel `cirque:phase`: graceful upgrades and shutdowns are phases. */
export interface PhaseMessage {
  readonly server: Server
  /** The phase that begins. */
  readonly phase: ServerPhase
}

const phaseChannel: Channel = channel('cirque:phase')

/**
 * Hosts services: starts them in the order of their dependencies, and ends them without losing work.
 *
 * A process may have several. The library never calls `process.exit`.
 *
 * @example
 * const server = new Server()      // reads -c, -d, -t and -u from the command line
 * server.addService(service)
 * await server.runForever()
 */
export class Server {
  /** Complete, checked and frozen. */
  readonly configuration: ServerConfiguration
  /** What the command line said. */
  readonly arguments: ServerArguments
  /** State that the threads of this server share: buffers, values that the main thread publishes, questions. */
  readonly shared: SharedState
  readonly #graph: ServiceGraph = new ServiceGraph()
  readonly #urgency: Urgency = new Urgency()
  readonly #phases: ServerPhases = new ServerPhases((phase) => this.#publish(phase))
  readonly #log: ServerLog
  readonly #base: ServerConfiguration
  readonly #entry: string | URL | undefined
  readonly #ordinal: number
  /** In a worker thread that serves for the server of the same place in the program's main thread. */
  readonly #link: WorkerLink | undefined
  readonly #hub: SharedHub
  #pool: ThreadPool | undefined
  #hasRun = false
  #life: ServerLife | undefined
  #workerGeneration = 1
  #reloading: Promise<void> | undefined

  /**
   * @throws {ServerArgumentsError} If the command line cannot be understood.
   * @throws {ConfigurationError} If a setting is wrong; it names all that are.
   */
  constructor(options: ServerOptions = {}) {
    rejectUnknown(options, ['argv', 'configuration', 'logger', 'entry'], 'the server')
    requireLogger('the server', options.logger)
    requireModule('entry of the server', options.entry)
    this.#ordinal = serverCount
    serverCount += 1
    this.#link = claimWorkerLink(this.#ordinal)
    this.#hub = this.#link?.hub ?? new SharedHub(0)
    this.shared = new SharedState(this.#hub, 'program ')
    this.#entry = options.entry
    this.arguments = readArguments(options)
    this.#base = createConfiguration(options.configuration)
    if (this.#link !== undefined) {
      this.configuration = Object.freeze({ ...this.#base, ...this.#link.birth.configuration })
    } else {
      const { conf } = this.arguments
      this.configuration = conf === undefined ? this.#base : loadConfiguration(conf, this.#base)
    }
    this.#log = new ServerLog(options.logger, this.configuration)
  }

  /** The logger that services get. */
  get logger(): Logger {
    return this.#log.logger
  }

  /** Where the server is in its life. */
  get phase(): ServerPhase {
    return this.#phases.current
  }

  /** 1, or one more than that of the server this one took over from. */
  get generation(): number {
    return this.#life?.generation ?? this.#workerGeneration
  }

  /** The thread that this is: 0 for the main one, from 1 for workers. */
  get thread(): number {
    return this.#hub.thread
  }

  /** The worker threads, as the main thread sees them. A snapshot; empty where there are none. */
  get threads(): readonly ThreadInfo[] {
    return this.#pool?.threads ?? []
  }

  /** Calls `listener` with every phase from now on, synchronously. Returns a function that ends that. */
  onPhase(listener: (phase: ServerPhase) => void): () => void {
    return this.#phases.listen(listener)
  }

  /** Resolves when every service is ready; rejects if the server ends before that. */
  whenRunning(): Promise<void> {
    return this.#phases.whenRunning(this.#urgency.level > 0)
  }

  /**
   * Adds a service.
   *
   * @returns Its handle, to make others wait for it or it for others.
   * @throws {Error} If the server has started or has this service already.
   */
  addService(service: Service): ServiceHandle {
    const handle = this.#graph.add(service)
    service.configure?.(this.configuration)
    return handle
  }

  /** Adds several services. */
  addServices(services: Iterable<Service>): ServiceHandle[] {
    return Array.from(services, (service) => this.addService(service))
  }

  /**
   * Asks the server to end; `run()` settles when it has. `'graceful'` lets work finish, within
   * `grace_period_seconds`; `'fast'` cuts it. Fast after graceful makes it fast; never the other way.
   */
  shutdown(kind: ShutdownKind = 'graceful'): void {
    if (kind !== 'graceful' && kind !== 'fast')
      throw new TypeError(`Unknown kind of shutdown "${String(kind)}"`)
    if (this.#link !== undefined) return void this.#link.post({ t: 'shutdown', kind }) // the main thread decides for all
    this.#urgency.raise(kind === 'fast' ? 2 : 1)
  }

  /**
   * Opens `error_log` again, and has every service read again what can change at run time; what SIGHUP does. The configuration file is checked,
   * and the log names the settings in it that only an upgrade or a restart applies. Never rejects: failures are
   * logged, and a file with mistakes changes nothing. A call while one runs waits for that one.
   */
  reload(): Promise<void> {
    if (this.#link !== undefined) {
      this.#link.post({ t: 'reload' })
      return Promise.resolve()
    }
    if (this.phase !== 'running') {
      this.logger.warn('Nothing was reloaded: the server is not running', { phase: this.phase })
      return Promise.resolve()
    }
    this.#reloading ??= reloadServer({
      logger: this.logger,
      conf: this.arguments.conf,
      configuration: this.configuration,
      base: this.#base,
      nodes: this.#graph.nodes,
      pool: this.#pool,
      log: this.#log,
    }).finally(() => {
      this.#reloading = undefined
    })
    return this.#reloading
  }

  /**
   * Looks for what an operator should change: Node.js and the machine, the configuration and its files, and what each
   * service says of itself. Starts nothing. `--doctor` prints it.
   */
  examine(): DoctorFinding[] {
    const services = this.#graph.nodes.flatMap(({ service }) => [...(service.examine?.() ?? [])])
    const { configuration } = this
    return [
      ...examineMachine(configuration),
      ...examineConfiguration(configuration, this.arguments.conf),
      ...services,
    ]
  }

  /**
   * Starts every service and resolves after shutdown: for embedding and tests. With `-t` it resolves at once.
   *
   * It installs no signal handlers unless asked to, and none for uncaught errors ever.
   *
   * @throws {Error} What made a service fail to start, after the others were ended; or if it was called before.
   */
  async run(options: RunOptions = {}): Promise<void> {
    if (isServingThread) return await this.#runInWorker(options)
    if (this.arguments.doctor === true)
      throw new Error('Only runForever() prints what the doctor says (--doctor)')
    const wantsDaemon = this.configuration.daemon || this.arguments.daemon
    if (wantsDaemon && !isDaemonChild()) throw new Error('Only runForever() can start a daemon')
    if (this.arguments.upgrade) throw new Error('Only runForever() can take over from a running server (-u)')
    try {
      await this.#run(options)
    } finally {
      this.#log.close()
    }
  }

  /**
   * Runs as the process's main program: handles signals, logs a failure and sets `process.exitCode` to 1 then,
   * and lets the process end by itself, as nothing of the server keeps it alive. With `-d` the
   * process that was started only launches the daemon, and it ends when the daemon is ready. With `--doctor` it prints
   * what `examine()` finds, and the exit status is 1 if an error is among it. With `-u` it starts
   * the successor of the running server, and it ends when that one has taken over.
   */
  async runForever(): Promise<void> {
    if (isServingThread) return await this.#runInWorker({})
    try {
      const errand = errandOf(this)
      if (errand === undefined) {
        onLauncherGone(() => this.shutdown('fast'))
        await this.#run({ signals: true })
      } else {
        this.#begin()
        await errand()
        this.#setPhase('terminated')
      }
    } catch (error) {
      this.logger.error('Server failed', { error })
      reportToLauncher({ error: (error as Error).message })
      await reportSuccession((error as Error).message)
      process.exitCode = 1
    }
    setTimeout(() => this.#reportLingering(), LINGER_MS).unref()
  }

  async #run(options: RunOptions): Promise<void> {
    this.#begin()
    const removeSignals = options.signals === true ? this.#installSignals() : undefined
    const unfollow = this.#follow(options.signal)
    try {
      this.#setPhase('bootstrap')
      if (this.arguments.test) {
        this.#log.answers.info('Configuration is valid', { file: this.arguments.conf ?? 'built in' })
        return
      }
      this.#bootstrap()
      this.#setPhase('bootstrap-complete')
      this.#pool = this.#makePool()
      this.#life = new ServerLife({
        configuration: this.configuration,
        logger: this.logger,
        nodes: this.#graph.nodes,
        urgency: this.#urgency,
        hub: this.#hub,
        pool: this.#pool,
        onPhase: (phase) => this.#setPhase(phase),
      })
      await this.#life.run()
    } finally {
      unfollow()
      removeSignals?.()
      this.#setPhase('terminated')
    }
  }

  /** In a worker: follows the main thread to the end. Servers that did not start this thread have no part in it. */
  async #runInWorker(options: RunOptions): Promise<void> {
    this.#begin()
    const link = this.#link
    if (link === undefined) return
    const unfollow = this.#follow(options.signal)
    try {
      this.#setPhase('bootstrap')
      this.#log.open()
      this.#setPhase('bootstrap-complete')
      const life = new WorkerLife({
        link,
        configuration: this.configuration,
        logger: threadLogger(this.logger, link.birth.thread),
        services: this.#graph.nodes.map(({ service }) => service),
        onReload: () => this.#log.reopen(),
        onPhase: (phase, generation) => {
          this.#workerGeneration = generation
          if (phase !== this.phase && phase !== 'terminated') this.#setPhase(phase)
        },
      })
      await life.run()
    } finally {
      unfollow()
      this.#setPhase('terminated')
      this.#log.close()
    }
  }

  /** Ends the server when the signal is aborted. Returns a function that ends that. */
  #follow(signal: AbortSignal | undefined): () => void {
    const onAbort = () => this.shutdown(signal?.reason === 'fast' ? 'fast' : 'graceful')
    signal?.addEventListener('abort', onAbort)
    if (signal?.aborted === true) onAbort()
    return () => signal?.removeEventListener('abort', onAbort)
  }

  #makePool(): ThreadPool | undefined {
    const services = this.#graph.nodes.map(({ service }) => service)
    const { configuration } = this
    const count = Math.max(0, ...services.map((service) => workersOf(service, configuration.threads)))
    if (count === 0) return undefined
    return new ThreadPool({
      count,
      server: this.#ordinal,
      entry: threadEntry(this.#entry),
      configuration,
      logger: this.logger,
      services,
      hub: this.#hub,
      onShutdown: (kind) => this.shutdown(kind),
      onReload: () => void this.reload(),
    })
  }

  #installSignals(): () => void {
    const log = this.#log
    return installSignals(this.#urgency, {
      get logger() {
        return log.logger
      },
      armUpgrade: () => this.#armUpgrade(),
      reload: () => this.reload(),
    })
  }

  #armUpgrade(): boolean {
    if (this.configuration.upgradeSock === undefined) return false
    this.logger.info('Signal received', { signal: 'SIGQUIT', action: 'hand over to the next new server' })
    this.#life?.armUpgrade()
    return true
  }

  #begin(): void {
    if (this.#hasRun) throw new Error('A server runs once')
    this.#hasRun = true
    this.#graph.seal()
  }

  #bootstrap(): void {
    const { workingDirectory } = this.configuration
    this.#log.open()
    if (workingDirectory !== undefined) process.chdir(workingDirectory)
    for (const finding of checkRuntime()) this.logger.warn(finding.message, { code: finding.code })
  }

  #setPhase(phase: ServerPhase): void {
    this.#phases.enter(phase, this.logger)
  }

  #publish(phase: ServerPhase): void {
    if (phaseChannel.hasSubscribers) phaseChannel.publish({ server: this, phase } satisfies PhaseMessage)
  }

  #reportLingering(): void {
    const resources = process.getActiveResourcesInfo()
    this.logger.warn('The server has ended but something keeps the process alive', { resources })
  }
}
