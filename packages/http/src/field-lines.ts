import { TRAIT_HOP_BY_HOP, TRAIT_TE, TRAIT_UPGRADE } from './traits.ts'

const HTAB = 0x09
const SP = 0x20

/**
 * Field lines as a parser received and checked them, shared by every head that repeats them. Never changed.
 *
 * Who passes a message on writes them as they are, which spares taking them apart and joining them again.
 */
export class FieldLines {
  /** The lines, each with its CRLF. */
  readonly block: string
  /** Which fields they have that a writer must know of; `TRAIT_…` bits. */
  readonly traits: number
  /** The value of their Content-Length, or -1. */
  readonly contentLength: number
  readonly #cutStart: number
  readonly #cutEnd: number
  #stripped: FieldLines | null = null
  #fields: readonly string[] | null = null

  /**
   * @param cutStart - Where the hop-by-hop lines begin, which stand together unless `TRAIT_SCATTERED` says otherwise.
   * @param cutEnd - And where they end.
   */
  constructor(block: string, traits: number, contentLength: number, cutStart: number, cutEnd: number) {
    this.block = block
    this.traits = traits
    this.contentLength = contentLength
    this.#cutStart = cutStart
    this.#cutEnd = cutEnd
  }

  /** The same without its hop-by-hop lines; made once, for all heads that repeat these. */
  get stripped(): FieldLines {
    if (this.#stripped === null) {
      const { block } = this
      const rest = block.substring(0, this.#cutStart) + block.substring(this.#cutEnd)
      const traits = this.traits & ~(TRAIT_HOP_BY_HOP | TRAIT_UPGRADE | TRAIT_TE)
      this.#stripped = new FieldLines(rest, traits, this.contentLength, 0, 0)
    }
    return this.#stripped
  }

  /** The lines taken apart, `[name, value, …]`: once for all heads that repeat them, and so never to be changed. */
  get fields(): readonly string[] {
    this.#fields ??= this.#takeApart()
    return this.#fields
  }

  /** True once somebody has asked for the fields: it pays to keep what is made of them for the next head. */
  get isTakenApart(): boolean {
    return this.#fields !== null
  }

  /** A colon ends each name, CRLF each line, and white space around a value is none of it. */
  #takeApart(): string[] {
    const { block } = this
    const fields: string[] = []
    let at = 0
    while (at < block.length) {
      const colon = block.indexOf(':', at)
      let start = colon + 1
      let code = block.charCodeAt(start)
      while (code === SP || code === HTAB) code = block.charCodeAt(++start)
      const lineEnd = block.indexOf('\r\n', start)
      let end = lineEnd
      while (end > start) {
        code = block.charCodeAt(end - 1)
        if (code !== SP && code !== HTAB) break
        end--
      }
      fields.push(block.substring(at, colon), block.substring(start, end))
      at = lineEnd + 2
    }
    return fields
  }
}
