import { inspect } from 'node:util'
import { CLASSES, CODES, METHODS, OUTCOMES, SOURCES, STATUSES } from './labels.ts'

/** Slots that stand alone. */
export const ACTIVE = 0
export const RETRIES = 1
export const REQUEST_BYTES = 2
export const RESPONSE_BYTES = 3
const SINGLES = 4

/** Bytes of a name in UTF-8 that are kept, and of the word in front that holds their number. */
const NAME_BYTES_MAX = 124
const NAME_STRIDE = 4 + NAME_BYTES_MAX

/** The rows of upstreams that have no name of their own. */
export const NO_UPSTREAM = 0
const OTHER_UPSTREAMS = 1
const UNNAMED: readonly string[] = ['none', 'other']

/** Where each number has its slot. The same for the same options, so that threads understand each other. */
export class CounterLayout {
  readonly buckets: number
  readonly upstreamsMax: number
  readonly requests: number
  readonly errors: number
  readonly durations: number
  readonly upstreams: number
  /** Slots of a histogram: a bucket each, what is beyond them, and the sum. */
  readonly histogramSlots: number
  readonly upstreamSlots: number
  readonly slotCount: number
  readonly byteLength: number

  constructor(buckets: number, upstreamsMax: number) {
    this.buckets = buckets
    this.upstreamsMax = upstreamsMax
    this.histogramSlots = buckets + 2
    this.upstreamSlots = OUTCOMES.length + this.histogramSlots
    this.requests = SINGLES
    this.errors = this.requests + METHODS.length * STATUSES.length
    this.durations = this.errors + SOURCES.length * CODES.length
    this.upstreams = this.durations + CLASSES.length * this.histogramSlots
    this.slotCount = this.upstreams + (upstreamsMax + UNNAMED.length) * this.upstreamSlots
    this.byteLength = this.slotCount * 8 + upstreamsMax * NAME_STRIDE
  }

  /** Where an upstream's row begins. */
  upstream(row: number): number {
    return this.upstreams + row * this.upstreamSlots
  }

  /** Where the histogram of an upstream's row begins. */
  upstreamTimes(row: number): number {
    return this.upstream(row) + OUTCOMES.length
  }
}

/**
 * The counters of one thread: plain numbers at fixed places, so that counting neither looks anything up nor allocates.
 * Only that thread writes them. On shared memory others may read them, and they outlive the thread.
 */
export class CounterMemory {
  readonly slots: Float64Array
  readonly #layout: CounterLayout
  readonly #names: Uint8Array
  readonly #nameLengths: Int32Array
  readonly #rows: Map<string, number> = new Map()
  #lastName = ''
  #lastRow: number = OTHER_UPSTREAMS

  /** @param buffer - At least `layout.byteLength` bytes; zeroed, or what another thread of this layout writes to. */
  constructor(layout: CounterLayout, buffer: ArrayBufferLike = new ArrayBuffer(layout.byteLength)) {
    this.#layout = layout
    this.slots = new Float64Array(buffer, 0, layout.slotCount)
    const namesAt = layout.slotCount * 8
    this.#names = new Uint8Array(buffer, namesAt, layout.upstreamsMax * NAME_STRIDE)
    this.#nameLengths = new Int32Array(buffer, namesAt, (layout.upstreamsMax * NAME_STRIDE) / 4)
  }

  add(slot: number, count: number): void {
    this.slots[slot] = (this.slots[slot] as number) + count
  }

  /** The row of an upstream; the first `upstreamsMax` names have one of their own. */
  upstreamRow(name: string): number {
    if (name === this.#lastName) return this.#lastRow
    const row = this.#rows.get(name) ?? this.#newRow(name)
    this.#lastName = name
    this.#lastRow = row
    return row
  }

  #newRow(name: string): number {
    if (typeof name !== 'string') {
      throw new TypeError(`upstreamLabel must give a string, received ${inspect(name)}`)
    }
    const bytes = keptBytes(name)
    // What of a long name is kept may be another's name; a thread that takes over later knows no more of it either.
    const kept = Buffer.from(bytes).toString()
    const known = this.#rows.get(kept)
    if (known !== undefined) return known
    const index = this.#rows.size
    if (index >= this.#layout.upstreamsMax) return OTHER_UPSTREAMS
    const at = index * NAME_STRIDE
    this.#names.set(bytes, at + 4)
    // The length comes last: who sees it finds the name. One more than it is, as a name may be empty.
    Atomics.store(this.#nameLengths, at / 4, bytes.length + 1)
    this.#rows.set(kept, UNNAMED.length + index)
    return UNNAMED.length + index
  }

  /** Takes up where an earlier thread left off: its names, and its counts but for what was under way in it. */
  resume(): void {
    this.slots[ACTIVE] = 0
    this.forEachUpstream((name, row) => {
      if (row >= UNNAMED.length) this.#rows.set(name, row)
    })
  }

  /** Calls `call` with each upstream that has a row. */
  forEachUpstream(call: (name: string, row: number) => void): void {
    UNNAMED.forEach(call)
    for (let index = 0; index < this.#layout.upstreamsMax; index++) {
      const at = index * NAME_STRIDE
      const length = Atomics.load(this.#nameLengths, at / 4) - 1
      if (length < 0) break
      // Decoders refuse shared memory: a copy.
      call(Buffer.from(this.#names.slice(at + 4, at + 4 + length)).toString(), UNNAMED.length + index)
    }
  }
}

/** The beginning of a name in UTF-8, of whole characters. */
function keptBytes(name: string): Uint8Array {
  const bytes = new Uint8Array(NAME_BYTES_MAX)
  const { written } = new TextEncoder().encodeInto(name, bytes)
  return bytes.subarray(0, written)
}
