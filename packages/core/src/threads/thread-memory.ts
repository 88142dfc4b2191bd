/** Words before the counters: see the five below; the rest keeps later fields aligned. */
const HEADER_BYTES = 64
const BEAT_WORD = 0
const RECEIVED_WORD = 1
const RING_HEAD_WORD = 2
const RING_TAIL_WORD = 3
const ACCEPTED_OPEN_WORD = 4

/** Ends of connections that may wait for the main thread in the ring; further ones are told by message. */
export const RING_ENTRIES: number = 8_192

/** What a worker counts for each service. Only that worker writes it. */
export const COUNTER_REFUSED = 0
export const COUNTER_HANDSHAKE_FAILED = 1
export const COUNTER_PROXY_HEADER_FAILED = 2
/** Accepted by the worker itself. */
export const COUNTER_ACCEPTED = 3
export const COUNTER_ACCEPT_ERROR = 4
export const COUNTERS_PER_SERVICE = 5

/**
 * The memory that the main thread shares with one worker, so that neither has to wake the other for bookkeeping: the
 * worker's heartbeat, how many sockets it has received, its counters, and a ring of connections that have ended.
 */
export class ThreadMemory {
  readonly buffer: SharedArrayBuffer
  readonly #words: Int32Array
  readonly #counters: Float64Array
  readonly #ring: Int32Array

  /** @param buffer - To join; default a new one. */
  constructor(serviceCount: number, buffer?: SharedArrayBuffer) {
    const counterCount = serviceCount * COUNTERS_PER_SERVICE
    const ringAt = HEADER_BYTES + counterCount * 8
    this.buffer = buffer ?? new SharedArrayBuffer(ringAt + RING_ENTRIES * 4)
    this.#words = new Int32Array(this.buffer, 0, HEADER_BYTES / 4)
    this.#counters = new Float64Array(this.buffer, HEADER_BYTES, counterCount)
    this.#ring = new Int32Array(this.buffer, ringAt, RING_ENTRIES)
  }

  // --- the worker's side -----------------------------------------------------------------------

  /** The event loop turns. */
  beat(): void {
    Atomics.add(this.#words, BEAT_WORD, 1)
  }

  /** A socket has arrived. */
  receive(): void {
    Atomics.add(this.#words, RECEIVED_WORD, 1)
  }

  /** A connection that the worker accepted itself is open, or closed again. */
  changeAcceptedOpen(by: 1 | -1): void {
    Atomics.add(this.#words, ACCEPTED_OPEN_WORD, by)
  }

  /** A connection has ended. False if the ring is full: tell the main thread otherwise. */
  end(connection: number): boolean {
    const head = Atomics.load(this.#words, RING_HEAD_WORD)
    if (((head - Atomics.load(this.#words, RING_TAIL_WORD)) | 0) >= RING_ENTRIES) return false
    this.#ring[head & (RING_ENTRIES - 1)] = connection
    Atomics.store(this.#words, RING_HEAD_WORD, (head + 1) | 0)
    return true
  }

  /** Counts for a service; a plain store, as nobody else writes there. */
  count(service: number, counter: number): void {
    const at = service * COUNTERS_PER_SERVICE + counter
    this.#counters[at] = (this.#counters[at] ?? 0) + 1
  }

  // --- the main thread's side ------------------------------------------------------------------

  /** Heartbeats so far; it wraps. */
  get beats(): number {
    return Atomics.load(this.#words, BEAT_WORD)
  }

  /** Sockets received so far; it wraps at 2^32 and may be negative. */
  get received(): number {
    return Atomics.load(this.#words, RECEIVED_WORD)
  }

  /** Connections that the worker has accepted itself and serves. */
  get acceptedOpen(): number {
    return Atomics.load(this.#words, ACCEPTED_OPEN_WORD)
  }

  /** Calls `release` with each connection that has ended since the last call. */
  takeEnded(release: (connection: number) => void): void {
    const head = Atomics.load(this.#words, RING_HEAD_WORD)
    let tail = Atomics.load(this.#words, RING_TAIL_WORD)
    if (tail === head) return
    for (; tail !== head; tail = (tail + 1) | 0) release(this.#ring[tail & (RING_ENTRIES - 1)] ?? 0)
    Atomics.store(this.#words, RING_TAIL_WORD, tail)
  }

  /** What the worker has counted for a service. */
  counter(service: number, counter: number): number {
    return this.#counters[service * COUNTERS_PER_SERVICE + counter] ?? 0
  }
}
