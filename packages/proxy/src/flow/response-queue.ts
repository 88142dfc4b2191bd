import type { ResponseHeader } from '@cirque/http'
import { Gatherer } from './gather.ts'

/** What an upstream has sent. */
export type ResponseEvent =
  | { readonly kind: 'head'; readonly header: ResponseHeader; readonly contentLength: number }
  | { readonly kind: 'data'; readonly chunks: readonly Buffer[] }
  | { readonly kind: 'end'; readonly trailers: string[] | null }

/** What of a response waits while a filter is waited for, in order. Data that follows data is one event. */
export class ResponseQueue {
  readonly #events: ResponseEvent[] = []
  /** Those of the last event, if that is data. */
  #chunks: Buffer[] | null = null
  #gatherer: Gatherer | null = null

  add(event: ResponseEvent): void {
    this.#events.push(event)
    this.#chunks = null
  }

  /** Adds a chunk that is the queue's to keep. */
  addData(chunk: Buffer): void {
    if (this.#chunks === null) {
      const chunks = [chunk]
      this.add({ kind: 'data', chunks })
      this.#chunks = chunks
      return
    }
    this.#gatherer ??= new Gatherer()
    this.#gatherer.add(this.#chunks, chunk, 0, chunk.length)
  }

  /** Takes the first event; undefined when nothing waits. */
  shift(): ResponseEvent | undefined {
    const event = this.#events.shift()
    if (this.#events.length === 0) this.#chunks = null
    return event
  }
}
