import type { ServerConfiguration } from '../configuration/server-configuration.ts'
import type { Logger } from '../logger.ts'
import type { ServerPhase } from '../server/server-phase.ts'
import type { Service } from '../server/service.ts'
import { SharedState } from './shared-state.ts'
import { type ServiceCommand, type ToWorker, toThreadError } from './thread-protocol.ts'
import type { WorkerLink } from './worker-link.ts'

/** What a {@link WorkerLife} needs of its server. */
export interface WorkerLifeOptions {
  readonly link: WorkerLink
  readonly configuration: ServerConfiguration
  readonly logger: Logger
  readonly services: readonly Service[]
  readonly onPhase: (phase: ServerPhase, generation: number) => void
  /** Called for each service that is to reload. Never rejects. */
  readonly onReload: () => Promise<void>
}

/** What tells one service from another: every thread must have built the same, in the same order. */
export function shapeOf(service: Service): string {
  const { listenerAddresses } = service as { readonly listenerAddresses?: readonly string[] }
  return listenerAddresses === undefined
    ? JSON.stringify(service.name)
    : `${JSON.stringify(service.name)} on ${listenerAddresses.join(' and ')}`
}

/** The life of a server in a worker thread: services do what the main thread says, until it says that this is the end. */
export class WorkerLife {
  readonly #options: WorkerLifeOptions
  readonly #started: Set<number> = new Set()
  readonly #shutdowns: readonly AbortController[]
  readonly #ended: PromiseWithResolvers<void> = Promise.withResolvers()

  constructor(options: WorkerLifeOptions) {
    this.#options = options
    this.#shutdowns = options.services.map(() => new AbortController())
  }

  async run(): Promise<void> {
    const { link, services } = this.#options
    link.open((message) => this.#receive(message))
    link.post({ t: 'loaded', services: services.map(shapeOf) })
    try {
      await this.#ended.promise
    } finally {
      link.close()
    }
  }

  #receive(message: ToWorker): void {
    if (message.t === 'end') this.#ended.resolve()
    else if (message.t === 'phase') this.#options.onPhase(message.phase, message.generation)
    else if (message.t === 'command') void this.#obey(message.id, message.service, message.command)
  }

  async #obey(id: number, index: number, command: ServiceCommand): Promise<void> {
    const { link } = this.#options
    try {
      await this.#run(index, command)
      link.post({ t: 'done', id })
    } catch (error) {
      link.post({ t: 'done', id, error: toThreadError(error) })
    }
  }

  async #run(index: number, command: ServiceCommand): Promise<void> {
    if (command === 'sync') return
    const { link, services, configuration, logger } = this.#options
    const service = services[index]
    const shutdown = this.#shutdowns[index]
    if (service?.startInWorker === undefined || shutdown === undefined) return
    if (command === 'start') {
      this.#started.add(index)
      return await service.startInWorker({
        configuration,
        logger,
        shutdown: shutdown.signal,
        shared: new SharedState(link.hub, `service ${index} `),
        thread: link.birth.thread,
        connections: link.connections(index),
      })
    }
    if (!this.#started.has(index)) return
    switch (command) {
      case 'release':
        return await service.releaseListeners?.()
      case 'drain':
        shutdown.abort()
        return await service.drain()
      case 'destroy':
        shutdown.abort()
        return service.destroy()
      case 'reload':
        await this.#options.onReload()
        return await service.reload?.()
    }
  }
}
