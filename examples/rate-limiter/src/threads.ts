import { once } from 'node:events'
import { parentPort, Worker } from 'node:worker_threads'
import {
  type ListeningService,
  loadConfiguration,
  Server,
  type Service,
  type ServiceContext,
} from '@cirque/core'
import { httpProxyService } from '@cirque/proxy'
import { Limiter } from './limiter.ts'
import type { LimiterOptions } from './options.ts'

/** What a thread is told at its start. The memory is not copied: all threads count in the same one. */
export interface ThreadData {
  readonly options: LimiterOptions
  readonly memory: SharedArrayBuffer
  /** With the real port. */
  readonly address: string
}

/**
 * Further threads that serve the address of a service too: the system spreads the connections, the limit is one.
 * Started once that service has bound its address; drained and destroyed with the server.
 */
export class Threads implements Service {
  readonly name: string = 'threads'
  readonly #script: URL
  readonly #service: ListeningService
  readonly #options: LimiterOptions
  readonly #memory: SharedArrayBuffer
  #workers: readonly Worker[] = []
  #ended: Promise<unknown> = Promise.resolve()

  constructor(script: URL, service: ListeningService, options: LimiterOptions, memory: SharedArrayBuffer) {
    this.#script = script
    this.#service = service
    this.#options = options
    this.#memory = memory
  }

  async start({ logger }: ServiceContext): Promise<void> {
    const address = this.#service.endpoints()[0]?.text as string
    const workerData: ThreadData = { options: this.#options, memory: this.#memory, address }
    const count = this.#options.threads - 1
    this.#workers = Array.from({ length: count }, () => new Worker(this.#script, { workerData }))
    this.#ended = Promise.all(this.#workers.map((worker) => new Promise((end) => worker.once('exit', end))))
    // A thread that fails later is told of; the others go on.
    for (const worker of this.#workers)
      worker.on('error', (error) => logger.error('Thread failed', { error }))
    await Promise.all(this.#workers.map((worker) => once(worker, 'message')))
  }

  async drain(): Promise<void> {
    for (const worker of this.#workers) worker.postMessage('end')
    await this.#ended
  }

  destroy(): void {
    for (const worker of this.#workers) void worker.terminate()
  }
}

/** What such a thread does: the same proxy at the same address. */
export async function serveInThread({ options, memory, address }: ThreadData): Promise<void> {
  const ending = new AbortController()
  parentPort?.once('message', () => ending.abort())
  const server = new Server({ argv: false })
  const { conf } = options.server
  const configuration = conf === undefined ? server.configuration : loadConfiguration(conf)
  const proxy = httpProxyService(configuration, new Limiter(options, memory), { name: 'limiter' })
  proxy.addListener({ address, tcp: { reusePort: true } })
  server.addService(new Report()).addDependency(server.addService(proxy))
  await server.run({ signal: ending.signal })
}

/** Tells the first thread, as soon as this one serves. */
class Report implements Service {
  readonly name: string = 'report'

  start(): void {
    parentPort?.postMessage('serving')
  }

  async drain(): Promise<void> {}

  destroy(): void {}
}
