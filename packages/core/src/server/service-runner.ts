import type { ServerConfiguration } from '../configuration/server-configuration.ts'
import type { Logger } from '../logger.ts'
import { type SharedHub, SharedState } from '../threads/shared-state.ts'
import type { ThreadPool } from '../threads/thread-pool.ts'
import type { InheritedListeners } from './service.ts'
import type { ServiceNode } from './service-graph.ts'

/** Where services may find listeners that are open already. */
export interface ListenerSource {
  /** A service begins to start; `settle` is called when it has, or has failed to. */
  beginService(): { readonly listeners: InheritedListeners; settle(): void }
}

/** The threads beside this one, and what they share. */
export interface RunnerThreads {
  readonly hub: SharedHub
  /** Undefined: there are no others. */
  readonly pool: ThreadPool | undefined
}

interface Running {
  readonly node: ServiceNode
  /** The service's place among all, the same in every thread. */
  readonly index: number
  readonly shutdown: AbortController
  /** `waiting` for dependencies, `starting`, `ready`, `failed` to start. */
  state: 'waiting' | 'starting' | 'ready' | 'failed'
  ready: Promise<void>
  stopped: Promise<void> | undefined
}

/** Starts services in the order of their dependencies and stops them in reverse. */
export class ServiceRunner {
  readonly #entries: Map<ServiceNode, Running> = new Map()
  readonly #unfinished: Set<string> = new Set()
  readonly #configuration: ServerConfiguration
  readonly #logger: Logger
  readonly #source: ListenerSource | undefined
  readonly #threads: RunnerThreads
  #isStopping = false

  constructor(
    nodes: readonly ServiceNode[],
    configuration: ServerConfiguration,
    logger: Logger,
    threads: RunnerThreads,
    source?: ListenerSource,
  ) {
    this.#threads = threads
    this.#source = source
    this.#configuration = configuration
    this.#logger = logger
    for (const [index, node] of nodes.entries()) {
      const shutdown = new AbortController()
      this.#entries.set(node, {
        node,
        index,
        shutdown,
        state: 'waiting',
        ready: Promise.resolve(),
        stopped: undefined,
      })
    }
  }

  /** Resolves when every service is ready; rejects with the first failure, while others may still be starting. */
  async start(): Promise<void> {
    const entries = [...this.#entries.values()]
    const begun = performance.now()
    const gates = new Map(entries.map((entry) => [entry.node, Promise.withResolvers<void>()]))
    for (const entry of entries) {
      const dependencies = [...entry.node.dependencies].map((node) => gates.get(node)?.promise)
      entry.ready = this.#startOne(entry, dependencies, begun)
      entry.ready.then(gates.get(entry.node)?.resolve, gates.get(entry.node)?.reject)
      gates.get(entry.node)?.promise.catch(() => undefined) // it is seen through `ready`
    }
    await Promise.all(entries.map((entry) => entry.ready))
  }

  async #startOne(entry: Running, dependencies: (Promise<void> | undefined)[], begun: number): Promise<void> {
    if (dependencies.length > 0) await Promise.all(dependencies)
    if (this.#isStopping) throw new Error(`Shutdown began before service "${entry.node.name}" was started`)
    const startedAt = performance.now()
    entry.state = 'starting'
    const sourcing = this.#source?.beginService()
    const { hub, pool } = this.#threads
    const dispatch = pool?.dispatch(entry.index)
    try {
      await pool?.startService(entry.index)
      await entry.node.service.start({
        configuration: this.#configuration,
        logger: this.#logger,
        shutdown: entry.shutdown.signal,
        shared: new SharedState(hub, `service ${entry.index} `),
        ...(sourcing === undefined ? {} : { inherited: sourcing.listeners }),
        ...(dispatch === undefined ? {} : { dispatch }),
      })
    } catch (error) {
      entry.state = 'failed'
      throw error
    } finally {
      sourcing?.settle()
    }
    entry.state = 'ready'
    this.#logger.info('Service is ready', {
      service: entry.node.name,
      waitedMs: Math.round(startedAt - begun),
      startMs: Math.round(performance.now() - startedAt),
    })
  }

  /** Drains each service once all that depend on it are drained. Never rejects. */
  async drain(): Promise<void> {
    this.#isStopping = true
    const drained = new Map<ServiceNode, Promise<void>>()
    const drainOne = (entry: Running): Promise<void> => {
      let promise = drained.get(entry.node)
      if (promise === undefined) {
        promise = this.#drainAfter(entry, [...entry.node.dependents], (node) => {
          const dependent = this.#entries.get(node)
          return dependent === undefined ? Promise.resolve() : drainOne(dependent)
        })
        drained.set(entry.node, promise)
      }
      return promise
    }
    await Promise.all([...this.#entries.values()].map(drainOne))
  }

  async #drainAfter(
    entry: Running,
    dependents: ServiceNode[],
    drainOne: (node: ServiceNode) => Promise<void>,
  ): Promise<void> {
    if (dependents.length > 0) await Promise.all(dependents.map(drainOne))
    await this.#stop(entry)
  }

  /** Cuts everything. What `drain()` waits for then ends by itself, if the services keep their word. */
  destroy(): void {
    this.#isStopping = true
    for (const entry of this.#entries.values()) {
      void this.#stop(entry)
      if (entry.state !== 'waiting') this.#destroyOne(entry)
    }
  }

  /** The names of services whose drain has not ended, or that never finished starting. */
  unfinished(): string[] {
    return [...this.#unfinished]
  }

  #stop(entry: Running): Promise<void> {
    entry.stopped ??= this.#stopOnce(entry)
    return entry.stopped
  }

  async #stopOnce(entry: Running): Promise<void> {
    const { service, name } = entry.node
    const wasStarting = entry.state === 'starting'
    this.#unfinished.add(name)
    try {
      entry.shutdown.abort()
      if (wasStarting) await entry.ready.catch(() => undefined)
      // A failed service that takes inherited listeners may have accepted connections, and owes them an answer.
      const mayHaveInherited = this.#source !== undefined && service.releaseListeners !== undefined
      if (entry.state === 'ready' || (entry.state === 'failed' && mayHaveInherited)) {
        await Promise.all([service.drain(), this.#threads.pool?.command(entry.index, 'drain')])
      }
    } catch (error) {
      this.#logger.error('Service failed to drain', { service: name, error })
    }
    // It may have become ready only after destroy() had passed over it.
    if (wasStarting) this.#destroyOne(entry)
    this.#unfinished.delete(name)
  }

  #destroyOne(entry: Running): void {
    void this.#threads.pool?.command(entry.index, 'destroy')
    try {
      entry.node.service.destroy()
    } catch (error) {
      this.#logger.error('Service failed to be destroyed', { service: entry.node.name, error })
    }
  }
}
