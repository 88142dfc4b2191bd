import type { Socket } from 'node:net'
import type { Address } from './address.ts'
import type { ServerConfiguration } from './configuration.ts'
import type { Logger } from './logger.ts'

/** What a server gives each service when it starts. One per service. */
export interface ServiceContext {
  readonly configuration: ServerConfiguration
  readonly logger: Logger
  /** Aborted when shutdown begins, just before `drain()` is called. */
  readonly shutdown: AbortSignal
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
  /**
   * Brings the service up. Settles when it is ready: services that depend on this one start after that.
   * A throw or rejection makes the server's `run()` reject with it.
   */
  start(context: ServiceContext): void | Promise<void>
  /** Stops taking on work and resolves when what runs has finished. May take as long as the grace period. */
  drain(): Promise<void>
  /** Cuts what is left, now. Must cope with any state and with a second call. */
  destroy(): void
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
