/** Words that lie together in a processor's cache: each thread writes into its own. */
const WORDS_PER_LINE = 16

/**
 * Open connections of one service, per thread, in memory that all threads have: who accepts counts in a row of its own
 * and reads the others', so a cap holds over all of them without asking anybody. Two that reach for the last place at
 * once may both be refused; there are never more than the cap. The row of a thread that is gone is cleared.
 *
 * Column 0 is the service, column 1 its first listener, and so on.
 */
export class SharedCounts {
  readonly buffer: SharedArrayBuffer
  readonly #words: Int32Array
  readonly #rowWords: number
  readonly #rowCount: number
  readonly #own: number

  /**
   * @param threadCount - Workers that count; the main thread does too, as thread 0.
   * @param thread - The thread that this is.
   * @param buffer - To join; default a new one.
   */
  constructor(listenerCount: number, threadCount: number, thread: number, buffer?: SharedArrayBuffer) {
    this.#rowWords = Math.ceil((1 + listenerCount) / WORDS_PER_LINE) * WORDS_PER_LINE
    this.#rowCount = threadCount + 1
    this.#own = thread * this.#rowWords
    this.buffer = buffer ?? new SharedArrayBuffer(this.#rowCount * this.#rowWords * 4)
    this.#words = new Int32Array(this.buffer)
  }

  /** Counts one more open connection in this thread, or returns false if all threads together have `max`. */
  tryOpen(column: number, max: number): boolean {
    Atomics.add(this.#words, this.#own + column, 1)
    if (this.sum(column) <= max) return true
    this.close(column)
    return false
  }

  /** Counts one more in this thread, whatever others have. */
  open(column: number): void {
    Atomics.add(this.#words, this.#own + column, 1)
  }

  close(column: number): void {
    Atomics.sub(this.#words, this.#own + column, 1)
  }

  /** Open connections of all threads. */
  sum(column: number): number {
    let sum = 0
    for (let row = 0; row < this.#rowCount; row += 1) {
      sum += Atomics.load(this.#words, row * this.#rowWords + column)
    }
    return sum
  }

  /** A thread is gone, and its connections with it. */
  forget(thread: number): void {
    const from = thread * this.#rowWords
    for (let at = from; at < from + this.#rowWords; at += 1) Atomics.store(this.#words, at, 0)
  }
}
