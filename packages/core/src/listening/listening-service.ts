import { inspect } from 'node:util'
import type { Address } from '../address.ts'
import type { ServerConfiguration } from '../configuration/server-configuration.ts'
import type { DoctorFinding } from '../doctor/finding.ts'
import { examineConnectionsMax } from '../doctor/listening.ts'
import { silentLogger } from '../logger.ts'
import { integer, rejectUnknown } from '../option-checks.ts'
import { SeldomLog } from '../seldom-log.ts'
import { readFileDescriptorsMax } from '../server/server-runtime.ts'
import type {
  ExportedListener,
  ServerApp,
  Service,
  ServiceContext,
  WorkerContext,
} from '../server/service.ts'
import { letWorkersAccept } from '../threads/lending.ts'
import type { ServiceDispatch } from '../threads/service-dispatch.ts'
import { SharedCounts } from '../threads/shared-counts.ts'
import { checkThreads, type ThreadCount } from '../threads/thread-count.ts'
import { workersOf } from '../threads/thread-entry.ts'
import { WorkerCounts } from '../threads/worker-counts.ts'
import { WorkerListeners } from '../threads/worker-listeners.ts'
import { sumOfHandshakes, type TlsStats } from '../tls/handshake-counts.ts'
import type { TlsListenerOptions } from '../tls/listener-options.ts'
import { Admission } from './admission.ts'
import { type ConnectionCounters, countersOf } from './connection-counters.ts'
import type { ConnectionFilter } from './connection-filter.ts'
import { ConnectionIntake } from './connection-intake.ts'
import { Endpoint } from './endpoint.ts'
import {
  type ListenerConfig,
  planListener,
  type TcpListenerOptions,
  type UnixListenerOptions,
} from './listener-options.ts'
import { LISTENING_SERVICE_KEYS, type ListeningServiceOptions } from './listening-service-options.ts'
import { TicketSharing } from './ticket-sharing.ts'

/**
 * Listens on any number of addresses and hands each connection to its app.
 *
 * On drain it closes the acceptors only, tells the app, and resolves when the last connection has ended and
 * `app.cleanup()` has settled. `destroy()` cuts what is left.
 *
 * @example
 * const echo = new ListeningService('echo', {
 *   onConnection: (socket) => void socket.pipe(socket),
 *   startDraining: () => {},
 * })
 * echo.addTcp('127.0.0.1:7000')
 */
export class ListeningService<A extends ServerApp = ServerApp> implements Service {
  readonly name: string
  readonly app: A
  readonly threads: ThreadCount | undefined
  readonly #options: ListeningServiceOptions
  readonly #endpoints: Endpoint[] = []
  readonly #tickets: TicketSharing = new TicketSharing(this.#endpoints)
  readonly #log: SeldomLog
  readonly #admission: Admission
  readonly #intake: ConnectionIntake
  /** In the main thread, if workers serve. */
  #dispatch: ServiceDispatch | undefined
  /** In a worker. */
  #workerListeners: WorkerListeners | undefined
  #configuration: ServerConfiguration | undefined
  #isStarted = false
  #drained: Promise<void> | undefined

  /**
   * @throws {TypeError} If the name is empty, the app lacks a method, or an option is unknown.
   * @throws {RangeError} If a number is out of range.
   */
  constructor(name: string, app: A, options: ListeningServiceOptions = {}) {
    if (typeof name !== 'string' || name === '') throw new TypeError('Expected a service name, received none')
    if (typeof app?.onConnection !== 'function' || typeof app.startDraining !== 'function') {
      throw new TypeError(`The app of service "${name}" needs onConnection() and startDraining()`)
    }
    rejectUnknown(options, LISTENING_SERVICE_KEYS, `service "${name}"`)
    this.name = name
    this.app = app
    const connectionsMax = integer('connectionsMax', options.connectionsMax ?? 20_000, 1, 10_000_000)
    const perClient = integer('connectionsPerIpMax', options.connectionsPerIpMax ?? 0, 0, 10_000_000)
    const filterTimeoutMs = options.connectionFilterTimeoutMs ?? 5000
    integer('connectionFilterTimeoutMs', filterTimeoutMs, 1, 3_600_000)
    this.threads = options.threads === undefined ? undefined : checkThreads(options.threads)
    this.#options = options
    this.#log = new SeldomLog(name, silentLogger)
    this.#admission = new Admission(connectionsMax, perClient)
    this.#intake = new ConnectionIntake(app, this.#log, this.#admission, filterTimeoutMs)
  }

