import { checkTrailers } from '@cirque/http'
import { isPromise } from '../is-promise.ts'
import type { HttpModule, ModuleBodyResult, ModuleBytes } from './http-module.ts'
import { inTime } from './module-deadline.ts'

/** What one module does to one body; bound to its request. */
export interface ModuleBodyStage {
  readonly body: ((chunk: Buffer | null, end: boolean) => ModuleBodyResult | Promise<ModuleBodyResult>) | null
  readonly trailers: ((trailers: string[]) => ModuleBytes | Promise<ModuleBytes>) | null
  readonly done: (() => ModuleBytes | Promise<ModuleBytes>) | null
}

/** Which of a module's filters. */
export type ModuleBodyStep = keyof ModuleBodyStage

/** Where a body goes that has passed all modules. */
export interface ModuleBodySink {
  /** How long a filter is waited for, each time; 0 for ever. */
  readonly timeoutMs: number
  /** What is at work in each step. */
  readonly filters: Readonly<Record<ModuleBodyStep, keyof HttpModule>>
  /** A promise when the other side takes no more for now. */
  writeBody(chunk: Buffer): void | Promise<void>
  endBody(trailers: string[] | null): void
  /** Everything so far has passed: more may come. */
  bodyIdle(): void
  /** `step` is what was at work. */
  bodyFailed(thrown: unknown, step: ModuleBodyStep): void
}

/**
 * A body on its way through modules, one piece after another and each module's end before the next one's: what
 * a module adds at its end still passes those behind it.
 *
 * Pieces that arrive meanwhile wait; `busy` tells the source to stop, so at most what it had at hand does.
 */
export class ModuleBody {
  /** True while a piece is on its way: bring no more than what is at hand. */
  busy = false
  #step: ModuleBodyStep = 'body'
  readonly #stages: readonly ModuleBodyStage[]
  readonly #sink: ModuleBodySink
  readonly #queue: Buffer[] = []
  #ending = false
  #trailers: string[] | null = null
  #stopped = false

  constructor(stages: readonly ModuleBodyStage[], sink: ModuleBodySink) {
    this.#stages = stages
    this.#sink = sink
  }

  /** Takes a piece that is the modules' to keep. */
  push(chunk: Buffer): void {
    this.#queue.push(chunk)
    if (!this.busy) this.#start()
  }

  end(trailers: string[] | null): void {
    this.#ending = true
    this.#trailers = trailers
    if (!this.busy) this.#start()
  }

  /** Nothing more reaches the sink. */
  stop(): void {
    this.#stopped = true
    this.#queue.length = 0
  }

  #start(): void {
    this.busy = true
    this.#run().then(
      () => {
        this.busy = false
        if (this.#stopped) return
        // What came between the last look at the queue and this turn.
        if (this.#queue.length > 0 || this.#ending) this.#start()
        else this.#sink.bodyIdle()
      },
      (error: unknown) => {
        this.busy = false
        if (this.#stopped) return
        this.stop()
        this.#sink.bodyFailed(error, this.#step)
      },
    )
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      const chunk = this.#queue.shift()
      if (chunk !== undefined) await this.#pass(chunk, 0)
      else if (this.#ending) {
        this.#ending = false
        await this.#finish()
      } else return
    }
  }

  /** Runs the modules from `from` on over one piece. */
  async #pass(given: Buffer, from: number): Promise<void> {
    let chunk = given
    this.#step = 'body'
    for (let i = from; i < this.#stages.length; i++) {
      const pending = this.#stages[i]?.body?.(chunk, false)
      const result = isPromise(pending) ? await this.#inTime(pending) : pending
      if (this.#stopped || result === null) return
      if (result === undefined) continue
      if (!Buffer.isBuffer(result)) {
        await this.#passAll(result, i + 1)
        return
      }
      chunk = result
    }
    if (chunk.length === 0) return
    const written = this.#sink.writeBody(chunk)
    if (written !== undefined) await written
  }

  async #passAll(pieces: AsyncIterable<Buffer>, from: number): Promise<void> {
    if (typeof pieces?.[Symbol.asyncIterator] !== 'function') {
      throw new TypeError(
        `A module's body filter must return a Buffer, an async iterable, null or undefined, not ${typeof pieces}`,
      )
    }
    const iterator = pieces[Symbol.asyncIterator]()
    try {
      while (!this.#stopped) {
        this.#step = 'body'
        const next = await this.#inTime(iterator.next())
        if (next.done === true) return
        if (this.#stopped) break
        if (!Buffer.isBuffer(next.value)) {
          throw new TypeError(`A module's body filter must yield Buffers, not ${typeof next.value}`)
        }
        await this.#pass(next.value, from)
      }
    } catch (error) {
      abandon(iterator)
      throw error
    }
    abandon(iterator)
  }

  #inTime<T>(promised: PromiseLike<T>): PromiseLike<T> {
    return inTime(promised, this.#sink.timeoutMs, this.#sink.filters[this.#step])
  }

  /** What a filter gave at the end of the body, when it has it. */
  async #last<T>(given: T | PromiseLike<T>): Promise<T> {
    return isPromise(given) ? this.#inTime(given) : given
  }

  async #finish(): Promise<void> {
    let trailers = this.#trailers
    for (let i = 0; i < this.#stages.length; i++) {
      const stage = this.#stages[i] as ModuleBodyStage
      this.#step = 'body'
      const last = await this.#last(stage.body?.(null, true))
      if (this.#stopped) return
      if (Buffer.isBuffer(last)) await this.#pass(last, i + 1)
      else if (last !== undefined && last !== null) await this.#passAll(last, i + 1)
      if (trailers !== null && stage.trailers !== null) {
        this.#step = 'trailers'
        const bytes = bytesOf(await this.#last(stage.trailers(trailers)), this.#sink.filters.trailers)
        if (bytes !== undefined) {
          trailers = null
          await this.#pass(bytes, i + 1)
        } else checkTrailers(trailers)
      }
      this.#step = 'done'
      const bytes = bytesOf(await this.#last(stage.done?.()), this.#sink.filters.done)
      if (this.#stopped) return
      if (bytes !== undefined) await this.#pass(bytes, i + 1)
    }
    if (!this.#stopped) this.#sink.endBody(trailers)
  }
}

function bytesOf(given: unknown, filter: keyof HttpModule): Buffer | undefined {
  if (given === undefined || given === null || Buffer.isBuffer(given)) return given ?? undefined
  throw new TypeError(`A module's ${filter} must return a Buffer or undefined, not ${typeof given}`)
}

/** Nobody wants more of it. One that hangs is not waited for, and what it throws nobody wants to know. */
function abandon(iterator: AsyncIterator<Buffer>): void {
  try {
    iterator.return?.()?.then(undefined, () => undefined)
  } catch {
    // As above.
  }
}
