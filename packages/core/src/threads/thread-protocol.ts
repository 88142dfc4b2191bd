import type { Server, Socket } from 'node:net'
import type { MessagePort } from 'node:worker_threads'
import type { ServerConfiguration } from '../configuration/server-configuration.ts'
import type { ServerPhase } from '../server/server-phase.ts'
import type { ShutdownKind } from '../server/server-urgency.ts'

/** What a worker thread finds in `workerData`, and knows itself by. */
export interface ThreadBirth {
  /** 1 for the first worker; the main thread is 0. */
  readonly thread: number
  /** Worker threads that the server has. */
  readonly threadCount: number
  /** Which server of the program, in the order they are constructed. */
  readonly server: number
  readonly port: MessagePort
  readonly memory: SharedArrayBuffer
  readonly serviceCount: number
  /** The main thread's; without `app` if that cannot be copied. */
  readonly configuration: Partial<ServerConfiguration>
  readonly buffers: ReadonlyMap<string, SharedArrayBuffer>
  readonly values: ReadonlyMap<string, unknown>
  readonly heartbeatMs: number
}

/** The key of {@link ThreadBirth} in `workerData`. */
export const BIRTH_KEY = 'cirqueThread'

/** What the main thread has a service in a worker do, all but `reload` once; `sync` is only answered. */
export type ServiceCommand = 'start' | 'release' | 'drain' | 'destroy' | 'reload' | 'sync'

/** From the main thread to a worker. */
export type ToWorker =
  | { readonly t: 'command'; readonly id: number; readonly service: number; readonly command: ServiceCommand }
  | { readonly t: 'listening'; readonly service: number; readonly listener: number; readonly address: string }
  | {
      readonly t: 'socket'
      readonly service: number
      readonly listener: number
      readonly connection: number
      readonly socket: Socket
    }
  /** A listening socket of the listener, for the worker to accept on; "recall" has it post all of a service back. */
  | ({ readonly t: 'lend'; readonly service: number } & LentListener)
  | { readonly t: 'recall'; readonly service: number }
  | { readonly t: 'admitted'; readonly connection: number; readonly ok: boolean }
  | { readonly t: 'phase'; readonly phase: ServerPhase; readonly generation: number }
  | { readonly t: 'value'; readonly name: string; readonly value: unknown }
  | { readonly t: 'ask'; readonly id: number; readonly name: string; readonly question: unknown }
  | ThreadAnswer
  | { readonly t: 'end' }

/** From a worker to the main thread. */
export type ToMain =
  | { readonly t: 'loaded'; readonly services: readonly string[] }
  | { readonly t: 'failed'; readonly error: ThreadError }
  | { readonly t: 'done'; readonly id: number; readonly error?: ThreadError }
  | ({ readonly t: 'returned'; readonly service: number } & LentListener)
  /**
   * A connection turned out to be of this client: one that was sent there with a PROXY protocol header, or, with a
   * negative number, one that the worker accepted itself.
   */
  | {
      readonly t: 'client'
      readonly connection: number
      readonly service: number
      readonly client: string
    }
  | { readonly t: 'ended'; readonly connections: readonly number[] }
  | { readonly t: 'shutdown'; readonly kind: ShutdownKind }
  | { readonly t: 'reload' }
  | { readonly t: 'ask'; readonly id: number; readonly name: string; readonly question: unknown }
  | ThreadAnswer

/** One of the sockets of a listener, on its way to another thread. */
export interface LentListener {
  readonly listener: number
  readonly part: number
  readonly server: Server
}

/** The answer to an `ask`, in either direction. */
export interface ThreadAnswer {
  readonly t: 'answer'
  readonly id: number
  readonly answer?: unknown
  readonly error?: ThreadError
}

/** An error on its way to another thread: what a copy made by the runtime would lose is in fields of its own. */
export interface ThreadError {
  readonly message: string
  readonly name: string
  readonly code: string | undefined
  readonly stack: string | undefined
}

/** Makes anything that was thrown fit to be posted. */
export function toThreadError(thrown: unknown): ThreadError {
  if (!(thrown instanceof Error)) {
    return { message: String(thrown), name: 'Error', code: undefined, stack: undefined }
  }
  const code: unknown = (thrown as NodeJS.ErrnoException).code
  return {
    message: thrown.message,
    name: thrown.name,
    code: typeof code === 'string' ? code : undefined,
    stack: thrown.stack,
  }
}

/** The other end of {@link toThreadError}. */
export function fromThreadError({ message, name, code, stack }: ThreadError): Error {
  const error = new Error(message)
  error.name = name
  if (stack !== undefined) error.stack = stack
  return code === undefined ? error : Object.assign(error, { code })
}
