import {
  type ConfigurationInput,
  createConfiguration,
  loadConfiguration,
  type ServerConfiguration,
} from './configuration.ts'
import { type FileLogger, type Logger, openFileLogger, stderrLogger } from './logger.ts'
import { parseServerArguments, type ServerArguments } from './server-arguments.ts'
import { isDaemonChild, launchDaemon, onLauncherGone, reportToLauncher } from './server-daemon.ts'
import type { ServerPhase } from './server-phase.ts'
import { dropPrivileges, removePidFile, writePidFile } from './server-process.ts'
import { checkRuntime } from './server-runtime.ts'
import { installSignals } from './server-signals.ts'
import { type ShutdownKind, Urgency, waitFor } from './server-urgency.ts'
import type { Service } from './service.ts'
import { ServiceGraph, type ServiceHandle } from './service-graph.ts'
import { ServiceRunner } from './service-runner.ts'

/** Options of a {@link Server}. */
export interface ServerOptions {
  /**
   * The command line: strings to parse, what `parseServerArguments` returned, or false for none. Default:
   * `process.argv` after the script, unless `configuration` is given; then none.
   */
  readonly argv?: readonly string[] | ServerArguments | false
  /** Settings in code. A file named by `-c` is laid over them. */
  readonly configuration?: ConfigurationInput
  /** Where to log. Default: `error_log` if the configuration names one, or stderr. */
  readonly logger?: Logger
}

/** Options of {@link Server.run}. */
export interface RunOptions {
  /** Handle SIGTERM, SIGINT, SIGQUIT and SIGHUP until `run` settles. Default false. */
  readonly signals?: boolean
  /** Abort it to shut down: gracefully, or fast if its reason is the string `'fast'`. */
  readonly signal?: AbortSignal
}

const NO_ARGUMENTS: ServerArguments = { conf: undefined, daemon: false, test: false, upgrade: false }
const LINGER_MS: number = 3000

/**
 * Hosts services: starts them in the order of their dependencies, and ends them without losing work.
 *
 * A process may have several. The library never calls `process.exit`.
 *
 * @example
 * const server = new Server()      // reads -c, -d and -t from the command line
 * server.addService(service)
 * await server.runForever()
 */
export class Server {
  /** Complete, checked and frozen. */
  readonly configuration: ServerConfiguration
  /** What the command line said. */
  readonly arguments: ServerArguments
  readonly #graph: ServiceGraph = new ServiceGraph()
  readonly #urgency: Urgency = new Urgency()
  readonly #listeners: Set<(phase: ServerPhase) => void> = new Set()
  readonly #hasOwnLogger: boolean
  #logger: Logger
  #phase: ServerPhase = 'setup'
  #hasRun = false

  /**
   * @throws {ServerArgumentsError} If the command line cannot be understood.
   * @throws {ConfigurationError} If a setting is wrong; it names all that are.
   */
  constructor(options: ServerOptions = {}) {
    this.arguments = readArguments(options)
    const base = createConfiguration(options.configuration)
    this.configuration =
      this.arguments.conf === undefined ? base : loadConfiguration(this.arguments.conf, base)
    this.#hasOwnLogger = options.logger !== undefined
    this.#logger = options.logger ?? stderrLogger()
  }

  /** The logger that services get. */
  get logger(): Logger {
    return this.#logger
  }

  /** Where the server is in its life. */
  get phase(): ServerPhase {
    return this.#phase
  }

  /** Calls `listener` with every phase from now on, synchronously. Returns a function that ends that. */
  onPhase(listener: (phase: ServerPhase) => void): () => void {
    const own = (phase: ServerPhase) => listener(phase)
    this.#listeners.add(own)
    return () => void this.#listeners.delete(own)
  }

