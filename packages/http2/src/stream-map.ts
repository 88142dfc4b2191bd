import { randomInt } from 'node:crypto'
import type { Http2Stream } from './stream.ts'

/** There are 2 to the power of so many places at first. */
const BITS_MIN = 3

/** Odd, and another in each process: a peer that picks its streams' numbers does not know which of them collide. */
const MULTIPLIER = randomInt(2 ** 31) * 2 + 1

/**
 * The open streams by their numbers, in a table that never moves while streams come and go.
 *
 * A `Map` would do, but costs dearly here: V8 gives it a new table after so many deletions, to which the old one
 * refers. Once one of them has become old, each stream that was in any of the later ones is kept until the next full
 * collection, with all that hangs on it, and every quick collection copies what it should free.
 */
export class StreamMap {
  size = 0

  /** 0 where the place is free: stream 0 is the connection itself. */
  private ids: Int32Array = new Int32Array(1 << BITS_MIN)
  private streams: (Http2Stream | undefined)[] = noStreams(1 << BITS_MIN)
  private bits = BITS_MIN

  get(id: number): Http2Stream | undefined {
    return this.streams[this.placeOf(id)]
  }

  /** Adds a stream that is not there yet. */
  add(stream: Http2Stream): void {
    if (this.size * 2 >= this.ids.length) this.grow()
    const place = this.placeOf(stream.id)
    this.ids[place] = stream.id
    this.streams[place] = stream
    this.size++
  }

  /** Without effect for a stream that is not there. */
  delete(id: number): void {
    const { ids, streams } = this
    const mask = ids.length - 1
    let free = this.placeOf(id)
    if (ids[free] === 0) return
    this.size--
    // Whoever had to take a later place since this one was taken moves up, so that no search ends too early.
    for (let place = (free + 1) & mask; ids[place] !== 0; place = (place + 1) & mask) {
      const wanted = this.firstPlace(ids[place] as number)
      if (((place - wanted) & mask) < ((place - free) & mask)) continue
      ids[free] = ids[place] as number
      streams[free] = streams[place]
      free = place
    }
    ids[free] = 0
    streams[free] = undefined
  }

  /** The streams of this moment, the earliest first. */
  values(): Http2Stream[] {
    const streams: Http2Stream[] = []
    for (const stream of this.streams) if (stream !== undefined) streams.push(stream)
    return streams.sort((left, right) => left.id - right.id)
  }

  /** Where stream `id` is, or would be. One place at least is always free. */
  private placeOf(id: number): number {
    const { ids } = this
    const mask = ids.length - 1
    let place = this.firstPlace(id)
    while (ids[place] !== id && ids[place] !== 0) place = (place + 1) & mask
    return place
  }

  private firstPlace(id: number): number {
    return Math.imul(id, MULTIPLIER) >>> (32 - this.bits)
  }

  private grow(): void {
    const streams = this.values()
    this.bits++
    this.ids = new Int32Array(1 << this.bits)
    this.streams = noStreams(1 << this.bits)
    this.size = 0
    for (const stream of streams) this.add(stream)
  }
}

function noStreams(count: number): undefined[] {
  return new Array<undefined>(count).fill(undefined)
}
