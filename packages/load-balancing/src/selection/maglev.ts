import type { Backend } from '../backend.ts'
import { integerIn, onlyKeys } from '../check.ts'
import { runAtOnce, runInSlices, type Steps } from '../steps.ts'
import { hash32, mix } from './hash.ts'
import type { Picker, Selection, SelectionInput, SelectionKey } from './selection.ts'
import { Turns } from './turns.ts'
import { weightsOf } from './weights.ts'

/** Options of {@link maglev}. */
export interface MaglevOptions {
  /**
   * Entries of the table: a prime from 3 to 16,777,213, above the number of backends; a hundred times as many make
   * shares exact to 1 %. Default: 65,537 up to 1,310 backends, 655,373 up to 13,107, 6,553,621 beyond: exact to 2 %.
   * Each takes 2 bytes, and building time: about 100 ms for 655,373 on an update, in slices.
   */
  readonly tableSize?: number
}

/** The least primes above 2^16 times 1, 10 and 100. */
const TABLE_SIZES: readonly number[] = [65_537, 655_373, 6_553_621]

/**
 * Google's Maglev hashing: one look-up in a table that every backend filled by its own permutation. The fastest of
 * the consistent ones, with even shares; when the set changes, a few more keys move than must. O(1). A request without
 * a key is placed at random.
 */
export function maglev(options: MaglevOptions = {}): Selection {
  onlyKeys('maglev', options, ['tableSize'])
  const { tableSize } = options
  if (tableSize !== undefined && !isPrime(integerIn('tableSize', tableSize, 3, 16_777_213))) {
    throw new RangeError(`Expected tableSize to be a prime, received ${tableSize}`)
  }
  return {
    name: 'maglev',
    build: (input) => new MaglevPicker(runAtOnce(fillTable(input.backends, tableSize)), input),
    buildInSlices: async (input, signal) =>
      new MaglevPicker(await runInSlices(fillTable(input.backends, tableSize), signal), input),
  }
}

type Table = Uint16Array | Uint32Array

class MaglevPicker implements Picker {
  readonly #table: Table
  readonly #random: () => number
  #position = 0
  #stride = 0

  constructor(table: Table, { random }: SelectionInput) {
    this.#table = table
    this.#random = random
  }

  begin(key: SelectionKey | undefined): number {
    const hash = key === undefined ? Math.floor(this.#random() * 0x1_0000_0000) : hash32(key)
    this.#position = hash % this.#table.length
    this.#stride = hash
    return this.#table[this.#position] as number
  }

  /** Leaps through the table by a stride that depends on the key: the keys of one backend fall back to all others. */
  next(): number {
    const size = this.#table.length
    this.#position = (this.#position + (mix(this.#stride) % (size - 1)) + 1) % size
    return this.#table[this.#position] as number
  }
}

/** Entries filled between two yields. */
const STEP_ENTRIES = 4_096

/**
 * Each backend in turn takes the next free entry of its own permutation of the table, "Maglev" (Eisenbud et al.,
 * NSDI 2016), §3.4; one with a share of the greatest weight takes that share of turns.
 */
function* fillTable(backends: readonly Backend[], tableSize: number | undefined): Steps<Table> {
  const count = backends.length
  const size = tableSize ?? sizeFor(count)
  if (size <= count) {
    throw new RangeError(`A tableSize of ${size} is too small for ${count} backends`)
  }
  const positions = new Uint32Array(count)
  const strides = new Uint32Array(count)
  for (const [index, { address }] of backends.entries()) {
    const hash = hash32(address)
    positions[index] = hash % size
    strides[index] = (mix(hash ^ 0x9e3779b9) % (size - 1)) + 1
    if (index % 256 === 255) yield
  }
  const table = count <= 0xffff ? new Uint16Array(size) : new Uint32Array(size)
  const taken = new Uint8Array(size)
  const turns = new Turns(weightsOf(backends))
  let work = 0
  for (let filled = 0; filled < size; filled++) {
    const index = turns.next()
    if (++work % STEP_ENTRIES === 0) yield
    let position = positions[index] as number
    const stride = strides[index] as number
    while (taken[position] === 1) {
      position = (position + stride) % size
      if (++work % STEP_ENTRIES === 0) yield
    }
    taken[position] = 1
    table[position] = index
    positions[index] = position
  }
  return table
}

function sizeFor(count: number): number {
  return TABLE_SIZES.find((size) => size >= count * 50) ?? (TABLE_SIZES.at(-1) as number)
}

function isPrime(value: number): boolean {
  if (value % 2 === 0) return value === 2
  for (let divisor = 3; divisor * divisor <= value; divisor += 2) if (value % divisor === 0) return false
  return true
}
