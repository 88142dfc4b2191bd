import type { FieldLines } from '@cirque/http'
import type { Entry } from './entry.ts'
import type { Reader, Value } from './variables.ts'

/** What a line shows of the request's fields. Requests of one connection tend to have the same, and share it. */
export class FieldTexts {
  readonly #readers: readonly Reader[]
  readonly #show: (value: Value) => string
  readonly #known: WeakMap<FieldLines, readonly string[]> = new WeakMap()

  constructor(readers: readonly Reader[], show: (value: Value) => string) {
    this.#readers = readers
    this.#show = show
  }

  /** In the order of the readers. */
  of(entry: Entry): readonly string[] {
    if (this.#readers.length === 0) return NONE
    const { lines } = entry.session.request
    // Not on their first request: most heads that differ each time never come again.
    if (lines?.isTakenApart !== true) return this.#render(entry)
    let texts = this.#known.get(lines)
    if (texts === undefined) {
      texts = this.#render(entry)
      this.#known.set(lines, texts)
    }
    return texts
  }

  #render(entry: Entry): readonly string[] {
    return this.#readers.map((read) => this.#show(read(entry)))
  }
}

const NONE: readonly string[] = []
