import type { ProxyError } from '@cirque/error'
import { hookError, isPromise } from '../hooks/hook-answers.ts'
import { HookDeadline, type HookWaiter } from '../hooks/hook-deadline.ts'
import type { Awaitable, BodyFilterResult } from '../proxy-http.ts'
import { Gatherer } from './gather.ts'

/** One body filter, bound to its request. */
export interface ChunkFilter {
  /** The phase, for errors. */
  readonly phase: string
  readonly run: (chunk: Buffer | null, endOfStream: boolean) => Awaitable<BodyFilterResult>
}

/** Where a filtered body goes. */
export interface FilteredBodySink {
  onFiltered(chunk: Buffer): void
  /** The last chunk has passed all filters. */
  onFilteredEnd(): void
  onFilterFailed(error: ProxyError): void
  /** Filters that had to be waited for have caught up: the source may go on. */
  onFilterIdle(): void
}

/**
 * A body on its way through filters, one chunk after another. While a filter is waited for, what arrives is
 * queued; the source is told to stop by `busy`, so the queue holds at most what one read brought.
 */
export class FilteredBody implements HookWaiter {
  /** True while a filter is waited for: push no more than what is already read. */
  busy = false
  readonly #filters: readonly ChunkFilter[]
  readonly #sink: FilteredBodySink
  readonly #timeoutMs: number
  #deadline: HookDeadline | null = null
  /** Chunks in order, small ones gathered: taking the first of tens of thousands would move all others. */
  readonly #queue: Buffer[] = []
  #gatherer: Gatherer | null = null
  #ended = false
  #stopped = false

  /** @param timeoutMs - How long one filter may take over one chunk; 0 for as long as it likes. */
  constructor(filters: readonly ChunkFilter[], sink: FilteredBodySink, timeoutMs: number) {
    this.#filters = filters
    this.#sink = sink
    this.#timeoutMs = timeoutMs
  }

  /** Takes a chunk that is the filters' to keep. */
  push(chunk: Buffer): void {
    if (!this.busy) {
      this.#queue.push(chunk)
      this.#work()
      return
    }
    this.#gatherer ??= new Gatherer()
    this.#gatherer.add(this.#queue, chunk, 0, chunk.length)
  }

  end(): void {
    this.#ended = true
    if (!this.busy) this.#work()
  }

  /** Nothing more reaches the sink. */
  stop(): void {
    this.#stopped = true
    this.#queue.length = 0
    this.#deadline?.stop()
  }

  #work(): void {
    while (!this.busy && !this.#stopped) {
      const chunk = this.#queue.shift()
      if (chunk !== undefined) this.#pass(chunk, false, 0)
      else if (!this.#ended) return
      else {
        this.#ended = false
        this.#pass(null, true, 0)
      }
    }
  }

  /** Runs the filters from `from` on over one chunk. */
  #pass(given: Buffer | null, end: boolean, from: number): void {
    let chunk = given
    for (let i = from; i < this.#filters.length; i++) {
      const filter = this.#filters[i] as ChunkFilter
      try {
        const result = filter.run(chunk, end)
        if (isPromise(result)) {
          this.#wait(result, chunk, end, i, filter.phase)
          return
        }
        chunk = chosen(result, chunk)
      } catch (error) {
        this.#fail(error, filter.phase)
        return
      }
      if (chunk === null && !end) return
    }
    if (this.#stopped) return
    if (chunk !== null && chunk.length > 0) this.#sink.onFiltered(chunk)
    if (end && !this.#stopped) this.#sink.onFilteredEnd()
  }

  #wait(
    result: PromiseLike<BodyFilterResult>,
    chunk: Buffer | null,
    end: boolean,
    index: number,
    phase: string,
  ): void {
    this.busy = true
    this.#deadline ??= new HookDeadline(this.#timeoutMs, this)
    this.#deadline.start(phase)
    Promise.resolve(result)
      .then(
        (value) => {
          this.busy = false
          if (this.#stopped) return
          this.#deadline?.stop()
          const next = chosen(value, chunk)
          if (next !== null || end) this.#pass(next, end, index + 1)
          this.#work()
          if (!this.busy && !this.#stopped) this.#sink.onFilterIdle()
        },
        (error: unknown) => {
          this.busy = false
          this.#fail(error, phase)
        },
      )
      .catch((error: unknown) => this.#fail(error, phase))
  }

  onHookTimeout(phase: string, error: ProxyError): void {
    this.#fail(error, phase)
  }

  #fail(error: unknown, phase: string): void {
    if (this.#stopped) return
    this.stop()
    this.#sink.onFilterFailed(hookError(error, phase))
  }
}

function chosen(result: BodyFilterResult, chunk: Buffer | null): Buffer | null {
  if (result === undefined) return chunk
  if (result === null || Buffer.isBuffer(result)) return result
  throw new TypeError(`A body filter must return a Buffer, null or undefined, not ${typeof result}`)
}
