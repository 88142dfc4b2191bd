import { inspect } from 'node:util'
import { integer } from '../option-checks.ts'

/** Buffers, values and answers that a server may have, each; a name is one for ever. */
export const SHARED_NAMES_MAX: number = 4_096
const NAME_CHARACTERS_MAX: number = 512
/** Bytes of one shared buffer, at most. */
export const SHARED_BUFFER_BYTES_MAX: number = 1_073_741_824

/** Answers a question of another thread. A throw or rejection is what the one who asks gets. */
export type Answer = (question: unknown, thread: number) => unknown

/** What one worker answered. */
export interface WorkerAnswer {
  /** 1 for the first worker. */
  readonly thread: number
  readonly answer: unknown
}

/** Options of a question. */
export interface AskOptions {
  /** How long to wait, in ms, from 1 to 3,600,000. Default 5,000. */
  readonly timeoutMs?: number
}

/** How a {@link SharedHub} reaches the other threads. */
export interface SharedTransport {
  publish(name: string, value: unknown): void
  /** In a worker: asks the main thread. */
  ask(name: string, question: unknown, timeoutMs: number): Promise<unknown>
  /** In the main thread: asks every worker. */
  askWorkers(name: string, question: unknown, timeoutMs: number): Promise<WorkerAnswer[]>
}

/** All that the threads of one server share, as one thread sees it. */
export class SharedHub {
  readonly thread: number
  readonly buffers: Map<string, SharedArrayBuffer>
  readonly values: Map<string, unknown>
  /** No more buffers: the workers have been given those there are. */
  isSealed = false
  transport: SharedTransport | undefined
  readonly #listeners: Map<string, Set<{ readonly call: (value: unknown) => void }>> = new Map()
  readonly #answers: Map<string, Answer> = new Map()

  constructor(
    thread: number,
    buffers: ReadonlyMap<string, SharedArrayBuffer> = new Map(),
    values: ReadonlyMap<string, unknown> = new Map(),
  ) {
    this.thread = thread
    this.buffers = new Map(buffers)
    this.values = new Map(values)
  }

  buffer(name: string, byteLength: number): SharedArrayBuffer {
    const found = this.buffers.get(name)
    if (found !== undefined) {
      if (found.byteLength === byteLength) return found
      throw new RangeError(
        `Shared buffer "${name}" has ${found.byteLength} bytes, and ${byteLength} were asked for`,
      )
    }
    if (this.thread > 0) {
      throw new Error(
        `The main thread has made no shared buffer "${name}": make it while the server is set up, in every thread alike`,
      )
    }
    if (this.isSealed) {
      throw new Error(`Shared buffer "${name}" comes too late: the worker threads have started`)
    }
    const buffer = new SharedArrayBuffer(byteLength)
    this.buffers.set(name, buffer)
    return buffer
  }

  set(name: string, value: unknown): void {
    if (this.thread > 0) throw new Error(`Only the main thread sets the shared value "${name}"`)
    this.transport?.publish(name, value)
    this.receive(name, value)
  }