  /** Resolves when every service is ready; rejects if the server ends before that. */
  async whenRunning(): Promise<void> {
    if (this.#phase === 'running') return
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const fail = () => reject(new Error('The server ended before it was running'))
    const stop = this.onPhase((phase) => {
      if (phase === 'running') resolve()
      else if (phase === 'shutdown-started' || phase === 'terminated') fail()
    })
    if (this.#urgency.level > 0 || this.#phase === 'terminated') fail()
    try {
      await promise
    } finally {
      stop()
    }
  }

  /**
   * Adds a service.
   *
   * @returns Its handle, to make others wait for it or it for others.
   * @throws {Error} If the server has started or has this service already.
   */
  addService(service: Service): ServiceHandle {
    return this.#graph.add(service)
  }

  /** Adds several services. */
  addServices(services: Iterable<Service>): ServiceHandle[] {
    return Array.from(services, (service) => this.#graph.add(service))
  }

  /**
   * Asks the server to end; `run()` settles when it has. `'graceful'` lets work finish, within
   * `grace_period_seconds`; `'fast'` cuts it. Fast after graceful makes it fast; never the other way.
   */
  shutdown(kind: ShutdownKind = 'graceful'): void {
    if (kind !== 'graceful' && kind !== 'fast')
      throw new TypeError(`Unknown kind of shutdown "${String(kind)}"`)
    this.#urgency.raise(kind === 'fast' ? 2 : 1)
  }

  /**
   * Starts every service and resolves after shutdown: for embedding and tests. With `-t` it resolves at once.
   *
   * It installs no signal handlers unless asked to, and none for uncaught errors ever.
   *
   * @throws {Error} What made a service fail to start, after the others were ended; or if it was called before.
   */
  async run(options: RunOptions = {}): Promise<void> {
    const wantsDaemon = this.configuration.daemon || this.arguments.daemon
    if (wantsDaemon && !isDaemonChild()) throw new Error('Only runForever() can start a daemon')
    let file: FileLogger | undefined
    try {
      await this.#run(options, (logger) => {
        file = logger
      })
    } finally {
      file?.close()
    }
  }

  /**
   * Runs as the process's main program: handles signals, logs a failure and sets `process.exitCode` to 1 then,
   * and lets the process end by itself, as nothing of the server keeps it alive. With `-d` the
   * process that was started only launches the daemon, and it ends when the daemon is ready.
   */
  async runForever(): Promise<void> {
    const wantsDaemon = this.configuration.daemon || this.arguments.daemon
    try {
      if (wantsDaemon && !this.arguments.test && !this.arguments.upgrade && !isDaemonChild()) {
        this.#begin()
        const pid = await launchDaemon(this.configuration)
        this.#logger.info('Daemon is ready', { pid })
        this.#setPhase('terminated')
      } else {
        onLauncherGone(() => this.shutdown('fast'))
        await this.#run({ signals: true }, () => undefined)
      }
    } catch (error) {
      this.#logger.error('Server failed', { error })
      reportToLauncher({ error: (error as Error).message })
      process.exitCode = 1
    }
    setTimeout(() => this.#reportLingering(), LINGER_MS).unref()
  }

  async #run(options: RunOptions, onLogFile: (logger: FileLogger) => void): Promise<void> {
    this.#begin()
    const { configuration } = this
    const removeSignals =
      options.signals === true ? installSignals(this.#urgency, () => this.#logger) : undefined
    const onAbort = () => this.shutdown(options.signal?.reason === 'fast' ? 'fast' : 'graceful')
    options.signal?.addEventListener('abort', onAbort)
    if (options.signal?.aborted === true) onAbort()
    let hasPidFile = false
    try {
      this.#setPhase('bootstrap')
      if (this.arguments.upgrade) throw new Error('Graceful upgrade (-u) is not supported in this version')
      if (this.arguments.test) {
        this.#logger.info('Configuration is valid', { file: this.arguments.conf ?? 'built in' })
        return
      }
      this.#bootstrap(onLogFile)
      this.#setPhase('bootstrap-complete')
      const runner = new ServiceRunner(this.#graph.nodes, configuration, this.#logger)
      await this.#serve(runner, () => {
        if (configuration.pidFile !== undefined) writePidFile(configuration.pidFile)
        hasPidFile = configuration.pidFile !== undefined
        dropPrivileges(configuration)
      })
    } finally {
      if (hasPidFile && configuration.pidFile !== undefined) removePidFile(configuration.pidFile)
      options.signal?.removeEventListener('abort', onAbort)
      removeSignals?.()
      this.#setPhase('terminated')
    }
  }

  #begin(): void {
    if (this.#hasRun) throw new Error('A server runs once')
    this.#hasRun = true
    this.#graph.seal()
  }

  #bootstrap(onLogFile: (logger: FileLogger) => void): void {
    const { errorLog, workingDirectory } = this.configuration
    if (errorLog !== undefined && !this.#hasOwnLogger) {
      const file = openFileLogger(errorLog)
      this.#logger = file
      onLogFile(file)
    }
    if (workingDirectory !== undefined) process.chdir(workingDirectory)
    for (const finding of checkRuntime()) this.#logger.warn(finding.message, { code: finding.code })
  }

