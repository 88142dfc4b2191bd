/** Literals that are kept; each has one place to be, so that a look-up is one comparison. A power of two. */
const SLOTS = 64

/** Octets of a literal that is kept, with those of its length: others are rarely the same again. */
const KEY_BYTES_MAX = 48

/**
 * At so many misses, of which a hit takes four back, it looks only every eighth time: a browser asks for another path
 * with each request, and repeats no literal.
 */
const MISSES_MAX = 32
const MISSES_PER_HIT = 4
const LOOK_EVERY = 8

const NO_PRINTS: readonly number[] = new Array(SLOTS).fill(0)
const NO_KEYS: readonly string[] = new Array(SLOTS).fill('')

/**
 * Strings of literals that a peer sends again and again without indexing them, as nginx and HAProxy do: found by their
 * encoded octets, which spares the Huffman code and the making of a string.
 *
 * It belongs to one connection, and what it holds is compared octet by octet: no peer learns or changes what another
 * one gets. A literal is kept when it comes a second time, so that what never comes again costs next to nothing.
 */
export class LiteralCache {
  /** By slot: the print of what came last and was not kept. */
  #seen: number[] | null
  /** By slot: encoded octets as latin1, decoded text, what was found wrong with it, and whether it was a name. */
  #keys: string[] | null
  #texts: string[]
  #flaws: number[]
  #names: boolean[]
  /** The hash of what was last looked for; −1 if it will not be kept. */
  #hash: number
  #misses: number
  #passed: number

  constructor() {
    this.#seen = null
    this.#keys = null
    this.#texts = []
    this.#flaws = []
    this.#names = []
    this.#hash = -1
    this.#misses = 0
    this.#passed = 0
  }

  /** Whether to look: always while literals come again, and now and then where they do not. */
  isWorthwhile(): boolean {
    if (this.#misses < MISSES_MAX) return true
    if (++this.#passed < LOOK_EVERY) return false
    this.#passed = 0
    return true
  }

  /**
   * Looks for the literal in `block` from `start`, where its length is, to `end`.
   *
   * @returns The slot for `text` and `flaw`; −1 if it is not here: `add` it then.
   */
  find(block: Uint8Array, start: number, end: number, isName: boolean): number {
    const length = end - start
    this.#hash = -1
    if (length > KEY_BYTES_MAX) return -1
    // Every octet counts in the comparison; a few are enough to choose a slot.
    const hash =
      length +
      (block[start + 1] as number) * 3 +
      (block[start + (length >> 1)] as number) * 7 +
      (block[end - 2] as number) * 31 +
      (block[end - 1] as number) * 131
    this.#hash = hash
    if (this.#misses < MISSES_MAX) this.#misses++
    const slot = hash & (SLOTS - 1)
    if (this.#keys === null) return -1
    const key = this.#keys[slot] as string
    if (key.length !== length || this.#names[slot] !== isName) return -1
    for (let index = 0; index < length; index++) {
      if (key.charCodeAt(index) !== block[start + index]) return -1
    }
    this.#misses = Math.max(0, this.#misses - 1 - MISSES_PER_HIT)
    return slot
  }

  /** The text in a slot. */
  text(slot: number): string {
    return this.#texts[slot] as string
  }

  /** What was found wrong with the text in a slot. */
  flaw(slot: number): number {
    return this.#flaws[slot] as number
  }

  /** Takes the literal that `find` did not find, if it has come before. */
  add(block: Buffer, start: number, end: number, isName: boolean, text: string, flaw: number): void {
    if (this.#hash < 0) return
    const slot = this.#hash & (SLOTS - 1)
    const print = printOf(block, start, end)
    this.#seen ??= NO_PRINTS.slice()
    if (this.#seen[slot] !== print) {
      this.#seen[slot] = print
      return
    }
    if (this.#keys === null) {
      this.#keys = NO_KEYS.slice()
      this.#texts = NO_KEYS.slice()
      this.#flaws = new Array(SLOTS).fill(0)
      this.#names = new Array(SLOTS).fill(false)
    }
    this.#keys[slot] = block.toString('latin1', start, end)
    this.#texts[slot] = text
    this.#flaws[slot] = flaw
    this.#names[slot] = isName
  }
}

/** A number from all octets, 30 bits of it: equal for equal octets, and by chance for few others. */
function printOf(block: Uint8Array, start: number, end: number): number {
  let print = 0
  let at = start
  for (; at + 3 < end; at += 4) {
    const four =
      (block[at] as number) |
      ((block[at + 1] as number) << 8) |
      ((block[at + 2] as number) << 16) |
      ((block[at + 3] as number) << 24)
    print = Math.imul(print ^ four, 0x9e3779b1)
    print ^= print >>> 15
  }
  for (; at < end; at++) print = Math.imul(print ^ (block[at] as number), 0x9e3779b1)
  return print >>> 2
}
