import { Agent } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import type { Gateway } from './children.ts'
import { get } from './http-traffic.ts'
import { quantile } from './statistics.ts'
import type { Traffic } from './traffic.ts'
import type { Sample } from './verdict.ts'

/** Its pause between two requests. */
export const GOOD_CLIENT_MS = 25

/** A well-behaved client on one connection, whose waits are measured. */
export class GoodClient {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 })
  readonly #gateway: Gateway
  readonly #traffic: Traffic
  #latencies: number[] = []
  #isEnding = false
  #running: Promise<void> = Promise.resolve()

  constructor(gateway: Gateway, traffic: Traffic) {
    this.#gateway = gateway
    this.#traffic = traffic
  }

  begin(): void {
    this.#running = this.#run()
  }

  /** The waits since it was last asked. */
  take(): Pick<Sample, 'latencyP50Ms' | 'latencyP99Ms'> {
    const latencies = this.#latencies
    this.#latencies = []
    return { latencyP50Ms: quantile(latencies, 0.5), latencyP99Ms: quantile(latencies, 0.99) }
  }

  async end(): Promise<void> {
    this.#isEnding = true
    await this.#running
    this.#agent.destroy()
  }

  async #run(): Promise<void> {
    while (!this.#isEnding) {
      const begun = performance.now()
      try {
        const [status] = await get(this.#gateway, '/hello', { agent: this.#agent })
        if (status !== 200) this.#traffic.report(`good client: status ${status}`)
      } catch (error) {
        this.#traffic.report(`good client: ${(error as Error).message}`)
      }
      this.#latencies.push(performance.now() - begun)
      await delay(GOOD_CLIENT_MS)
    }
  }
}
