/** How many closed streams are remembered at least. */
const COUNT_MIN = 128

/** How a stream was closed, as long as it is remembered. */
export const FORGOTTEN = 0
/** Both sides ended it. */
export const ENDED = 1
/** The peer reset it. */
export const RESET_BY_PEER = 2
/** We reset it: frames of before may still be on their way (RFC 9113 §5.1). */
export const RESET_BY_US = 3

/** The streams that were closed last, and how: what frames that come too late are judged by. Its memory is fixed. */
export class ClosedStreams {
  private readonly ids: Uint32Array
  private readonly how: Uint8Array
  private at = 0

  /** @param streamsMax - Streams open at once; twice as many are remembered. */
  constructor(streamsMax: number) {
    const count = Math.min(4_096, Math.max(COUNT_MIN, streamsMax * 2))
    this.ids = new Uint32Array(count)
    this.how = new Uint8Array(count)
  }

  add(id: number, how: number): void {
    this.ids[this.at] = id
    this.how[this.at] = how
    this.at = this.at + 1 === this.ids.length ? 0 : this.at + 1
  }

  /** How stream `id` was closed; {@link FORGOTTEN} when that was long ago, or it never was open. */
  find(id: number): number {
    const index = this.ids.lastIndexOf(id)
    return index < 0 ? FORGOTTEN : (this.how[index] as number)
  }
}