  /** Open connections over all listeners of the service, at most. */
  get connectionsMax(): number {
    return this.#admission.connectionsMax
  }

  /** Takes over what a configuration says where the options of the service and its listeners say nothing. */
  configure(configuration: ServerConfiguration): void {
    if (this.#isStarted) throw new Error(`Service "${this.name}" has started and takes no configuration`)
    this.#configuration = configuration
    const { connectionsMax, connectionsPerIpMax } = this.#options
    this.#admission.setCaps(
      connectionsMax ?? configuration.connectionsMax,
      connectionsPerIpMax ?? configuration.connectionsPerIpMax,
    )
    for (const endpoint of this.#endpoints) endpoint.configure(configuration)
  }

  /** Adds a TCP listener: `host:port` or `[ipv6]:port`; port 0 takes any free one, see {@link endpoints}. */
  addTcp(address: string, options: TcpListenerOptions = {}): this {
    return this.addListener({ address, tcp: options })
  }

  /** Adds a Unix socket at an absolute path. A stale file is replaced, one in use is an error at start. */
  addUnix(path: string, options: UnixListenerOptions = {}): this {
    return this.addListener({ address: `unix:${path}`, unix: options })
  }

  /** Adds a TCP listener with TLS. Files are read and certificates checked now. */
  addTls(address: string, tls: TlsListenerOptions, options: TcpListenerOptions = {}): this {
    // Without this a forgotten argument would make a listener that speaks cleartext.
    if (typeof tls !== 'object' || tls === null) {
      throw new TypeError(`Expected the TLS options of ${address} to be an object, received ${inspect(tls)}`)
    }
    return this.addListener({ address, tls, tcp: options })
  }

  /**
   * Adds a listener of any kind.
   *
   * @throws {TypeError} If the address or an option is wrong, or TLS has no usable certificate.
   * @throws {RangeError} If a number is out of range.
   */
  addListener(config: ListenerConfig): this {
    if (this.#isStarted) throw new Error(`Service "${this.name}" has started and takes no more listeners`)
    rejectUnknown(config, ['address', 'tcp', 'unix', 'tls'], 'the listener')
    const host = { name: this.name, admission: this.#admission, intake: this.#intake, log: this.#log }
    const endpoint = new Endpoint(host, planListener(config), this.app.alpnProtocols)
    if (this.#configuration !== undefined) endpoint.configure(this.#configuration)
    this.#endpoints.push(endpoint)
    return this
  }

  examine(): DoctorFinding[] {
    const nowMs = Date.now()
    return [
      ...examineConnectionsMax(this.name, this.connectionsMax, readFileDescriptorsMax()),
      ...this.#endpoints.flatMap((endpoint) => endpoint.examine(nowMs)),
    ]
  }

  /** Sets the filter of all listeners, whenever they were added; `undefined` accepts everybody. */
  setConnectionFilter(filter: ConnectionFilter | undefined): void {
    if (filter !== undefined && typeof filter.shouldAccept !== 'function') {
      throw new TypeError('A connection filter needs shouldAccept()')
    }
    this.#intake.filter = filter
  }

  /** The addresses as they were given. */
  get listenerAddresses(): readonly string[] {
    return this.#endpoints.map(({ listener }) => listener.plan.address.text)
  }

  /** The addresses that are bound now, with real ports, in the order they were added. */
  endpoints(): readonly Address[] {
    return this.#endpoints.map(({ listener }) => listener.address).filter((address) => address !== undefined)
  }

  /** A snapshot of the counters: of all threads in the main one, in a worker of that worker. */
  get counters(): ConnectionCounters {
    return countersOf(this.#admission, this.#dispatch)
  }

  /** What the handshakes with clients have come to, of all its listeners, in this thread. */
  tlsStats(): TlsStats {
    return sumOfHandshakes(
      this.#endpoints.map(({ acceptor }) => acceptor?.counts).filter((counts) => counts !== undefined),
    )
  }

  /** Binds every listener in order. Ready when all accept; if one cannot, none is left open. */
  async start(context: ServiceContext): Promise<void> {
    if (this.#isStarted) throw new Error(`Service "${this.name}" was started twice`)
    if (this.#endpoints.length === 0) throw new Error(`Service "${this.name}" has no listener`)
    this.#isStarted = true
    this.#log.logger = context.logger
    this.#dispatch = context.dispatch
    if (context.dispatch !== undefined) {
      this.#tickets.lead(context.shared)
      letWorkersAccept(this.name, this.#endpoints, this.#admission, context, context.dispatch)
    }
    this.#warnOfFileLimit()
    try {
      for (const [index, endpoint] of this.#endpoints.entries()) {
        await endpoint.open(index, context, context.dispatch)
      }
      for (const endpoint of this.#endpoints) await endpoint.complete(context.inherited)
    } catch (error) {
      // What inherited listeners have accepted is for `drain()` to finish: the predecessor would have served it.
      if (context.inherited === undefined) this.destroy()
      else this.#closeListeners()
      throw error
    }
  }

  /**
   * In a worker thread: gets ready for the connections of its TCP listeners, which the main thread accepts, counts and
   * sends here.
   */
  startInWorker(context: WorkerContext): void | Promise<void> {
    if (this.#isStarted) throw new Error(`Service "${this.name}" was started twice`)
    this.#isStarted = true
    this.#log.logger = context.logger
    if (context.thread > workersOf(this, context.configuration.threads)) return
    const counts = new WorkerCounts(this.#admission, context.connections)
    this.#intake.counts = counts
    for (const { isTcp, serving } of this.#endpoints) if (isTcp) serving.open()
    this.#tickets.follow(context.shared)
    const workers = workersOf(this, context.configuration.threads)
    context.shared.value<SharedArrayBuffer>('open connections').subscribe((buffer) => {
      this.#admission.shared = new SharedCounts(this.#endpoints.length, workers, context.thread, buffer)
    })
    const { connections } = context
    const listeners = new WorkerListeners(this.name, this.#endpoints, this.#intake, counts, connections)
    this.#workerListeners = listeners
    connections.attach(listeners)
  }

  drain(): Promise<void> {
    this.#drained ??= this.#drain()
    return this.#drained
  }

  async #drain(): Promise<void> {
    this.#closeListeners()
    try {
      this.app.startDraining()
    } finally {
      await this.#intake.whenEmpty()
      await this.app.cleanup?.()
    }
  }

  exportListeners(): ExportedListener[] {
    return this.#endpoints.flatMap((endpoint) => endpoint.exported())
  }

  async recallListeners(): Promise<void> {
    await Promise.all(this.#endpoints.map(({ parts }) => parts?.recall()))
  }

  resumeListeners(): void {
    for (const { parts } of this.#endpoints) parts?.resume()
  }

  transferKeys(): string[] {
    return this.#endpoints.filter(({ isTcp }) => isTcp).map(({ key }) => key)
  }

  /** Closes the acceptors, leaves socket files to the successor, and has the app say goodbye to its clients. */
  releaseListeners(): Promise<void> {
    this.#workerListeners?.close()
    for (const endpoint of this.#endpoints) endpoint.release()
    try {
      this.app.announceDraining?.()
    } catch (error) {
      this.#log.logger.error('App failed to announce the drain', { service: this.name, error })
    }
    return this.#intake.whenEmpty()
  }

  /** TLS ticket keys by listener, and what the app exports. */
  exportState(): unknown {
    const tickets = this.#tickets.export()
    const app = this.app.exportState?.()
    return tickets.length === 0 && app === undefined ? undefined : { tickets, app }
  }

  importState(state: unknown): void {
    const { tickets, app } = state as { tickets?: unknown; app?: unknown }
    this.#tickets.import(tickets)
    if (app !== undefined) this.app.importState?.(app)
  }

  /** Has the app reload; certificates from files are looked after as they change, without being asked. */
  async reload(): Promise<void> {
    await this.app.reload?.()
  }

  destroy(): void {
    this.#closeListeners()
    this.#intake.destroy()
  }

  /** Out of descriptors, libuv accepts and closes without telling anybody; a cap below that is counted. */
  #warnOfFileLimit(): void {
    const openFilesMax = readFileDescriptorsMax()
    if (openFilesMax === undefined || openFilesMax > this.connectionsMax) return
    this.#log.logger.warn(
      'connectionsMax is not below the limit of open files, where connections are lost uncounted',
      {
        service: this.name,
        connectionsMax: this.connectionsMax,
        openFilesMax,
      },
    )
  }

  #closeListeners(): void {
    this.#workerListeners?.close()
    for (const endpoint of this.#endpoints) endpoint.close()
  }
}