  /** A value was set, here or in the main thread. What a listener throws ends up as a process warning. */
  receive(name: string, value: unknown): void {
    this.values.set(name, value)
    for (const { call } of this.#listeners.get(name) ?? []) notify(call, value)
  }

  subscribe(name: string, call: (value: unknown) => void): () => void {
    if (typeof call !== 'function')
      throw new TypeError(`Expected a listener function, received ${inspect(call)}`)
    const entry = { call }
    const listeners = this.#listeners.get(name) ?? new Set()
    this.#listeners.set(name, listeners.add(entry))
    if (this.values.has(name)) notify(call, this.values.get(name))
    return () => void listeners.delete(entry)
  }

  answer(name: string, answer: Answer): void {
    if (typeof answer !== 'function') {
      throw new TypeError(`Expected a function that answers, received ${inspect(answer)}`)
    }
    if (this.#answers.has(name)) throw new Error(`"${name}" is answered already`)
    this.#answers.set(name, answer)
  }

  /** Runs the answer of this thread. */
  async respond(name: string, question: unknown, thread: number): Promise<unknown> {
    const answer = this.#answers.get(name)
    if (answer === undefined) throw new Error(`Nobody answers "${name}" in thread ${this.thread}`)
    return await answer(question, thread)
  }

  assertRoom(kind: 'buffers' | 'values' | 'answers', name: string): void {
    const map = kind === 'buffers' ? this.buffers : kind === 'values' ? this.values : this.#answers
    if (map.size < SHARED_NAMES_MAX || map.has(name)) return
    throw new RangeError(`A server shares ${SHARED_NAMES_MAX} ${kind} at most`)
  }
}

/** A value that the main thread sets and every thread reads. */
export interface SharedValue<T> {
  /** The value of now; `undefined` if it was not set yet. */
  readonly current: T | undefined
  /**
   * Sets it, in the main thread only. Workers get a copy, in the order of all that the main thread says: one that
   * starts later begins with the last.
   *
   * @throws {Error} In a worker.
   * @throws {DOMException} If the value cannot be copied (functions, sockets, instances of classes lose what they are).
   */
  set(value: T): void
  /** Calls `listener` with the value, at once if there is one, and with each that follows. Returns how to end that. */
  subscribe(listener: (value: T) => void): () => void
}

/**
 * State that the threads of a server share. The same names mean the same in each of them; with `threads: 1` there is
 * one thread, and all of it works there too.
 *
 * @example
 * // In the entry module, which every thread runs:
 * const hits = new Int32Array(server.shared.buffer('hits', 4))
 * const app = serveHttp((session) => session.respond(200, { body: `${Atomics.add(hits, 0, 1) + 1}\n` }))
 */
export class SharedState {
  readonly #hub: SharedHub
  readonly #prefix: string

  constructor(hub: SharedHub, prefix: string) {
    this.#hub = hub
    this.#prefix = prefix
  }

  /** 0 in the main thread, 1 for the first worker. */
  get thread(): number {
    return this.#hub.thread
  }

  /**
   * Memory that all threads have in common, zeroed at first. Ask for it while the server is set up, in each thread:
   * the main thread makes it, the workers find it.
   *
   * @param byteLength - The same in every thread, from 1 to {@link SHARED_BUFFER_BYTES_MAX}.
   * @throws {RangeError} If the length is out of bounds, or not the one it has.
   * @throws {Error} In a worker, if the main thread has not made it; in the main thread, once workers have started.
   */
  buffer(name: string, byteLength: number): SharedArrayBuffer {
    integer('byteLength', byteLength, 1, SHARED_BUFFER_BYTES_MAX)
    const key = this.#key(name)
    this.#hub.assertRoom('buffers', key)
    return this.#hub.buffer(key, byteLength)
  }

  /** A value that the main thread publishes and workers follow, by its name. */
  value<T>(name: string): SharedValue<T> {
    const hub = this.#hub
    const key = this.#key(name)
    return {
      get current() {
        return hub.values.get(key) as T | undefined
      },
      set: (value) => {
        hub.assertRoom('values', key)
        hub.set(key, value)
      },
      subscribe: (listener) => hub.subscribe(key, listener as (value: unknown) => void),
    }
  }

  /**
   * Says who answers questions of this name in this thread: in the main thread those of workers and its own
   * ({@link ask}), in a worker those of the main thread ({@link askWorkers}). Question and answer are copied.
   *
   * @throws {Error} If the name is answered already.
   */
  answer(name: string, answer: Answer): void {
    const key = this.#key(name)
    this.#hub.assertRoom('answers', key)
    this.#hub.answer(key, answer)
  }

  /** Asks the main thread. Rejects with its error, or if no answer comes in time. */
  ask(name: string, question?: unknown, options: AskOptions = {}): Promise<unknown> {
    const timeoutMs = integer('timeoutMs', options.timeoutMs ?? 5_000, 1, 3_600_000)
    const { thread, transport } = this.#hub
    if (thread === 0) return this.#hub.respond(this.#key(name), question, 0)
    if (transport === undefined) return Promise.reject(new Error('This worker thread has not started yet'))
    return transport.ask(this.#key(name), question, timeoutMs)
  }

  /**
   * Asks every worker, from the main thread. Resolves with the answers of those that gave one in time, in order of
   * threads; one that died, is stuck or failed is left out, and the failure logged. None without workers.
   */
  async askWorkers(name: string, question?: unknown, options: AskOptions = {}): Promise<WorkerAnswer[]> {
    const timeoutMs = integer('timeoutMs', options.timeoutMs ?? 5_000, 1, 3_600_000)
    const { thread, transport } = this.#hub
    if (thread > 0) throw new Error('Only the main thread asks the workers')
    return transport === undefined ? [] : await transport.askWorkers(this.#key(name), question, timeoutMs)
  }

  #key(name: string): string {
    if (typeof name !== 'string' || name === '' || name.length > NAME_CHARACTERS_MAX) {
      throw new TypeError(
        `Expected a name of 1 to ${NAME_CHARACTERS_MAX} characters, received ${inspect(name)}`,
      )
    }
    return `${this.#prefix}${name}`
  }
}

function notify(call: (value: unknown) => void, value: unknown): void {
  try {
    call(value)
  } catch (error) {
    process.emitWarning(error instanceof Error ? error : String(error), { code: 'CIRQUE_LISTENER_FAILED' })
  }
}
