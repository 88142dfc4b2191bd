import { COUNT_MAX, checkInteger, checkNames, checkSignal } from './check.ts'
import { HEADER_BYTES, type Memory, type MemoryOptions, openMemory, STATE_WORD } from './memory.ts'
import { type AcquireOutcome, Waiter, WaiterQueue } from './waiter-queue.ts'

/** Options of {@link ConcurrencyLimit}. */
export interface ConcurrencyLimitOptions extends MemoryOptions {
  /** Permits in all, an integer from 1 to 2^30. */
  readonly limit: number
  /** Callers that may wait in this thread; an integer from 0 to 2^20. Default 1024. 0: nobody waits. */
  readonly queueMax?: number
  /** How long each may wait, in milliseconds, an integer from 1 to 2^31 − 1. Default 1000. */
  readonly queueTimeoutMs?: number
  /** Threads that share the memory, an integer from 1 to 256. Default 1. Needed for `releaseLane`. */
  readonly lanes?: number
  /** Which of the lanes this thread is, from 0. Default 0. */
  readonly lane?: number
}

/** Options of {@link ConcurrencyLimit.acquire}. */
export interface AcquireOptions {
  /** Gives up waiting; the permit then says `aborted`. */
  readonly signal?: AbortSignal
}

const OPTION_NAMES: readonly string[] = ['limit', 'queueMax', 'queueTimeoutMs', 'lanes', 'lane', 'memory']
const QUEUE_MAX_DEFAULT = 1024
const QUEUE_TIMEOUT_MS_DEFAULT = 1000

const ACTIVE_WORD: number = STATE_WORD
/** Waiters of all threads; too high after a thread died waiting, which only costs needless wake-ups. */
const WAITING_WORD: number = STATE_WORD + 1
/** Changes with every release that somebody waits for. */
const RELEASES_WORD: number = STATE_WORD + 2
const LANES_WORD: number = HEADER_BYTES / 4

/**
 * At most `limit` things at a time, and a bounded queue in front of them.
 *
 * Within a thread the queue is first come, first served; between threads that share memory there is no order.
 * Memory is 64 + lanes × 4 bytes, and a small object for each caller that waits.
 *
 * @example
 * using permit = await limit.acquire({ signal })
 * if (!permit.granted) return session.respondError(503) // permit.outcome says why
 */
export class ConcurrencyLimit {
  readonly limit: number
  readonly #memory: Memory
  readonly #queueMax: number
  readonly #queueTimeoutMs: number
  readonly #lanes: number
  readonly #laneWord: number
  readonly #queue: WaiterQueue = new WaiterQueue()
  #timer: NodeJS.Timeout | null = null
  #listening: boolean = false

  /** Bytes of `memory` that these options need. */
  static byteLength(options: Pick<ConcurrencyLimitOptions, 'lanes'> = {}): number {
    return HEADER_BYTES + checkInteger('lanes', options.lanes ?? 1, 1, 256) * 4
  }

