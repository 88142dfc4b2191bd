import type { Socket as DatagramSocket, RemoteInfo } from 'node:dgram'
import type { Server as NetServer, Socket } from 'node:net'
import type { Address } from '../address.ts'
import type { ServerConfiguration } from '../configuration/server-configuration.ts'
import type { DoctorFinding } from '../doctor/finding.ts'
import type { Logger } from '../logger.ts'
import type { ServiceDispatch } from '../threads/service-dispatch.ts'
import type { SharedState } from '../threads/shared-state.ts'
import type { ThreadCount } from '../threads/thread-count.ts'
import type { WorkerConnections } from '../threads/worker-link.ts'

/** What a server gives each service when it starts. One per service. */
export interface ServiceContext {
  readonly configuration: ServerConfiguration
  readonly logger: Logger
  /** Aborted when shutdown begins, just before `drain()` is called. */
  readonly shutdown: AbortSignal
  /** Listening sockets that were open before this process: of a server it takes over from, or of systemd. */
  readonly inherited?: InheritedListeners
  /** State that the threads of the server share, under names that are this service's own. */
  readonly shared?: SharedState
  /** Worker threads serve the service's connections: accept them, and send them there. Only for listening services. */
  readonly dispatch?: ServiceDispatch
}

/** What a server gives a service when it starts in a worker thread. */
export interface WorkerContext {
  readonly configuration: ServerConfiguration
  readonly logger: Logger
  /** Aborted when shutdown begins, just before `drain()` is called. */
  readonly shutdown: AbortSignal
  /** The same state as the service has in the main thread, and in every other. */
  readonly shared: SharedState
  /** 1 for the first worker. */
  readonly thread: number
  /** Where its connections come from. Only for listening services. */
  readonly connections: WorkerConnections
}

/** Listening sockets that a service may take instead of binding its own. */
export interface InheritedListeners {
  /**
   * Takes the listener with this key, the one its predecessor exported it under, or systemd's with that address.
   * During an upgrade it waits until the old server hands over, so call it when all else is prepared.
   *
   * A service that takes one is given `drain()` also if its `start` fails later: it may have accepted connections.
   *
   * @returns `undefined` if there is none: then bind.
   * @throws {Error} If the upgrade has failed meanwhile.
   */
  take(key: string): Promise<InheritedListener | undefined>
}

/** A datagram that arrived before a service took its socket. */
export interface ReceivedDatagram {
  readonly message: Buffer
  readonly client: RemoteInfo
}

/** A socket that listens already. Attach a 'connection' or 'message' handler before anything else is waited for. */
export interface InheritedListener {
  readonly key: string
  /**
   * It accepts already; one of datagrams receives. Or the number of a descriptor, to be given to
   * `server.listen({ fd })`.
   */
  readonly source: NetServer | DatagramSocket | number
  /** Received before somebody took the socket: at most 1,000, further ones are dropped. Of UDP only. */
  readonly datagrams: ReceivedDatagram[]
  /** Accepted before somebody took the listener: to be served first. They have an `error` listener. */
  readonly accepted: Socket[]
  /** The file of a Unix socket is not this server's to remove, ever. */
  readonly isForeign: boolean
  /** True once this process is in charge, and the file of a Unix socket is its own to remove. */
  isOwn(): boolean
  /** The queue length that is wanted; it is set before the old server lets go. */
  setBacklog(backlog: number): void
}

/** A listener for the successor. */
export interface ExportedListener {
  /** The successor takes it by this; its configured address. Equal keys are taken in order. */
  readonly key: string
  /** A server that listens, or a bound UDP socket whose descriptor is known, see `datagramDescriptor`. */
  readonly server: NetServer | DatagramSocket
  /** Of no meaning for UDP. */
  readonly backlog: number
  /** The file of a Unix socket is somebody else's, such as systemd's. */
  readonly isForeign: boolean
}

/**
 * Something a server starts, drains and destroys: a listening service, a background task, anything of yours.
 *
 * The server calls `start` once, `drain` at most once and only after `start` has resolved, and at the end
 * always `destroy` if `start` was called: after a clean drain, in the middle of one, and after a `start` that
 * failed or has not settled. In a fast shutdown `drain` and `destroy` follow each other at once, and the
 * promise of `drain` is then given `graceful_shutdown_timeout_seconds` to settle.
 */
