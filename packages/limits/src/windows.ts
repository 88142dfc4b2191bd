import { HEADER_BYTES, type Memory, STATE_WORD } from './memory.ts'
import { Sketch } from './sketch.ts'

/** Window numbers live in 30 bits: 2^30 windows later they come again. */
const WINDOW_BITS = 30
/** Windows by which one thread's clock may be behind another's. */
const BEHIND_MAX = 1024
const SLOTS = 3
const BASE_WORD: number = HEADER_BYTES / 4

/** Bytes for the windows of a sketch of that size. */
export function windowsByteLength(rows: number, columns: number): number {
  return HEADER_BYTES + SLOTS * rows * columns * 4
}

/**
 * Counts per key in windows of a fixed length: the current one and the one before.
 *
 * There are three sketches: the current, the previous, and a spare that is already empty. So a new window begins
 * with one compare-and-swap of a word that holds its number and its slot, nobody adds to a sketch that is being
 * cleared, and no thread waits for another. The winner of the swap then clears the sketch that becomes the next
 * spare. A thread that ends amid that clearing leaves counts behind, too high for one window. Only one that the
 * system stops there for a whole window can erase counts, the first of the window after.
 */
export class Windows {
  readonly sketch: Sketch
  readonly #memory: Memory
  readonly #intervalMs: number
  readonly #slotWords: number
  /** How much of the current window has passed, 0 to 1; as of the last `enter` or `look`. */
  fraction: number = 0
  /** Where the current window's sketch begins, or -1 if it is empty; as of the last `enter` or `look`. */
  currentBase: number = 0
  /** The same for the window before. */
  previousBase: number = -1

  constructor(memory: Memory, rows: number, columns: number, intervalMs: number, saturates: boolean) {
    this.sketch = new Sketch(memory, rows, columns, saturates)
    this.#memory = memory
    this.#intervalMs = intervalMs
    this.#slotWords = rows * columns
  }

  /** Turns to the current window, opening it when it is new, so that it can be added to. */
  enter(): void {
    const { words } = this.#memory
    const window = this.#readClock()
    let state = this.#load(STATE_WORD)
    while (ahead(window, state >>> 2) > 0) {
      const slot = ((state & 3) + 1) % SLOTS
      const next = (window << 2) | slot
      const found = Atomics.compareExchange(words, STATE_WORD, state, next)
      if (found === state) {
        Atomics.store(words, STATE_WORD + 1 + slot, window)
        this.sketch.clear(this.#base((slot + 1) % SLOTS))
      }
      state = found === state ? next : found
    }
    this.#turnTo(window, state)
  }

  /** Turns to the current window without opening it, to read only. */
  look(): void {
    const window = this.#readClock()
    this.#turnTo(window, this.#load(STATE_WORD))
  }

  /** Empties all windows. What other threads add meanwhile may stay or go. */
  reset(): void {
    for (let slot = 0; slot < SLOTS; slot++) this.sketch.clear(this.#base(slot))
  }

  /** The number of the window that it is now, in 30 bits; sets `fraction`. */
  #readClock(): number {
    const windows = Math.max(0, (this.#memory.now() - this.#memory.epochMs) / this.#intervalMs)
    const whole = Math.floor(windows)
    this.fraction = windows - whole
    return whole % 2 ** WINDOW_BITS
  }

  #turnTo(window: number, state: number): void {
    const slot = state & 3
    const opened = state >>> 2
    const behind = ahead(window, opened)
    if (behind > 0) {
      this.currentBase = -1
      this.previousBase = behind === 1 ? this.#base(slot) : -1
      return
    }
    // Another thread's clock is a little ahead: its window has just begun.
    if (behind < 0) this.fraction = 0
    // The thread that opened the window may not have noted its number yet.
    const noted = this.#load(STATE_WORD + 1 + slot)
    if (noted !== opened) Atomics.compareExchange(this.#memory.words, STATE_WORD + 1 + slot, noted, opened)
    const before = (slot + 2) % SLOTS
    this.currentBase = this.#base(slot)
    const isPrevious = ahead(opened, this.#load(STATE_WORD + 1 + before)) === 1
    this.previousBase = isPrevious ? this.#base(before) : -1
  }

  /** Atomic only where threads share: a plain read costs a tenth (bench/limits.bench.ts). */
  #load(word: number): number {
    const { words, shared } = this.#memory
    return shared ? Atomics.load(words, word) : (words[word] as number)
  }

  #base(slot: number): number {
    return BASE_WORD + slot * this.#slotWords
  }
}

/**
 * How many windows `window` is after `other`, counting around the 30 bits.
 *
 * A limiter may rest for long, but a clock that another thread reads is behind by little: only the last numbers of
 * the circle count as earlier.
 */
function ahead(window: number, other: number): number {
  const windows = (window - other) & (2 ** WINDOW_BITS - 1)
  return windows >= 2 ** WINDOW_BITS - BEHIND_MAX ? windows - 2 ** WINDOW_BITS : windows
}