  /** @throws {RangeError} If an option is out of bounds or the memory does not fit. */
  constructor(options: ConcurrencyLimitOptions) {
    checkNames(options, OPTION_NAMES)
    this.limit = checkInteger('limit', options.limit, 1, COUNT_MAX)
    this.#queueMax = checkInteger('queueMax', options.queueMax ?? QUEUE_MAX_DEFAULT, 0, 2 ** 20)
    this.#queueTimeoutMs = checkInteger(
      'queueTimeoutMs',
      options.queueTimeoutMs ?? QUEUE_TIMEOUT_MS_DEFAULT,
      1,
      2 ** 31 - 1,
    )
    this.#lanes = checkInteger('lanes', options.lanes ?? 1, 1, 256)
    this.#laneWord = LANES_WORD + checkInteger('lane', options.lane ?? 0, 0, this.#lanes - 1)
    this.#memory = openMemory(
      `ConcurrencyLimit ${this.limit} ${this.#lanes}`,
      HEADER_BYTES + this.#lanes * 4,
      options,
    )
  }

  /** Permits that are out, in all threads. */
  get active(): number {
    return Atomics.load(this.#memory.words, ACTIVE_WORD)
  }

  /** Callers that wait in this thread. */
  get queued(): number {
    return this.#queue.size
  }

  /** A permit if one is free and nobody waits for it in this thread, else `undefined`. */
  tryAcquire(): Permit | undefined {
    return this.#queue.size === 0 && this.#take() ? this.#grant() : undefined
  }

  /**
   * A permit at once if one is free, else a promise of one.
   *
   * Never throws or rejects for want of a permit: `outcome` says `queue-full`, `timeout` or `aborted`, and to
   * release such a permit does nothing.
   *
   * @throws {TypeError} If `signal` is no `AbortSignal`.
   */
  acquire(options: AcquireOptions = {}): Permit | Promise<Permit> {
    const { signal } = options
    checkSignal(signal)
    if (signal?.aborted === true) return new Permit('aborted', null)
    const permit = this.tryAcquire()
    if (permit !== undefined) return permit
    if (this.#queue.size >= this.#queueMax) return new Permit('queue-full', null)
    return new Promise((resolve) => this.#enqueue(resolve, signal))
  }

  /** Gives back the permits of a thread. Call it when that thread has ended, before another takes its lane. */
  releaseLane(lane: number): void {
    checkInteger('lane', lane, 0, this.#lanes - 1)
    const { words } = this.#memory
    const count = Atomics.exchange(words, LANES_WORD + lane, 0)
    Atomics.sub(words, ACTIVE_WORD, count)
    this.#wake()
  }

  #take(): boolean {
    const { words } = this.#memory
    let active = Atomics.load(words, ACTIVE_WORD)
    while (active < this.limit) {
      const found = Atomics.compareExchange(words, ACTIVE_WORD, active, active + 1)
      if (found === active) {
        // A thread that dies right here leaves its permit out for good: too few permits, never too many.
        Atomics.add(words, this.#laneWord, 1)
        return true
      }
      active = found
    }
    return false
  }

  #grant(): Permit {
    return new Permit('granted', () => {
      Atomics.sub(this.#memory.words, this.#laneWord, 1)
      Atomics.sub(this.#memory.words, ACTIVE_WORD, 1)
      this.#wake()
    })
  }

  /** Lets the waiters look again, here and in the other threads. */
  #wake(): void {
    const { words, shared } = this.#memory
    const waiting = Atomics.load(words, WAITING_WORD)
    if (waiting === 0) return
    if (!shared || waiting === this.#queue.size) {
      this.#drain()
      return
    }
    Atomics.add(words, RELEASES_WORD, 1)
    Atomics.notify(words, RELEASES_WORD)
    // This thread is woken like the others, a turn later: it must not always be the first to its own permits.
  }

  #enqueue(resolve: (permit: Permit) => void, signal: AbortSignal | undefined): void {
    const deadlineMs = performance.now() + this.#queueTimeoutMs
    const waiter = new Waiter(deadlineMs, (outcome) => {
      resolve(outcome === 'granted' ? this.#grant() : new Permit(outcome, null))
    })
    this.#queue.push(waiter)
    Atomics.add(this.#memory.words, WAITING_WORD, 1)
    if (signal !== undefined) {
      const abort = () => this.#end(waiter, 'aborted')
      signal.addEventListener('abort', abort, { once: true })
      waiter.cleanUp = () => signal.removeEventListener('abort', abort)
    }
    this.#timer ??= setTimeout(() => this.#expire(), this.#queueTimeoutMs)
    if (this.#memory.shared) this.#listen()
  }

  /** Hears of releases in other threads as long as somebody waits here. */
  #listen(): void {
    const { words } = this.#memory
    const releases = Atomics.load(words, RELEASES_WORD)
    // A permit may have come free before this thread was counted as waiting. Nobody was told of it then, also
    // where the ear of an earlier waiter is still open.
    this.#drain()
    if (this.#listening || this.#queue.size === 0) return
    const heard = Atomics.waitAsync(words, RELEASES_WORD, releases)
    this.#listening = true
    const again = () => {
      this.#listening = false
      if (this.#queue.size > 0) this.#listen()
    }
    if (heard.async) void heard.value.then(again)
    else setImmediate(again)
  }

  /** Grants what is free, in order. */
  #drain(): void {
    for (let first = this.#queue.first; first !== null && this.#take(); first = this.#queue.first) {
      this.#end(first, 'granted')
    }
  }

  #expire(): void {
    this.#timer = null
    const now = performance.now()
    let first = this.#queue.first
    // Timers fire up to a millisecond early.
    while (first !== null && first.deadlineMs <= now + 1) {
      this.#end(first, 'timeout')
      first = this.#queue.first
    }
    if (first !== null) this.#timer = setTimeout(() => this.#expire(), Math.ceil(first.deadlineMs - now))
  }

  #end(waiter: Waiter, outcome: AcquireOutcome): void {
    if (!this.#queue.remove(waiter)) return
    Atomics.sub(this.#memory.words, WAITING_WORD, 1)
    if (this.#queue.size === 0 && this.#timer !== null) {
      clearTimeout(this.#timer)
      this.#timer = null
    }
    waiter.end(outcome)
  }
}

/** What `acquire` gives; release it, or let `using` do it. */
export class Permit {
  readonly outcome: AcquireOutcome
  #release: (() => void) | null

  /** Made by `ConcurrencyLimit`. */
  constructor(outcome: AcquireOutcome, release: (() => void) | null) {
    this.outcome = outcome
    this.#release = release
  }

  /** True for a real permit. */
  get granted(): boolean {
    return this.outcome === 'granted'
  }

  /** Gives the permit back, once; later calls do nothing. */
  release(): void {
    const release = this.#release
    this.#release = null
    release?.()
  }

  [Symbol.dispose](): void {
    this.release()
  }
}