export interface Service {
  /** Shown in logs and errors. */
  readonly name: string
  /** Threads that serve its connections: 1 is the main thread, more are workers. Default: the server's `threads`. */
  readonly threads?: ThreadCount | undefined
  /** The server has it, and these are the server's settings. Called once, by `addService`, in every thread. */
  configure?(configuration: ServerConfiguration): void
  /**
   * Brings the service up. Settles when it is ready: services that depend on this one start after that.
   * A throw or rejection makes the server's `run()` reject with it.
   */
  start(context: ServiceContext): void | Promise<void>
  /**
   * Brings up the part of the service that every worker thread needs, before `start` is called in the main thread; in
   * a worker that replaces a dead one, at any time. A service without it runs in the main thread only, once: right for
   * health checks, discovery, and all that must not happen N times.
   *
   * In the worker it is called instead of `start`, on the object that the program has built there, and so are
   * `releaseListeners`, `drain`, `destroy` and `reload` after it, each when the main thread's turn has come. A throw
   * or rejection fails the start of the server.
   */
  startInWorker?(context: WorkerContext): void | Promise<void>
  /** Stops taking on work and resolves when what runs has finished. May take as long as the grace period. */
  drain(): Promise<void>
  /** Cuts what is left, now. Must cope with any state and with a second call. */
  destroy(): void
  /**
   * The listeners that a successor takes over in a graceful upgrade. Called when one was let in. They stay open,
   * and accept, until {@link releaseListeners} or for good: the upgrade may fail.
   */
  exportListeners?(): readonly ExportedListener[]
  /**
   * Comes before {@link exportListeners}: gets sockets back that other threads accept on. A rejection ends the upgrade,
   * and this server serves on. Called once for each successor that was let in.
   */
  recallListeners?(): Promise<void>
  /** The upgrade has failed: sockets may go where they were before {@link recallListeners}. */
  resumeListeners?(): void
  /** The keys of listeners whose connections go to workers, if the service has any. */
  transferKeys?(): readonly string[]
  /**
   * A successor accepts now. Closes the listeners at once, synchronously, and leaves the files of Unix sockets;
   * serves open connections on, and asks their clients to go where the protocol can say so. `drain()` comes later.
   * The promise resolves when no connection is left.
   */
  releaseListeners?(): Promise<void>
  /**
   * What the successor's service of the same name should know, as a value for JSON: at most 8 Mi characters over
   * all services. Called when a successor was let in. A throw is logged, and nothing is passed on.
   */
  exportState?(): unknown
  /**
   * What the predecessor's service of the same name exported: check it, it may be another version's. Called after
   * `start` was, and before an inherited listener accepts; never called if there was nothing. A throw is logged.
   */
  importState?(state: unknown): void
  /** SIGHUP came, or `server.reload()`: read again what can change at run time. A failure is logged. */
  reload?(): void | Promise<void>
  /** `--doctor`, or `server.examine()`: what an operator should change about this service. It has not started. */
  examine?(): readonly DoctorFinding[]
}

/**
 * Facts about the listener a connection came from. One frozen object per listener, shared by all its
 * connections: a connection costs nothing extra.
 */
export interface ConnectionInfo {
  /** The service's name. */
  readonly service: string
  /** The address that is really bound: the port is never 0. */
  readonly address: Address
  /** True if the socket is a `tls.TLSSocket` whose handshake is complete. */
  readonly tls: boolean
}

/** The program behind a listener: gets each connection, raw or after its TLS handshake. */
export interface ServerApp {
  /**
   * Takes over a connection. Must not throw; ends or destroys the socket itself, sooner or later.
   *
   * The socket has `allowHalfOpen`: end your side after the peer's FIN. It already has an `error` listener,
   * so a reset cannot bring the process down, and it is destroyed if the service is.
   */
  onConnection(socket: Socket, info: ConnectionInfo): void
  /** Shutdown has begun: close idle connections at once, finish what runs, keep none alive. Called once. */
  startDraining(): void
  /**
   * A successor accepts now: serve open connections on, and ask clients to open a new one for what comes next.
   * {@link startDraining} comes later, when idle clients had time to ask again. Called at most once.
   */
  announceDraining?(): void
  /** What the successor's app should know; see `exportState` of a service. */
  exportState?(): unknown
  /** What the predecessor's app exported; see `importState` of a service. */
  importState?(state: unknown): void
  /** SIGHUP came; see `reload` of a service. */
  reload?(): void | Promise<void>
  /** Releases what the app holds, after its last connection is gone or cut. Called once. */
  cleanup?(): void | Promise<void>
  /** ALPN protocols for TLS listeners, most wanted first, such as `['h2', 'http/1.1']`. Default: no ALPN. */
  readonly alpnProtocols?: readonly string[]
}

/** Work that runs beside the listeners: health checks, discovery, refresh loops. */
export interface BackgroundTask {
  /**
   * Runs until `shutdown` is aborted, or returns when there is nothing left to do.
   *
   * A method with fewer than two parameters counts as ready at once. One that takes `ready` is ready when it
   * calls it, or when it returns. A failure before that fails the server's start; a later one is logged.
   */
  start(shutdown: AbortSignal, ready: () => void): void | Promise<void>
}

/** A service made of a {@link BackgroundTask}; `task` is the object that was given, for others to share. */
export interface BackgroundService<T extends BackgroundTask = BackgroundTask> extends Service {
  readonly task: T
}

/**
 * Wraps a task into a service named `BG ` and `name`.
 *
 * Draining waits for the task to end (it sees `shutdown`); a task that does not is given up at the grace
 * period: JavaScript cannot cut a running promise, so a task should end its own timers and sockets on abort.
 *
 * @throws {TypeError} If `name` is empty or `task.start` is not a function.
 */
export function backgroundService<T extends BackgroundTask>(name: string, task: T): BackgroundService<T> {
  if (typeof name !== 'string' || name === '') throw new TypeError('Expected a service name, received none')
  if (typeof task?.start !== 'function') throw new TypeError(`Service "${name}" needs a task with start()`)
  return new TaskService(`BG ${name}`, task)
}

class TaskService<T extends BackgroundTask> implements BackgroundService<T> {
  readonly name: string
  readonly task: T
  #ended: Promise<void> = Promise.resolve()

  constructor(name: string, task: T) {
    this.name = name
    this.task = task
  }

  start(context: ServiceContext): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    let isReady = this.task.start.length < 2
    const ready = () => {
      isReady = true
      resolve()
    }
    this.#ended = this.#run(context, ready).then(resolve, (error: unknown) => {
      if (isReady) context.logger.error('Background task failed', { service: this.name, error })
      reject(error) // without effect once ready
    })
    if (isReady) resolve()
    return promise
  }

  async #run(context: ServiceContext, ready: () => void): Promise<void> {
    await this.task.start(context.shutdown, ready)
  }

  drain(): Promise<void> {
    return this.#ended
  }

  destroy(): void {}
}