  /** Start, run, stop. A failure to start is thrown after the stop; one caused by a shutdown is not thrown. */
  async #serve(runner: ServiceRunner, onReady: () => void): Promise<void> {
    let failure: { readonly error: unknown } | undefined
    try {
      if (this.#urgency.level === 0) await Promise.race([runner.start(), this.#urgency.reached(1)])
      if (this.#urgency.level === 0) {
        onReady()
        this.#setPhase('running')
        reportToLauncher({ ready: true })
        await this.#urgency.reached(1)
      }
    } catch (error) {
      if (this.#urgency.level === 0) failure = { error }
    }
    await this.#stop(runner, failure !== undefined)
    if (failure !== undefined) throw failure.error
  }

  async #stop(runner: ServiceRunner, hasFailed: boolean): Promise<void> {
    const { gracePeriodSeconds, gracefulShutdownTimeoutSeconds } = this.configuration
    const urgency = this.#urgency
    const isGraceful = urgency.level < 2 && !hasFailed
    if (isGraceful) this.#setPhase('graceful-terminate')
    this.#setPhase('shutdown-started')
    const begun = performance.now()
    const drained = runner.drain()
    if (isGraceful) {
      this.#setPhase('shutdown-grace-period')
      const isDrained = await waitFor(drained, urgency.reached(2), gracePeriodSeconds * 1000)
      if (!isDrained) this.#logger.warn('Work is being cut', { services: runner.unfinished() })
    }
    this.#setPhase('shutdown-runtimes')
    runner.destroy()
    if (!(await waitFor(drained, urgency.reached(3), gracefulShutdownTimeoutSeconds * 1000))) {
      this.#logger.warn('Services did not end in time', { services: runner.unfinished() })
    }
    this.#logger.info('Shut down', { tookMs: Math.round(performance.now() - begun) })
  }

  #setPhase(phase: ServerPhase): void {
    this.#phase = phase
    for (const listener of [...this.#listeners]) {
      try {
        listener(phase)
      } catch (error) {
        this.#logger.error('Phase listener failed', { phase, error })
      }
    }
  }

  #reportLingering(): void {
    const resources = process.getActiveResourcesInfo()
    this.#logger.warn('The server has ended but something keeps the process alive', { resources })
  }
}

function readArguments(options: ServerOptions): ServerArguments {
  const { argv } = options
  if (argv === false) return NO_ARGUMENTS
  if (argv === undefined) {
    if (options.configuration !== undefined) return NO_ARGUMENTS
    return parseServerArguments(process.argv.slice(2)).options
  }
  return isStrings(argv) ? parseServerArguments(argv).options : argv
}

function isStrings(argv: readonly string[] | ServerArguments): argv is readonly string[] {
  return Array.isArray(argv)
}
