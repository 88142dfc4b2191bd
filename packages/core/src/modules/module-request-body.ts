import type { HttpModule } from './http-module.ts'
import { ModuleBody, type ModuleBodySink, type ModuleBodyStage, type ModuleBodyStep } from './module-body.ts'
import { REQUEST_FILTERS } from './module-stages.ts'

/** Who reads a request's body that has passed modules. */
export interface ModuleRequestReader {
  /** A piece has passed. False: no more until {@link ModuleRequestBody.resume}. */
  onFilteredData(chunk: Buffer): boolean
  /** The body is complete, and all of it has passed. */
  onFilteredEnd(trailers: string[] | null): void
  /** Everything so far has passed: more may come. */
  onFilteredIdle(): void
  /** Nothing more comes. */
  onRequestFilterFailed(thrown: unknown): void
}

/** A request's body on its way through modules, piece after piece, as fast as its reader takes it. */
export class ModuleRequestBody implements ModuleBodySink {
  readonly timeoutMs: number
  readonly filters: Readonly<Record<ModuleBodyStep, keyof HttpModule>> = REQUEST_FILTERS
  readonly #reader: ModuleRequestReader
  readonly #body: ModuleBody
  /** The reader takes more again. */
  #resumed: (() => void) | null = null

  /** @param timeoutMs - How long a filter is waited for, each time; 0 for ever. */
  constructor(stages: readonly ModuleBodyStage[], timeoutMs: number, reader: ModuleRequestReader) {
    this.timeoutMs = timeoutMs
    this.#reader = reader
    this.#body = new ModuleBody(stages, this)
  }

  /** True while a piece is on its way: bring no more than what is at hand. */
  get busy(): boolean {
    return this.#body.busy
  }

  /** Takes a piece that is the modules' to keep. */
  push(chunk: Buffer): void {
    this.#body.push(chunk)
  }

  end(trailers: string[] | null): void {
    this.#body.end(trailers)
  }

  /** The reader takes more. */
  resume(): void {
    const resumed = this.#resumed
    this.#resumed = null
    resumed?.()
  }

  /** Nothing more reaches the reader. What waits for it goes on, finds that all is over, and ends. */
  stop(): void {
    this.#body.stop()
    this.resume()
  }

  // --- from the modules --------------------------------------------------------------------------

  writeBody(chunk: Buffer): void | Promise<void> {
    if (this.#reader.onFilteredData(chunk)) return
    return new Promise((resolve) => {
      this.#resumed = resolve
    })
  }

  endBody(trailers: string[] | null): void {
    this.#reader.onFilteredEnd(trailers)
  }

  bodyIdle(): void {
    this.#reader.onFilteredIdle()
  }

  bodyFailed(thrown: unknown): void {
    this.#reader.onRequestFilterFailed(thrown)
  }
}
