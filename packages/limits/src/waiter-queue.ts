/** How an `acquire` ended: with a permit, or why without. */
export type AcquireOutcome = 'granted' | 'queue-full' | 'timeout' | 'aborted'

/** A caller in the queue. */
export class Waiter {
  readonly deadlineMs: number
  cleanUp: (() => void) | null = null
  queue: WaiterQueue | null = null
  previous: Waiter | null = null
  next: Waiter | null = null
  readonly #settle: (outcome: AcquireOutcome) => void

  constructor(deadlineMs: number, settle: (outcome: AcquireOutcome) => void) {
    this.deadlineMs = deadlineMs
    this.#settle = settle
  }

  end(outcome: AcquireOutcome): void {
    this.cleanUp?.()
    this.cleanUp = null
    this.#settle(outcome)
  }
}

/** First in, first out, and any waiter leaves in constant time: thousands may time out or abort at once. */
export class WaiterQueue {
  first: Waiter | null = null
  size: number = 0
  #last: Waiter | null = null

  push(waiter: Waiter): void {
    waiter.queue = this
    waiter.previous = this.#last
    if (this.#last === null) this.first = waiter
    else this.#last.next = waiter
    this.#last = waiter
    this.size++
  }

  /** Takes a waiter out; false if it was out already. */
  remove(waiter: Waiter): boolean {
    if (waiter.queue !== this) return false
    if (waiter.previous === null) this.first = waiter.next
    else waiter.previous.next = waiter.next
    if (waiter.next === null) this.#last = waiter.previous
    else waiter.next.previous = waiter.previous
    waiter.queue = null
    waiter.previous = null
    waiter.next = null
    this.size--
    return true
  }
}
