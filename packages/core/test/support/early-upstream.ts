import { once } from 'node:events'
import type { TlsOptions } from 'node:tls'
import { Worker } from 'node:worker_threads'

/** How an upstream answers before it has read all. */
export interface EarlyUpstreamInit {
  readonly answer: string
  /** How it closes, with what it has not read still unread. */
  readonly end: 'close' | 'reset'
  /** How much it reads of a request before it answers, in bytes. */
  readonly readBytes: number
  readonly secure?: TlsOptions
}

/** An upstream that answers early and closes, in a thread of its own. A GET it answers with 204, and stays. */
export class EarlyUpstream implements AsyncDisposable {
  readonly #done = new Int32Array(new SharedArrayBuffer(4))
  readonly #worker: Worker
  port = 0

  private constructor(init: EarlyUpstreamInit) {
    const workerData = { ...init, secure: init.secure, done: this.#done }
    this.#worker = new Worker(new URL('../programs/early-upstream.ts', import.meta.url), { workerData })
  }

  static async start(init: EarlyUpstreamInit): Promise<EarlyUpstream> {
    const upstream = new EarlyUpstream(init)
    const [port] = (await once(upstream.#worker, 'message')) as [number]
    upstream.port = port
    return upstream
  }

  get address(): string {
    return `127.0.0.1:${this.port}`
  }

  /** Stops this thread until `count` connections were closed over there: nothing of it is heard meanwhile. */
  standStill(count: number): void {
    for (;;) {
      const closed = Atomics.load(this.#done, 0)
      if (closed >= count) return
      if (Atomics.wait(this.#done, 0, closed, 5_000) === 'timed-out') throw new Error('Nothing was closed')
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker.terminate()
  }
}
